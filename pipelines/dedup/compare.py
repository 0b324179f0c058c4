"""Two looks → a similarity score if one clip is a copy of the other: the same pictures with the same changes
at the same times.

In: two looks. Out: a similarity, or None. Look-alikes have the same pictures but not the same changes: so
both must agree along one common stretch (the more, the less of the shorter clip that stretch is: a short one
is found by chance in many places), and nowhere may the difference be larger than resampling, coding and
timing explain. Where nothing changes, there is nothing to tell two moments apart by: then only frozen
pictures can be copies (what a live camera sees at rest, grain shows to be live), and must agree very closely.

Not looked for: mirrored copies, copies at another speed, crops that leave less than 0.8 of a side.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.looks import Look
from pipelines.dedup.registration import Registration, refine, search, step_s

_STARTS = 3  # lags that are refined
_LEAST_LIKENESS = 0.6  # of coarse pictures, for a lag to be refined
_MOST_STICKING_OUT = 0.015  # share of a side: what rounding to pixels and wrong edges of bars explain
_LEAST_CONTRAST, _STILL_CONTRAST = 2.0, 5.0  # standard deviation of gray levels: flat pictures are all alike
_STILL = 1.0  # root mean square change of cells, gray levels: below it is noise
_FROZEN = 0.1  # median change of lightness from frame to frame; the faintest grain is above
_PICTURES = 0.965  # least correlation of mean pictures
_STILL_PICTURES = 0.985
_WARPED = 0.04  # share of a side from which on pictures are resampled by fractions of cells everywhere
_WORST_CELLS = 50  # one cell in so many is among the worst


@dataclass(frozen=True, slots=True)
class Similarity:
    """`similarity` 0 … 1 of two copies; `still` if nothing changes in them."""

    similarity: float
    still: bool


def compare(a: Look, b: Look, cfg: DedupConfig) -> Similarity | None:
    """Similarity of two copies; None if they are not copies. Symmetric up to rounding."""
    if min(len(a.times_s), len(b.times_s)) < 2:
        return None
    shorter_s = min(float(look.times_s[-1] - look.times_s[0]) + step_s(look) for look in (a, b))
    least_s = max(cfg.min_common_s, cfg.min_common_share * shorter_s)
    for start in search(a, b, least_s, _STARTS):
        if start.likeness < _LEAST_LIKENESS:
            continue
        # The larger cells are looked at: from finer ones they can be made, but not the other way round.
        turn = start.window[2] * start.window[3] < 1
        outer, inner = (b, a) if turn else (a, b)
        found = refine(outer, inner, start.inverse() if turn else start)
        if found is None or found.overhang() > _MOST_STICKING_OUT:
            continue
        step = max(step_s(a), step_s(b))
        common_s = (found.last - found.first + 1) * step
        if common_s < least_s:
            continue
        frozen = max(a.unrest, b.unrest) <= _FROZEN
        least = 1 - (1 - cfg.min_similarity) * min(1.0, common_s / shorter_s)
        if likeness := _judge(outer.thumbs[found.first : found.last], found, frozen, least):
            return likeness
    return None


def _judge(wanted: np.ndarray, found: Registration, frozen: bool, least: float) -> Similarity | None:
    """Of pictures (n, S, S) and what the other shows of them; `least` is how alike changes must be."""
    # Half a cell's worth of detail depends on where cells begin; smoothing takes it out of both.
    left, right, moving = _smooth(wanted), _smooth(found.resampled), _smooth(found.time_gradient)
    inside = found.inside
    contrast = float(np.sqrt((left[:, inside].var() + right[:, inside].var()) / 2))
    mean_left, mean_right = left.mean(axis=0), right.mean(axis=0)
    change_left, change_right = (left - mean_left)[:, inside], (right - mean_right)[:, inside]
    change = float(np.sqrt(((change_left**2).mean() + (change_right**2).mean()) / 2))
    still = change < _STILL
    if min(mean_left[inside].std(), mean_right[inside].std()) < (
        _STILL_CONTRAST if still else _LEAST_CONTRAST
    ):
        return None
    pictures = _correlation(mean_left[inside], mean_right[inside])
    changes = pictures if still else _correlation(change_left, change_right)
    if still and not frozen:
        return None
    if pictures < (_STILL_PICTURES if still else _PICTURES) or changes < least:
        return None
    warp = min(1.0, found.distortion() / _WARPED)
    slant = (0.15 + 0.35 * warp) * np.minimum(_slant(left), _slant(right))
    difference = np.abs(left - right)
    beyond = np.maximum(difference - 2.0 - slant - 0.12 * np.abs(moving), 0)[:, inside]
    lasting = np.maximum(np.abs(mean_left - mean_right) - 1.5 - slant.mean(axis=0), 0)[inside]
    explained = (
        (beyond**2).mean() <= 0.2 * (change**2 + 1)
        and (beyond > 0).mean() <= 0.1
        and _worst(beyond).mean() <= (0.25 + 0.2 * warp) * contrast
        and _worst(lasting[None]).mean() <= ((0.1 if still else 0.2) + 0.4 * warp) * contrast
    )
    return Similarity(max(0.0, min(pictures, changes, 1.0)), still) if explained else None


def _worst(values: np.ndarray) -> np.ndarray:
    """Mean (n,) over the worst cells of each picture (n, cells)."""
    count = max(1, values.shape[1] // _WORST_CELLS)
    return np.partition(values, -count, axis=1)[:, -count:].mean(axis=1)


def _smooth(pictures: np.ndarray) -> np.ndarray:
    """Averaged with neighbours, 1 : 2 : 1, along both sides."""
    wide = np.pad(pictures, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 4
    return (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4


def _slant(pictures: np.ndarray) -> np.ndarray:
    """Largest difference of a cell to its four neighbours."""
    slant = np.zeros_like(pictures)
    for axis in (1, 2):
        step = np.abs(np.diff(pictures, axis=axis))
        ahead = [slice(None)] * 3
        behind = [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        slant[tuple(ahead)] = np.maximum(slant[tuple(ahead)], step)
        slant[tuple(behind)] = np.maximum(slant[tuple(behind)], step)
    return slant


def _correlation(left: np.ndarray, right: np.ndarray) -> float:
    left, right = left - left.mean(), right - right.mean()
    return float((left * right).sum() / np.sqrt((left**2).sum() * (right**2).sum() + 1e-9))
