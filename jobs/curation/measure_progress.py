"""How far the measuring of footage is → a bar that moves within a video, too; and what is kept when it is
interrupted.

In: what moves on the desks of those who measure. Out: seconds of footage measured of those that are known so
far, on the bar; while there are none yet, what is being worked on.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from time import time

from jobs.cli.progress import Bar
from jobs.cluster.worker_progress import MeasuredFootage, ProgressSnapshot
from jobs.curation.analysis import Analysis


class MeasureProgress:
    """One stretch of measuring.

    Args:
        bar: in seconds of footage.
        sources: how many are looked at.
    """

    def __init__(self, bar: Bar, sources: int):
        self._bar, self._sources = bar, sources
        self._pulses: dict[str, ProgressSnapshot] = {}
        self._shown_s = 0.0

    def on_progress(self, where: str, pulse: ProgressSnapshot) -> None:
        """Something moved on a desk, or nothing did.

        Args:
            where: which desk.
        """
        self._pulses[where] = pulse
        far = self._far()
        open_items = [at for pulse in self._pulses.values() for at in pulse.open]
        # A unit that ends is closed a moment before it is counted.
        self._shown_s = max(self._shown_s, far.done_s + sum(at.measured_s for at in open_items))
        self._bar.total, self._bar.settled = (
            round(max(far.total_s, self._shown_s), 1),
            far.num_sources >= self._sources,
        )
        note = f"{far.num_sources} of {self._sources} sources read"
        if open_items and not self._shown_s:
            oldest = min(open_items, key=lambda at: at.since_s)
            item = PurePosixPath(oldest.item.split(", frames ")[0]).name
            note += f", {oldest.stage} {item} for {max(0.0, time() - oldest.since_s):.0f} s"
        self._bar.update(round(self._shown_s, 1), note)

    def summary(self) -> str:
        """What an interrupted run leaves to the next one, in words."""
        far = self._far()
        of = f"{far.total_s:.0f} s of footage" + ("" if far.num_sources >= self._sources else " known so far")
        return f"{far.done_s:.0f} of {of} are measured and kept"

    def _far(self) -> MeasuredFootage:
        return sum((pulse.measured for pulse in self._pulses.values()), MeasuredFootage())


def merge_units(parts: Iterable[Analysis]) -> Iterator[Analysis]:
    """One analysis per source."""
    waiting: dict[str, list[Analysis]] = defaultdict(list)
    for part in parts:
        got = waiting[part.source_uri]
        got.append(part)
        if len(got) >= part.units:
            yield _joined(waiting.pop(part.source_uri))
    assert not waiting, f"units of {sorted(waiting)} are missing"


def _joined(parts: list[Analysis]) -> Analysis:
    parts = sorted(parts, key=lambda part: part.unit or (0, 0))
    # Without a finished one, some unit failed for a reason that may pass.
    final = next((part for part in parts if part.finished), None) or next(
        part for part in parts if part.quarantined
    )
    return replace(
        final,
        unit=None,
        hashed=any(part.hashed for part in parts),
        decoded_s=sum(part.decoded_s for part in parts),
    )
