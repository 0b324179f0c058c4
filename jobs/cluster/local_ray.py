"""A Ray for one run alone: nobody else reaches it, and it asks nobody else for anything.

In: its number of CPUs. Out: a block in which `ray` is connected to it. Everything of it listens on loopback
and wants a token that is drawn for this run and stands in the environment of Ray's own processes only; its
sockets and logs lie in a folder that is this user's alone, and go with it. It starts neither the dashboard,
which looks for a cloud's metadata whatever it is told, nor the autoscaler, and serves no metrics.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_OBJECT_STORE_BYTES = 512 * 1024**2  # rows and captions travel through it, never video
_STARTS = 5  # of a local Ray, which gives itself 30 s: too little where all cores are busy
_LATE = "timed out during startup"
_BANNER = "Set ray log level from environment variable"
_END_S = 5.0  # for processes that were killed
_TOKEN_BYTES = 32
_TOKEN = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_PREFIX = "ray-"
# Sockets have paths of 107 bytes at most, 103 on macOS. Below our folder Ray's are like
# r/session_2026-01-31_12-00-00_123456_1234567/sockets/plasma_store
_LONGEST_FOLDER = (103 if sys.platform == "darwin" else 107) - len("/r/sockets/plasma_store") - 43
_LOG_LEVEL = "RAY_BACKEND_LOG_LEVEL"
_ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # as on those systems, a node's address is loopback
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
}


@contextmanager
def local_ray(num_cpus: int | None, runtime_env: Mapping[str, Any]) -> Iterator[None]:
    """Start a Ray on this machine for the length of a block.

    Raises:
        OSError: no folder for its sockets can be made.
        RuntimeError: it did not start, however often it was tried.
    """
    import ray

    keeps_logs = _LOG_LEVEL in os.environ
    with contextlib.ExitStack() as undone:
        folder = _private_folder()
        if not keeps_logs:
            undone.callback(shutil.rmtree, folder, ignore_errors=True)
        undone.callback(read_environment)  # when the environment is again what it was
        # Ray's C++ part writes its errors to this process's stderr, above all one about actors of Ray Data
        # that is none of ours.
        with _environment({_LOG_LEVEL: "fatal", **_ENVIRONMENT} if not keeps_logs else _ENVIRONMENT):
            undone.callback(ray.shutdown)
            with _alone():
                _start(
                    address="local",  # also where one that the user started runs on this machine
                    num_cpus=num_cpus,
                    include_dashboard=False,
                    log_to_driver=False,
                    configure_logging=False,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    runtime_env=dict(runtime_env),
                    # which Ray opens to all users; the folder around it is closed
                    _temp_dir=str(folder / "r"),
                    _system_config={"enable_metrics_collection": False},
                )
        yield


def _private_folder() -> Path:
    """A new folder of this user alone, with a path short enough for sockets.

    Raises:
        OSError: none can be made.
    """
    wanted = [os.environ.get("RAY_TMPDIR"), tempfile.gettempdir(), "/tmp", "/var/tmp"]
    longest = _LONGEST_FOLDER - len(f"/{_PREFIX}") - 8
    why = f"their paths are longer than {longest} bytes"
    for place in filter(None, wanted):
        place = os.path.abspath(place)
        if len(os.fsencode(place)) > longest:
            continue
        try:
            return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        except OSError as error:
            why = str(error)
    raise OSError(
        f"a local Ray finds no folder for its sockets ({why}); set RAY_TMPDIR to one that can be written, "
        "with a short path"
    )


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """A block in which the environment, which Ray's processes take over, has these values and a new token. At
    its end it is as it was: what this process starts later knows no token.
    """
    names = (*values, *_TOKEN)
    before = {name: os.environ.get(name) for name in names}
    for name in _TOKEN:
        os.environ.pop(name, None)
    os.environ.update(values, RAY_AUTH_TOKEN=secrets.token_hex(_TOKEN_BYTES))
    try:
        read_environment()
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def read_environment() -> None:
    """Have Ray in this process read again from the environment whether there is a token, and which."""
    from ray._raylet import (  # type: ignore[attr-defined]  # compiled, without stubs
        AuthenticationTokenLoader,
        Config,
    )

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _alone() -> Iterator[None]:
    """A block in which a Ray that is started is on loopback and has no dashboard and no autoscaler.

    Ray has no arguments for it: without dashboard it starts its process all the same, to see whether this is
    a cloud's machine; and it takes 127.0.0.1 for the machine's own address, which others reach.
    """
    from ray._private import ray_constants
    from ray._private.node import Node

    def nothing(node: Node, **_: Any) -> None:
        """In place of what starts a process."""

    changes = (
        # the environment has it for processes that are yet to start
        (ray_constants, "ENABLE_RAY_CLUSTER", False),
        (Node, "start_api_server", nothing),
        (Node, "start_monitor", nothing),
    )
    before = [(where, name, getattr(where, name)) for where, name, _ in changes]
    for where, name, value in changes:
        setattr(where, name, value)
    try:
        yield
    finally:
        for where, name, value in before:
            setattr(where, name, value)


def _start(**how: Any) -> None:
    """Start a local Ray, again if it did not come up in its own time: on a busy machine it takes longer than
    it allows itself."""
    import ray

    for attempt in range(1, _STARTS + 1):
        before = _children()
        try:
            with _without_banner():
                ray.init(**how)
            return
        except Exception as error:  # Ray has no type of its own for it
            _kill(_children() - before)
            if _LATE not in str(error):
                raise
        if attempt < _STARTS:
            print(
                f"ray: it did not start within 30 s, all cores are busy; trying again ({attempt + 1} of "
                f"{_STARTS})",
                file=sys.stderr,
                flush=True,
            )
    raise RuntimeError(
        f"a local Ray did not start in {_STARTS} attempts of 30 s; is this machine too busy, or its memory "
        "full?"
    )


@contextmanager
def _without_banner() -> Iterator[None]:
    """Ray's C++ part says on the console that it was told how much to say. What else it says comes through,
    at the end."""
    console = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(console, 2)
            os.close(console)
            said.seek(0)
            for line in said.read().decode("utf-8", "backslashreplace").splitlines():
                if _BANNER not in line:
                    print(line, file=sys.stderr, flush=True)


def _children() -> set[Any]:
    import psutil

    return set(psutil.Process().children(recursive=True))


def _kill(processes: set[Any]) -> None:
    """What a start that failed has left behind."""
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=_END_S)
