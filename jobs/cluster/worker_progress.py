"""Progress of workers: detects items that kill their workers, and reports what a stage waits for when it
stalls.

In: workers say what they begin, how far they are and what they end. Out: an item over which a worker died
again and again is given up, alone; how much footage is measured; lines for the person at the console.

Ray restarts the task of a dead worker without limit. An item that is still open when a worker begins it again
was open when a worker died.
"""

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import monotonic, time
from typing import Any

from pipelines.errors import MediaError, Reason

logger = logging.getLogger(__name__)

MAX_WORKER_DEATHS = 3  # of workers over one item: once or twice may have been somebody else's fault
_LOOK_EVERY_S = 1.0
_NAMED = 5  # of what is waited for; the rest is counted
_ANSWER_S = 30.0  # a desk that does not answer for so long is said to be missing


class WorkerLostError(MediaError):
    """An item over which worker processes died."""


@dataclass(frozen=True, slots=True)
class OpenItem:
    """An item that somebody has begun and not ended: `since_s` in seconds of the epoch, `measured_s` of
    footage measured in it."""

    stage: str
    item: str
    node: str
    pid: int
    since_s: float
    measured_s: float = 0.0


@dataclass(frozen=True, slots=True)
class MeasuredFootage:
    """How far measuring is.

    `num_sources` sources are known, `total_s` seconds of footage are to be measured of them, and `done_s`
    are: finished units.
    """

    num_sources: int = 0
    total_s: float = 0.0
    done_s: float = 0.0

    def __add__(self, other: "MeasuredFootage") -> "MeasuredFootage":
        return MeasuredFootage(
            self.num_sources + other.num_sources, self.total_s + other.total_s, self.done_s + other.done_s
        )


@dataclass(frozen=True, slots=True)
class ProgressSnapshot:
    """A snapshot of progress: the number of begin and end events so far, and the open items, oldest first."""

    moves: int
    open: tuple[OpenItem, ...]
    measured: MeasuredFootage = MeasuredFootage()


class ProgressTracker:
    """Collects the reports of workers. One per run: a Ray actor, or a plain object if all work runs in one
    process."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], OpenItem] = {}
        self._deaths: Counter[tuple[str, str]] = Counter()
        self._moves = 0
        self._far = MeasuredFootage()

    def begin(self, stage: str, item: str, node: str, pid: int) -> int:
        """Register the start of an item; returns how many workers have died on it. At MOST_DEATHS the item is
        not started."""
        key = (stage, item)
        self._moves += 1
        if self._open.pop(key, None) is not None:
            self._deaths[key] += 1
        if self._deaths[key] < MAX_WORKER_DEATHS:
            self._open[key] = OpenItem(stage, item, node, pid, time())
        return self._deaths[key]

    def update(self, stage: str, item: str, far_s: float) -> None:
        """An item that is open is so far."""
        self._moves += 1
        if (at := self._open.get((stage, item))) is not None:
            self._open[stage, item] = replace(at, measured_s=far_s)

    def end(self, stage: str, item: str) -> None:
        self._moves += 1
        self._open.pop((stage, item), None)

    def add_measured(self, far: MeasuredFootage) -> None:
        """Measuring went on by so much."""
        self._far += far

    def snapshot(self) -> ProgressSnapshot:
        return ProgressSnapshot(
            self._moves, tuple(sorted(self._open.copy().values(), key=lambda at: at.since_s)), self._far
        )


@dataclass(frozen=True, slots=True)
class ProgressReporter:
    """A worker's side. Without a desk it does nothing.

    Args:
        desk: the actor's handle, or a desk in this process.
    """

    desk: Any | None = None

    @contextmanager
    def working_on(self, stage: str, item: str) -> Iterator[None]:
        """For the time of a block, this process is at work on an item, which no other process may name at the
        same time.

        Raises:
            WorkerLostError: its workers died too often. It is not begun.
        """
        if self.desk is None:
            yield
            return
        deaths = self._begin(stage, item)
        if deaths >= MAX_WORKER_DEATHS:
            raise WorkerLostError(
                Reason.CRASHED,
                f"{deaths} worker processes died while {stage} it; Ray's logs of these say of what (memory, "
                "most often); rushes requeue tries it again",
            )
        try:
            yield
        finally:
            self._tell("end", stage, item)

    def update(self, stage: str, item: str, far_s: float) -> None:
        """So much footage is measured of an item that this process is at work on."""
        self._tell("update", stage, item, far_s)

    def add_measured(self, far: MeasuredFootage) -> None:
        """Measuring went on by so much."""
        self._tell("add_measured", far)

    def _begin(self, stage: str, item: str) -> int:
        if isinstance(self.desk, ProgressTracker):
            with _telling:
                return self.desk.begin(stage, item, "this machine", os.getpid())
        import ray

        desk: Any = self.desk  # an actor
        number: int = ray.get(desk.begin.remote(stage, item, ray.util.get_node_ip_address(), os.getpid()))
        return number

    def _tell(self, what: str, *args: Any) -> None:
        if isinstance(self.desk, ProgressTracker):
            with _telling:
                getattr(self.desk, what)(*args)
        elif self.desk is not None:
            getattr(self.desk, what).remote(*args)


_telling = threading.Lock()  # threads that report to one desk in this process


def start_tracker() -> Any:
    """The desk of a run, an actor. It takes no core, and starts again if its node is lost; deaths are counted
    anew then."""
    import ray

    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(ProgressTracker).remote()


@dataclass(frozen=True, slots=True)
class StallReports:
    """How a person at the console learns of progress.

    Attributes:
        say: prints a line.
        stall_s: a stage is said to stand still when nothing has moved for so long, seconds.
        moved: gets what moves, every second or so, in a thread of its own.
    """

    say: Callable[[str], None]
    stall_s: float
    moved: Callable[[ProgressSnapshot], None] = lambda snapshot: None


@contextmanager
def report_stalls(
    desk: Any,
    stage: str,
    needs: str,
    reports: StallReports,
) -> Iterator[None]:
    """For the time of a block, say so when nothing moved for `stall_s`, then at twice the time, and so on.

    Args:
        desk: the actor's handle, or a desk in this process.
        stage: the stage, as a person knows it.
        needs: what a task of it asks Ray for, in words.
        reports: where it is said.
    """
    done = threading.Event()
    args = (desk, stage, needs, reports, done)
    thread = threading.Thread(target=_look, args=args, name="watch", daemon=True)
    thread.start()
    try:
        yield
        if (last := _pulse(desk)[0]) is not None:
            reports.moved(last)
    except BaseException:
        if isinstance(desk, ProgressTracker):  # a Ray may not answer any more
            reports.moved(desk.snapshot())
        raise
    finally:
        done.set()
        thread.join(timeout=_ANSWER_S)


def _look(
    desk: Any,
    what: str,
    needs: str,
    reports: StallReports,
    done: threading.Event,
) -> None:
    stall_s = reports.stall_s
    moves, moved_s, next_s = -1, monotonic(), stall_s
    while not done.wait(min(_LOOK_EVERY_S, stall_s / 2)):
        pulse, missing = _pulse(desk)
        if pulse is not None:
            reports.moved(pulse)
        if pulse is not None and pulse.moves != moves:
            moves, moved_s, next_s = pulse.moves, monotonic(), stall_s
        still_s = monotonic() - moved_s
        if still_s >= next_s and not done.is_set():
            next_s = 2 * still_s
            reports.say(stall_message(what, still_s, pulse, missing or _capacity(needs), time()))


def _pulse(desk: Any) -> tuple[ProgressSnapshot | None, str]:
    if isinstance(desk, ProgressTracker):
        return desk.snapshot(), "all work is done in this process"
    import ray

    try:
        return ray.get(desk.snapshot.remote(), timeout=_ANSWER_S), ""
    except Exception as error:  # Ray itself may be what is lost; that is what has to be said then
        logger.info("the desk does not answer: %s", error)
        return None, f"Ray does not answer ({type(error).__name__}): its head node may be lost"


def _capacity(needs: str) -> str:
    import ray

    try:
        free, all_ = ray.available_resources(), ray.cluster_resources()
    except Exception as error:  # as above
        return f"Ray does not answer ({type(error).__name__}): its head node may be lost"
    parts = [
        f"{free.get('CPU', 0):g} of {all_.get('CPU', 0):g} CPUs",
        f"{free.get('memory', 0) / 1024**3:.1f} of {all_.get('memory', 0) / 1024**3:.1f} GiB of memory",
    ]
    return f"a task needs {needs}; free are {' and '.join(parts)}"


def stall_message(
    stage: str, still_s: float, pulse: ProgressSnapshot | None, capacity: str, now_s: float
) -> str:
    """The line that names what a stage waits for.

    Args:
        still_s: since when nothing moves.
        pulse: None if it is not known.
        capacity: what Ray has free, and what a task needs.
        now_s: seconds of the epoch.
    """
    start = f"{stage}: no progress for {still_s:.0f} s"
    if pulse is None:
        return f"{start}; {capacity}"
    if not pulse.open:
        return f"{start}; nothing is at work: {capacity}"
    return f"{start}; at work: {_names(pulse.open, now_s)}"


def _names(open_items: Sequence[OpenItem], now_s: float) -> str:
    names = [
        f"{at.stage} {at.item} for {now_s - at.since_s:.0f} s (process {at.pid} on {at.node})"
        for at in open_items[:_NAMED]
    ]
    more = len(open_items) - _NAMED
    return "; ".join(names + ([f"and {more} more"] if more > 0 else []))
