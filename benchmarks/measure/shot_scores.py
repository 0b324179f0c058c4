"""Found shots against the truth: purity, coverage, recall per kind, and which distractors were taken for
transitions.

In: the stretches [start, end) of frames that a detector hands on as clips, and the truth of a composite. Out:
counts that add up over composites.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks.footage.composites import Event, Truth

FORGIVEN = 2  # frames of a gradual transition that a clip may show at either end
_NEAR = 2  # frames by which a found boundary may miss a true one


@dataclass(slots=True)
class Tally:
    """Counts over composites; the shares are what is reported."""

    clips: int = 0
    pure: int = 0
    frames: int = 0
    covered: int = 0
    events: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    spurious: int = 0

    @property
    def purity(self) -> float:
        return self.pure / max(1, self.clips)

    @property
    def coverage(self) -> float:
        return self.covered / max(1, self.frames)

    def recall(self, kind: str) -> float:
        return self.found[kind] / max(1, self.events[kind])

    def add(self, clips: Sequence[tuple[int, int]], truth: Truth, least: float) -> None:
        """Count one composite.

        Args:
            clips: found, in order.
            least: shortest clip that counts, frames: a second.
        """
        self.frames += sum(end - start for start, end in truth.shots)
        for start, end in clips:
            if end - start < least:
                continue
            self.clips += 1
            inside = _shot_of(start, end, truth)
            if inside is not None:
                self.pure += 1
                self.covered += min(end, inside[1]) - max(start, inside[0])
        gaps = _gaps(clips)
        for event in [*truth.transitions, *truth.distractors]:
            hit = any(_meet(gap, event) for gap in gaps)
            self.events[event.kind] += 1
            self.found[event.kind] += hit
        known = [*truth.transitions, *truth.distractors]
        self.spurious += sum(not any(_meet(gap, event) for event in known) for gap in gaps)


def _gaps(clips: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """What lies between neighbouring clips, as [start, end]."""
    return [(before[1], after[0]) for before, after in pairwise(clips)]


def _meet(gap: tuple[int, int], event: Event) -> bool:
    return gap[0] - _NEAR <= event.end and event.start <= gap[1] + _NEAR


def _shot_of(start: int, end: int, truth: Truth) -> tuple[int, int] | None:
    """The true shot that a clip lies in, but for forgiven frames; None if it lies in no single one."""
    for index, (first, last) in enumerate(truth.shots):
        before = truth.transitions[index - 1] if index else None
        after = truth.transitions[index] if index < len(truth.transitions) else None
        early = FORGIVEN if before and before.end > before.start else 0
        late = FORGIVEN if after and after.end > after.start else 0
        if start >= first - early and end <= last + late and start < last and end > first:
            return first, last
    return None
