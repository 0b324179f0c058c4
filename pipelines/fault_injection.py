"""Fault injection: kills a process at a named point of a run, to test recovery from there.

In: the environment variable RUSHES_DRILL, naming a JSON file like `{"boundary": "clips:after", "nth": 2,
"victim": "driver", "token": "a"}`. Out: the second time that any process of the run passes the named
boundary, the victim gets SIGKILL; once, however often the command is run again. Without the variable a
boundary costs one look-up.

Boundaries are `<stage>:before` and `<stage>:after` for every stage's commit (identify, probe, signals, each
meter, looks, clips, captions, shards …), `shard:` for a shard's tar, `tables:` for the index and its like,
`manifest:`, and within each of them `object:written` (in scratch, not yet published) and `object:linked`.
Victims are the `worker` that passes, the `driver`, or `ray`: the driver and all that it started, which is all
of a local Ray.

Who passed what is kept in the folder `<token>` beside the file, so a drill with `"nth": 0` kills nobody and
lists every boundary.
"""

import json
import os
import signal
import socket
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "RUSHES_DRILL"
VICTIMS = ("worker", "driver", "ray")
_DRIVER, _KILLED = "driver", "killed"


@dataclass(frozen=True, slots=True)
class Drill:
    """Which process is killed at which point.

    Attributes:
        boundary: its name.
        nth: of the arrivals there, by whichever process, from 1; at 0 nobody is killed.
        victim: one of `VICTIMS`.
        token: name of this drill: its folder of arrivals, beside its file. Arrivals under another token don't
        count.
    """

    boundary: str
    nth: int
    victim: str
    token: str

    def __post_init__(self) -> None:
        if self.victim not in VICTIMS:
            raise ValueError(
                f"victim '{self.victim}' of a drill is not known; known are {', '.join(VICTIMS)}"
            )
        if not self.token or Path(self.token).name != self.token:
            raise ValueError(f"token {self.token!r} of a drill is no name of a folder")


def write_drill(drill: Drill, folder: Path) -> Path:
    """The file that RUSHES_DRILL is to name. The folder must be one that all processes of the run see."""
    (folder / drill.token).mkdir(parents=True, exist_ok=True)
    path = folder / f"{drill.token}.json"
    path.write_text(json.dumps(asdict(drill)))
    return path


def environment() -> dict[str, str]:
    """The environment variables that workers need for a drill; empty without a drill."""
    return {VARIABLE: os.environ[VARIABLE]} if VARIABLE in os.environ else {}


def register_driver() -> None:
    """Register this process as the driver of the run.

    Raises:
        FileNotFoundError: RUSHES_DRILL names no file.
        ValueError: there is no drill in it.
    """
    if (path := os.environ.get(VARIABLE)) is not None:
        folder, _ = _read(Path(path))
        os.environ[VARIABLE] = str(Path(path).absolute())  # workers are elsewhere
        folder.mkdir(exist_ok=True)
        file = folder / f".{_DRIVER}.{os.getpid()}"
        file.write_text(
            json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "born": _born(os.getpid())})
        )
        file.replace(folder / _DRIVER)


def kill_point(name: str) -> None:
    """A point at which a drill may kill a process; otherwise does nothing.

    Raises:
        RuntimeError: the driver, who is to be killed, is on another machine.
    """
    if (path := os.environ.get(VARIABLE)) is not None:
        _arrive(Path(path), name)


def arrivals(folder: Path) -> Mapping[str, list[int]]:
    """By boundary, which processes passed it, in their order.

    Args:
        folder: of a token.
    """
    passed: dict[str, dict[int, int]] = defaultdict(dict)
    for file in folder.iterdir():
        name, _, number = file.name.rpartition("#")
        if name:
            passed[name][int(number)] = int(file.read_text() or 0)
    return {name: [pids[number] for number in sorted(pids)] for name, pids in sorted(passed.items())}


def driver_pid(folder: Path) -> int | None:
    """The process that led the last run of a drill; None before there was one."""
    file = folder / _DRIVER
    return json.loads(file.read_text())["pid"] if file.exists() else None


def has_killed(folder: Path) -> bool:
    """Whether the victim of a drill was killed."""
    return (folder / _KILLED).exists()


def _read(path: Path) -> tuple[Path, Drill]:
    try:
        drill = Drill(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{VARIABLE}={path}: {error}; see docs/operations.md for what is in such a file"
        ) from error
    return path.parent / drill.token, drill


def _arrive(path: Path, name: str) -> None:
    folder, drill = _read(path)
    number = _ticket(folder, name)
    if name == drill.boundary and number == drill.nth:
        victims = _victims(folder, drill.victim)
        (folder / _KILLED).touch(exist_ok=False)
        for pid in victims:
            with suppress(ProcessLookupError):  # it fell with one killed before it
                os.kill(pid, signal.SIGKILL)


def _ticket(folder: Path, name: str) -> int:
    """Which arrival this is. Of two processes in the same moment one gets the next number, whichever machine
    it is on."""
    number = 1
    while True:
        try:
            handle = os.open(folder / f"{name}#{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            number += 1
            continue
        with os.fdopen(handle, "w") as file:
            file.write(str(os.getpid()))
        return number


def _victims(folder: Path, victim: str) -> list[int]:
    """Processes to kill, this one last: it has to kill the others."""
    me = os.getpid()
    if victim == "worker":
        return [me]
    import psutil

    known = json.loads((folder / _DRIVER).read_text())
    if known["host"] != socket.gethostname():
        raise RuntimeError(
            f"a drill is to kill the driver, which is on {known['host']}; this is {socket.gethostname()}: "
            "run the driver where the workers are, or kill a worker"
        )
    if _born(known["pid"]) != known["born"]:
        return []  # it is dead, and its number somebody else's
    if victim == "driver":
        return [known["pid"]]
    everybody = [
        known["pid"],
        *(child.pid for child in psutil.Process(known["pid"]).children(recursive=True)),
    ]
    return [pid for pid in everybody if pid != me] + [me]


def _born(pid: int) -> float | None:
    """Since when a process lives, in seconds of the epoch; None if there is none."""
    import psutil

    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None
