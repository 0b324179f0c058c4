"""The values of a score → a histogram that sliders can stand on. Pure.

In: values of all clips, which of them are kept, the bounds in force. Out: an axis on which every bound can be
placed finely, the bin of each clip, kept and rejected clips counted by bin, and the bars as SVG paths in a
100 × 100 box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jobs.reporting.drawing.charts import Axis, Tick, axis

BINS = 40
NO_BIN = 255  # of a clip without a value
_SKEWED = 20.0  # largest ÷ median beyond which a linear axis crowds most clips into its first bins
_FINE = 40.0  # largest ÷ bound beyond which a linear axis has no room to move it
_LEAST = 1.2  # percent: height of a bin with one clip among thousands, so that it is seen


@dataclass(frozen=True, slots=True)
class Histogram:
    """How a score is distributed over clips.

    Attributes:
        axis: from the low end of the first bin to the high end of the last one. A logarithmic axis begins
            where values do; its first bin holds everything below, zero included.
        bins: of each clip, uint8 (N); `NO_BIN` without a value.
        kept, rejected: clips by bin, (BINS).
        paths: of the bars of kept and of rejected clips, stacked.
        most: clips of the highest bar.
    """

    axis: Axis
    bins: np.ndarray
    kept: list[int]
    rejected: list[int]
    paths: tuple[str, str]
    ticks: list[Tick]
    most: int


def histogram(values: np.ndarray, kept: np.ndarray, bounds: Sequence[float]) -> Histogram | None:
    """Bins over all clips.

    Args:
        values: float64 (N), NaN where there is none.
        kept: bool (N).
        bounds: further values that the axis must show.

    Returns:
        None if there is not one value.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return None
    scale = score_axis(values[finite], bounds)
    bins = np.full(len(values), NO_BIN, np.uint8)
    bins[finite] = np.minimum(BINS - 1, places(scale, values[finite]) / 100 * BINS).astype(np.uint8)
    counts = [np.bincount(bins[finite & which], minlength=BINS).tolist() for which in (kept, ~kept)]
    most = max(a + b for a, b in zip(*counts, strict=True))
    return Histogram(
        scale, bins, counts[0], counts[1], bar_paths(counts[0], counts[1], most), scale.ticks(4), most
    )


def score_axis(values: np.ndarray, bounds: Sequence[float]) -> Axis:
    """An axis for measurements: logarithmic where they, or a bound, crowd towards zero, linear otherwise;
    never below zero without need.

    Args:
        values: finite, at least one.
    """
    low, high = float(values.min()), float(max(values.max(), *bounds, -np.inf))
    positive = values[values > 0]
    crowded = len(positive) > 0 and high > _SKEWED * float(np.median(positive))
    if low >= 0 and len(positive) and (crowded or any(0 < bound < high / _FINE for bound in bounds)):
        # A few values next to nothing would stretch the axis over decades that hold no clips.
        begin = min([float(np.quantile(positive, 0.01)), *(b for b in bounds if b > 0)])
        return axis([begin, high], log=True)
    return axis([low, high, *bounds], log=False, from_zero=low >= 0)


def places(scale: Axis, values: np.ndarray) -> np.ndarray:
    """`Axis.place` of many values, percent, those beyond the ends at the ends."""
    if scale.log:
        logs = np.log(np.maximum(values, scale.low) / scale.low)
        return np.clip(100 * logs / np.log(scale.high / scale.low), 0, 100)
    return np.clip(100 * (values - scale.low) / (scale.high - scale.low), 0, 100)


def bar_paths(kept: Sequence[int], rejected: Sequence[int], most: int) -> tuple[str, str]:
    """Bars of kept clips from the ground, those of rejected clips on top of them; decide.js draws the
    same."""
    width = 100 / len(kept)
    paths: tuple[list[str], list[str]] = ([], [])
    for k, counts in enumerate(zip(kept, rejected, strict=True)):
        ground = 100.0
        for path, count in zip(paths, counts, strict=True):
            if count:
                top = ground - max(_LEAST, 100 * count / most)
                path.append(f"M{k * width + 0.2:.4g} {ground:.4g}V{top:.4g}h{width - 0.4:.4g}V{ground:.4g}z")
                ground = top
    return "".join(paths[0]), "".join(paths[1])
