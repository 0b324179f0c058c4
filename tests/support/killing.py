"""One kill of a run of curation: run, kill, run again, compare with what an uninterrupted run made.

In: who is killed when, and a rehearsal to compare with. Out: what became of it, and what was left running.
Runs are `rushes curate` in processes of their own, over small rendered footage, each into a new dataset.
"""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipelines import fault_injection
from pipelines.dataset.manifest import newest
from pipelines.fault_injection import Drill, arrivals, driver_pid, has_killed, write_drill
from pipelines.storage.open_store import open_store
from tests.support.footage import film, pan, write

ROOT = Path(__file__).resolve().parents[2]
# the later of these: a run on a busy machine is not a run that hangs
_DEADLINE_S, _DEADLINE_LENGTHS = 120.0, 6
_LOOK_EVERY_S = 0.05
_GONE_WITHIN_S = 120.0  # agents of a killed Ray try for a minute to tell somebody, and then end
_OPTIONS = ("recipe=permissive", "recipe.min.duration_s=1.3", "unit_s=1", "signals.native_every_s=0.5")
_FEW_SCORES = ("scores.nsfw=false", "scores.text=false")
# Of the processes that Ray calls ray::…, those that are its own and not the run's.
_RAYS_OWN = (
    "IDLE",
    "DashboardAgent",
    "RuntimeEnvAgent",
    "ActorLocationTracker",
    "_StatsActor",
    "_Autoscaling",
)


@dataclass(frozen=True, slots=True)
class Kill:
    """Who is killed when, in which run.

    Attributes:
        victim: worker, driver or ray.
        boundary: where; empty at a random moment.
        nth: of the arrivals there.
        share: of a run's length, at a random moment.
        own_ray: the run starts its own Ray, instead of using the one that is there.
        everything: all scores that need no download are measured.
    """

    victim: str
    boundary: str = ""
    nth: int = 0
    share: float = 0.0
    own_ray: bool = False
    everything: bool = False

    def __str__(self) -> str:
        when = f"{self.boundary} #{self.nth}" if self.boundary else f"at {self.share:.0%} of its time"
        ray = "own" if self.own_ray else "shared"
        return f"{self.victim:6} {when}, {ray} Ray{', all scores' if self.everything else ''}"


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """An uninterrupted run: what it made, how long it took, and who passed which boundary."""

    truth: str
    seconds: float
    by_workers: tuple[tuple[str, int], ...]
    by_driver: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class Ended:
    """How a run ended. `code` is None if it did not, by its deadline; `struck` is who was killed from
    outside."""

    code: int | None
    seconds: float
    said: str
    struck: str = ""
    started: set[psutil.Process] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one kill."""

    kill: Kill
    whom: str
    identical: bool
    hung: bool
    went_on: bool
    seconds: float
    said: str


def render(folder: Path) -> None:
    """Three videos of several units, of whose clips most can be copied, one must be encoded, one is too
    short; a copy; half a file."""
    folder.mkdir(parents=True)
    write(folder / "a.mp4", film(pan(1, 40, 48, 64), pan(2, 35, 48, 64, -1.0)))
    # far ahead of the second shot: a copy would hide too much
    one_keyframe = {"x264-params": "keyint=250:scenecut=0"}
    write(folder / "b.mp4", film(pan(3, 125, 48, 64, 0.5), pan(4, 35, 48, 64)), options=one_keyframe)
    short = pan(6, 30, 64, 48)
    write(
        folder / "c.avi", film(pan(5, 40, 64, 48), short), codec="mpeg4", options={"qmin": "2", "qmax": "2"}
    )
    shutil.copyfile(folder / "a.mp4", folder / "copy.mp4")
    whole = (folder / "a.mp4").read_bytes()
    (folder / "half.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("a sunny day")


def truth(dataset: Path) -> str:
    """Hash of the newest manifest, and of the index and shards that it names, byte for byte; empty before
    there is one."""
    store = open_store(str(dataset))
    number, manifest = newest(store)
    if manifest is None:
        return ""
    keys = [
        f"manifests/{number:06d}.json",
        *sorted(manifest.index),
        *sorted(shard.key for shard in manifest.shards),
    ]
    return hashlib.sha256(b"".join(hashlib.sha256(store.read(key)).digest() for key in keys)).hexdigest()


class Ground:
    """Where runs are killed: footage, and a folder for everything that they make.

    Args:
        folder: with a short path, since Ray's sockets lie below it.
        address: of the Ray that runs share.
    """

    def __init__(self, folder: Path, address: str):
        self._folder, self._address = folder, address
        self._count = 0
        self._started: set[psutil.Process] = set()
        render(folder / "footage")

    def rehearse(self, own_ray: bool = False, everything: bool = False) -> Rehearsal:
        """An uninterrupted run. Raises RuntimeError if it fails."""
        with self.place() as place:
            file = write_drill(Drill("", 0, "worker", "list"), place)
            ended = self.run(place, own_ray, everything, file=file)
            if ended.code != 0:
                raise RuntimeError(f"an uninterrupted run ended with {ended.code}:\n{ended.said}")
            passed, driver = arrivals(place / "list"), driver_pid(place / "list")
            who = [(name, nth, pid) for name, pids in passed.items() for nth, pid in enumerate(pids, 1)]
            return Rehearsal(
                truth(place / "dataset"),
                ended.seconds,
                tuple((name, nth) for name, nth, pid in who if pid != driver),
                tuple((name, nth) for name, nth, pid in who if pid == driver),
            )

    def kill(self, kill: Kill, rehearsal: Rehearsal) -> Result:
        """Run, kill, run again, compare. A random moment at which nobody was there to be killed is moved
        forward.

        Args:
            rehearsal: of the same scores, on a Ray of the same kind.
        """
        started, share = time.monotonic(), kill.share
        deadline_s = max(_DEADLINE_S, _DEADLINE_LENGTHS * rehearsal.seconds)
        while True:
            with self.place() as place:
                file = None
                if kill.boundary:
                    file = write_drill(Drill(kill.boundary, kill.nth, kill.victim, "drill"), place)
                at_s = None if kill.boundary else share * rehearsal.seconds
                first = self.run(place, kill.own_ray, kill.everything, deadline_s, file, at_s, kill.victim)
                whom = first.struck or (kill.victim if file and has_killed(place / "drill") else "")
                if whom or first.code is None or kill.boundary:
                    again = self.run(place, kill.own_ray, kill.everything, deadline_s)
                    return Result(
                        kill,
                        whom,
                        again.code == 0 and truth(place / "dataset") == rehearsal.truth,
                        first.code is None or again.code is None,
                        first.code == 0 if kill.victim == "worker" else first.code in (0, -9),
                        time.monotonic() - started,
                        f"first run: {first.code}\n{first.said}\nsecond run: {again.code}\n{again.said}",
                    )
            share *= 0.8

    def left_behind(self) -> tuple[str, ...]:
        """What processes of runs with a Ray of their own have not ended by themselves by now, or within two
        minutes."""
        return left(self._started)

    @contextmanager
    def place(self) -> Iterator[Path]:
        """A folder for one dataset, gone at the end."""
        self._count += 1
        place = self._folder / str(self._count)
        place.mkdir()
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)  # a process on its way out may still write

    def run(
        self,
        place: Path,
        own_ray: bool = False,
        everything: bool = False,
        deadline_s: float = 2 * _DEADLINE_S,
        file: Path | None = None,
        at_s: float | None = None,
        victim: str = "",
    ) -> Ended:
        """`rushes curate` to its end, or to the deadline.

        Args:
            place: where its dataset is, or is to be.
            file: of a drill.
            at_s: since the start, when the victim is killed from outside.
        """
        command = [str(Path(sys.prefix) / "bin" / "rushes"), "curate", f"footage={self._folder / 'footage'}"]
        command += [f"dataset={place / 'dataset'}", *_OPTIONS, *(() if everything else _FEW_SCORES)]
        command.append("ray.num_cpus=2" if own_ray else f"ray.address={self._address}")
        env = {
            name: value
            for name, value in os.environ.items()
            if name not in (fault_injection.VARIABLE, "RAY_ADDRESS")
        }
        env |= {"PYTHONPATH": str(ROOT)} | ({fault_injection.VARIABLE: str(file)} if file else {})
        if own_ray:
            env["RAY_TMPDIR"] = str(place)
        with (place / "said").open("w+") as said:
            process = subprocess.Popen(
                command,
                env=env,
                stdout=said,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            ended = _watched(process, own_ray, deadline_s, at_s, victim)
            self._started |= ended.started
            said.seek(0)
            ended.said = said.read()
        return ended


def _watched(
    process: subprocess.Popen, own_ray: bool, deadline_s: float, at_s: float | None, victim: str
) -> Ended:
    started, struck = time.monotonic(), ""
    driver, seen = psutil.Process(process.pid), set()
    strike = _STRIKES.get(victim)
    try:
        while (code := process.poll()) is None and (age_s := time.monotonic() - started) < deadline_s:
            if own_ray:
                seen |= below(driver)
            if at_s is not None and age_s >= at_s and not struck and strike:
                struck = strike(driver)
            time.sleep(_LOOK_EVERY_S)
    finally:
        if process.poll() is None:  # hung, or nobody waits for it any more
            for one in {driver, *seen}:
                _end(one)
            process.wait()
    return Ended(code, time.monotonic() - started, "", struck, seen)


def _strike_worker(driver: psutil.Process) -> str:
    """A process of the run that is at work, or a decoding server, whichever; empty while there is none."""
    me = psutil.Process()
    found = [(one, name) for one in below(me) - below(driver) if (name := _at_work(one))]
    if not found:
        return ""
    one, name = random.choice(sorted(found, key=lambda pair: pair[0].pid))
    return name if _end(one) else ""


def _at_work(one: psutil.Process) -> str:
    """What a process of Ray is at; empty if it isn't, or is no worker of ours. Forks of a decoding server are
    left to it."""
    try:
        command = " ".join(one.cmdline())
        if "child_server" in command:
            parent = one.parent()
            return "" if parent is None or "child_server" in " ".join(parent.cmdline()) else "decoding server"
    except psutil.Error:  # it has just ended
        return ""
    name = command.removeprefix("ray::").strip()
    return name if command.startswith("ray::") and not name.startswith(_RAYS_OWN) else ""


def _strike_driver(driver: psutil.Process) -> str:
    return "driver" if _end(driver) else ""


def _strike_ray(driver: psutil.Process) -> str:
    for one in [driver, *below(driver)]:
        _end(one)
    return "ray"


_STRIKES: dict[str, Callable[[psutil.Process], str]] = {
    "worker": _strike_worker,
    "driver": _strike_driver,
    "ray": _strike_ray,
}


def below(one: psutil.Process) -> set[psutil.Process]:
    try:
        return set(one.children(recursive=True))
    except (psutil.Error, OSError):
        return set()


def _end(one: psutil.Process) -> bool:
    try:
        one.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def left(started: set[psutil.Process]) -> tuple[str, ...]:
    """Which of these do not end by themselves; they are ended."""
    deadline = time.monotonic() + _GONE_WITHIN_S
    alive = {one for one in started if _lives(one)}
    while alive and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
        alive = {one for one in alive if _lives(one)}
    names = []
    for one in alive:
        with suppress(psutil.Error, OSError):
            names.append(" ".join(one.cmdline())[:100] or one.name())
        _end(one)
    return tuple(sorted(names))


def _lives(one: psutil.Process) -> bool:
    """Looked at rather than waited for: `psutil.wait_procs` raises FileNotFoundError for processes that end
    in between."""
    try:
        return one.is_running() and one.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return False
