"""Signals → shots: PySceneDetect's detectors, over exact time instead of frame numbers.

In: the signals table of a video. Out: its shots in order, which together are the whole video. Pure: the same signals
and settings give the same shots. The measures are those of `scenedetect.detectors.ContentDetector` and
`AdaptiveDetector` (BSD-3, Castellano); a test holds the cuts equal to the library's on real footage.
"""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import pyarrow as pa

from pipelines.config import ShotConfig
from pipelines.records import Shot, Span

VERSION = 1
_FLAT = 1e-5  # a mean change below this is none, as in the library


def find_shots(signals: pa.Table, end_pts: int, time_base: Fraction, cfg: ShotConfig) -> list[Shot]:
    """Shots of a video.

    Args:
        signals: of the whole video.
        end_pts: where its last frame ends.
        time_base: of all PTS, seconds.
    """
    pts = signals["pts"].to_numpy()
    min_ticks = math.ceil(Fraction(str(cfg.min_shot_s)) / time_base)
    found = DETECTORS[cfg.detector](pts, content_change(signals), min_ticks, cfg)
    cuts = [cut for cut in found if cut > pts[0]]
    bounds = [int(pts[0]), *cuts, end_pts]
    kinds = ["edge", *("hard" for _ in cuts), "edge"]
    frames = [*np.searchsorted(pts, bounds[:-1]).tolist(), len(pts)]
    return [
        Shot(Span(bounds[i], bounds[i + 1], time_base), frames[i + 1] - frames[i], kinds[i], kinds[i + 1])
        for i in range(len(bounds) - 1)
    ]


def content_change(signals: pa.Table) -> np.ndarray:
    """Mean of the changes of hue, saturation and luma: ContentDetector's frame score with its default weights."""
    return sum(signals[name].to_numpy() for name in ("delta_hue", "delta_sat", "delta_lum")) / 3.0


def _content_cuts(pts: np.ndarray, change: np.ndarray, min_ticks: int, cfg: ShotConfig) -> list[int]:
    """Frames whose change reaches the threshold; of a run of near ones, the last, once it has been quiet long enough.

    The library's FlashFilter in mode MERGE: a flash or a stutter is one cut, not many.
    """
    return list(_merge_near(pts, change >= cfg.content_threshold, min_ticks))


def _merge_near(pts: np.ndarray, above: np.ndarray, min_ticks: int) -> Iterator[int]:
    last_above = int(pts[0])
    merging_since: int | None = None
    seen_cut = False
    for now, is_above in zip(pts.tolist(), above.tolist(), strict=True):
        quiet = now - last_above >= min_ticks
        last_above = now if is_above else last_above
        if merging_since is not None:
            if quiet and not is_above and last_above - merging_since >= min_ticks:
                merging_since = None
                yield last_above
        elif is_above and quiet:
            seen_cut = True
            yield now
        elif is_above and seen_cut:
            merging_since = now


def _adaptive_cuts(pts: np.ndarray, change: np.ndarray, min_ticks: int, cfg: ShotConfig) -> list[int]:
    """Frames whose change stands out from the mean of their neighbours', so that fast camera moves are no cuts."""
    width = cfg.adaptive_window
    cuts: list[int] = []
    last = int(pts[0])
    for i in range(width, len(pts) - width):
        around = (change[i - width : i].sum() + change[i + 1 : i + 1 + width].sum()) / (2.0 * width)
        if around < _FLAT:
            ratio = 255.0 if change[i] >= cfg.adaptive_min_change else 0.0
        else:
            ratio = min(change[i] / around, 255.0)
        stands_out = ratio >= cfg.adaptive_threshold and change[i] >= cfg.adaptive_min_change
        if stands_out and pts[i] - last >= min_ticks:
            last = int(pts[i])
            cuts.append(last)
    return cuts


DETECTORS: dict[str, Callable[[np.ndarray, np.ndarray, int, ShotConfig], list[int]]] = {
    "content": _content_cuts,
    "adaptive": _adaptive_cuts,
}
