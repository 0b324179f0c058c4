"""The rows over which the page decides anew, packed for a browser.

In: the index, the recipe. Out: base64 of little-endian columns. Up to `MOST_ROWS` clips are all there, and
what the page counts is exact; of more, kept and rejected clips are sampled apart, evenly spread, and each
sampled clip stands for its share of its kind, so that at the recipe's own bounds an estimate is the true
number.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jobs.reporting.index import Clips
from pipelines.even_sample import even_sample

MOST_ROWS = 20_000
DIGITS = 6  # significant ones of a bound; decide.js rounds what is typed to as many


@dataclass(frozen=True, slots=True)
class Kind:
    """Kept, or rejected, clips of the dataset as it is: all of them, and how many the page holds."""

    clips: int
    seconds: float
    held: int


@dataclass(frozen=True, slots=True)
class DecisionData:
    """What the page holds of `rows`, kept clips first.

    Attributes:
        rows: places in the index.
        fixed: uint8, 1 where a clip stays rejected under any bounds.
        duration_s: float32.
    """

    rows: np.ndarray
    kept: Kind
    rejected: Kind
    fixed: str
    duration_s: str

    @property
    def is_sample(self) -> bool:
        return len(self.rows) < self.kept.clips + self.rejected.clips


def decision_data(clips: Clips, fixed: np.ndarray, most: int = MOST_ROWS) -> DecisionData:
    """Choose the rows: both kinds get half, and what one does not need the other gets.

    Args:
        fixed: bool (N).
    """
    kept, rejected = np.flatnonzero(clips.kept).tolist(), np.flatnonzero(~clips.kept).tolist()
    some_kept = even_sample(kept, max(most // 2, most - len(rejected)))
    some_rejected = even_sample(rejected, most - len(some_kept))
    rows = np.array([*some_kept, *some_rejected], np.int64)
    seconds = clips.duration_s
    return DecisionData(
        rows,
        Kind(len(kept), float(seconds[clips.kept].sum()), len(some_kept)),
        Kind(len(rejected), float(seconds[~clips.kept].sum()), len(some_rejected)),
        packed(fixed[rows].astype(np.uint8)),
        packed(seconds[rows].astype("<f4")),
    )


def packed(column: np.ndarray) -> str:
    """The bytes of an array as base64."""
    return base64.b64encode(column.tobytes()).decode("ascii")


def comparable(values: np.ndarray, bounds: Sequence[float]) -> np.ndarray:
    """Numbers in half the bytes that still decide as the whole ones do.

    A value is on the same side of a bound, or equal to it, after both are rounded to single precision: for
    each of `bounds`, and for every bound of up to `DIGITS` significant digits (magnitudes 1e-30 to 1e30, and
    0).

    Args:
        values: float64 (N), NaN where there is none.
        bounds: with any number of digits; not nearer to each other than single precision tells.

    Returns:
        float32 (N), within two units in the last place of the values.
    """
    single = values.astype("<f4")
    # Single precision tells numbers of 6 digits apart, so only the nearest of them can swallow a value.
    nearest = np.array([float(f"{value:.{DIGITS - 1}e}") for value in values.tolist()])
    for bound in (nearest, *(np.full(len(values), b) for b in bounds)):
        mark = bound.astype("<f4")
        above, below = np.nextafter(mark, np.float32(np.inf)), np.nextafter(mark, np.float32(-np.inf))
        single = np.where((values > bound) & (single <= mark), above, single)
        single = np.where((values < bound) & (single >= mark), below, single)
        single = np.where(values == bound, mark, single)
    return single
