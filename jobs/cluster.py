"""The door to Ray: a local one that is started and stopped with the job, or a running cluster.

In: a RayConfig. Out: a block in which `ray` is connected, with this project's code importable on every worker.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobs.config import RayConfig
from jobs.deepspeed_build import extensions_dir
from jobs.ray_address import check_answers
from pipelines import drill

_PACKAGES = ("pipelines", "recaption", "model", "jobs", "conf")
_S3_ENVIRONMENT = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION")
_OBJECT_STORE_BYTES = 512 * 1024**2  # rows and captions travel through it, never video
_STARTS = 5  # of a local Ray, which gives itself 30 s: too little where all cores are busy
_LATE = "timed out during startup"
_BANNER = b"Set ray log level from environment variable"
_END_S = 5.0  # for processes that were killed


def project_root() -> Path:
    """The folder that holds the five packages: a checkout, or site-packages."""
    return Path(__file__).resolve().parent.parent


def _worker_env() -> dict[str, str]:
    env = {
        "TORCH_EXTENSIONS_DIR": str(extensions_dir()),
        "TOKENIZERS_PARALLELISM": "false",  # forked tokenizers warn and may deadlock
        "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "1"),
    }
    # Never keys: a job's environment is shown by Ray's dashboard. Workers of a cluster have credentials of their own.
    env |= {name: os.environ[name] for name in _S3_ENVIRONMENT if name in os.environ}
    return env | drill.environment()


@contextmanager
def connect(cfg: RayConfig) -> Iterator[None]:
    """Connect to Ray for the length of a block; a Ray that was there before stays, one that is started here is stopped.

    Raises:
        ConnectionError: the cluster at `ray.address` does not answer, or not to those who have no token of it.
        RuntimeError: a local Ray did not start, however often it was tried.
    """
    on_sigterm = signal.getsignal(signal.SIGTERM)
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # keep CUDA_VISIBLE_DEVICES on CPU workers; silences a warning
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    logger = logging.getLogger("ray")
    logger.handlers.clear()
    logger.propagate = True  # into the run's log; without handlers of its own it would print to the console
    runtime_env: dict = {"env_vars": _worker_env()}
    if cfg.address is None:
        # Ray's C++ part writes its errors to this process's stderr, above all one about actors of Ray Data that is none of ours.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        _start(
            address="local",  # also where one that the user started runs on this machine
            num_cpus=cfg.num_cpus,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            runtime_env=runtime_env,
        )
    else:
        # A cluster need not have this version installed, or any: the code travels with the job.
        runtime_env["py_modules"] = [str(project_root() / name) for name in _PACKAGES]
        _join(cfg.address, runtime_env)
    _quiet_data()
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put its own in place, which exits at once
    try:
        yield
    finally:
        ray.shutdown()


def resources(cfg: RayConfig) -> dict[str, float] | None:
    """CPUs and GPUs of the Ray that a job would run on, as Ray counts them; None if that is a cluster that we are not
    connected to yet.
    """
    import ray

    if ray.is_initialized():
        return {name: ray.cluster_resources().get(name, 0.0) for name in ("CPU", "GPU")}
    if cfg.address is not None:
        return None
    import torch

    return {"CPU": float(cfg.num_cpus or len(os.sched_getaffinity(0))), "GPU": float(torch.cuda.device_count())}


def check_gpu(gpu: bool) -> None:
    """Whether a job that runs in this process finds the GPU that it was told to use.

    Raises:
        ValueError: it doesn't.
    """
    import torch

    if gpu and not torch.cuda.is_available():
        raise ValueError("gpu=true, and this machine has no GPU that PyTorch can use; leave it out")


def check_fits(cfg: RayConfig, key: str, num: int, cpus: float, gpu: bool) -> None:
    """Whether so many workers find a place on a local Ray, which never grows.

    Args:
        key: that says how many, as the user typed it.

    Raises:
        ValueError: they don't; Ray would wait for ever.
    """
    there = resources(cfg)
    if there is None or (short := lacking(there, num, cpus, gpu)) is None:
        return
    raise ValueError(f"{key}={num} {short}; ask for less, or name a larger cluster with ray.address=")


def lacking(there: dict[str, float], num: int, cpus: float, gpu: bool) -> str | None:
    """What is asked for and what there is, if there is too little of it."""
    if gpu and there["GPU"] < num:
        return f"with a GPU each needs {num} GPUs, and there {_is(there['GPU'], 'GPU')}"
    if there["CPU"] + 1e-6 < num * cpus:
        return f"with {cpus:g} CPUs each needs {num * cpus:g} CPUs, and there {_is(there['CPU'], 'CPU')}"
    return None


def _is(count: float, what: str) -> str:
    return f"is {'1' if count else 'no'} {what}" if count in (0, 1) else f"are {count:g} {what}s"


def _start(**how: Any) -> None:
    """Start a local Ray, again if it did not come up in its own time: on a busy machine it takes longer than it allows itself."""
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
                f"ray: it did not start within 30 s, all cores are busy; trying again ({attempt + 1} of {_STARTS})",
                file=sys.stderr,
                flush=True,
            )
    raise RuntimeError(
        f"a local Ray did not start in {_STARTS} attempts of 30 s; is this machine too busy, or its memory full?"
    )


@contextmanager
def _without_banner() -> Iterator[None]:
    """Ray's C++ part says on the console that it was told how much to say. What else it says comes through, at the end."""
    console = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(console, 2)
            said.seek(0)
            for line in said:
                if _BANNER not in line:
                    os.write(console, line)
            os.close(console)


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


def _join(address: str, runtime_env: dict[str, Any]) -> None:
    """Connect to a running cluster, or say at once why not."""
    import ray
    from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

    try:
        check_answers(address)
        maybe_enable_token_auth_if_token_available(
            warn_if_disabled=False
        )  # without it a token is not shown, however right
        ray.init(address=address, log_to_driver=False, configure_logging=False, runtime_env=runtime_env)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise ConnectionError(f"ray.address={address}: {error}") from error


def _quiet_data() -> None:
    """Ray Data's own bars and banners would break ours; what it logs goes into the run's log."""
    from ray.data import DataContext

    for name in ("ray.data", "ray.train", "ray.tune"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True  # in its own words, which would be lost on the way
