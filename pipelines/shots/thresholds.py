"""Frame-to-frame changes → hard cuts: PySceneDetect's two detectors, over exact time instead of frame
numbers.

In: the signals of a video. Out: its cuts. The measures are those of `scenedetect.detectors.ContentDetector`
and `AdaptiveDetector` (BSD-3, Castellano); a test holds the cuts equal to the library's on real footage.
Their confidence is v ÷ (v + threshold) of what they compare with a threshold: a half at the threshold, nearly
1 far above.
"""

from collections.abc import Iterator
from fractions import Fraction
from math import ceil

import numpy as np
import pyarrow as pa

from pipelines.shots.config import ShotConfig
from pipelines.shots.transition import Transition

_FLAT = 1e-5  # a mean change below this is none, as in the library


def content(signals: pa.Table, time_base: Fraction, cfg: ShotConfig) -> list[Transition]:
    """Frames whose change reaches the threshold; of a run of near ones, the last, once it has been quiet long
    enough.

    The library's FlashFilter in mode MERGE: a flash or a stutter is one cut, not many.
    """
    pts, change = signals["pts"].to_numpy(), content_change(signals)
    cuts = _merge_near(pts, change >= cfg.content_threshold, _min_ticks(time_base, cfg))
    return [_hard(i, change[i], cfg.content_threshold) for i in cuts if i > 0]


def adaptive(signals: pa.Table, time_base: Fraction, cfg: ShotConfig) -> list[Transition]:
    """Frames whose change stands out from the mean of their neighbours', so that fast camera moves are no
    cuts."""
    pts, change = signals["pts"].to_numpy(), content_change(signals)
    width, min_ticks = cfg.adaptive_window, _min_ticks(time_base, cfg)
    cuts: list[Transition] = []
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
            cuts.append(_hard(i, ratio, cfg.adaptive_threshold))
    return cuts


def content_change(signals: pa.Table) -> np.ndarray:
    """Mean of the changes of hue, saturation and luma: ContentDetector's frame score with its default
    weights."""
    return (
        sum(signals[name].to_numpy().astype(np.float64) for name in ("delta_hue", "delta_sat", "delta_lum"))
        / 3.0
    )


def _hard(frame: int, value: float, threshold: float) -> Transition:
    return Transition("hard", frame, frame, float(value / (value + threshold)) if value else 0.0)


def _min_ticks(time_base: Fraction, cfg: ShotConfig) -> int:
    return ceil(Fraction(str(cfg.min_shot_s)) / time_base)


def _merge_near(pts: np.ndarray, above: np.ndarray, min_ticks: int) -> Iterator[int]:
    """Numbers of the frames at which the library cuts."""
    last_above = 0
    merging_since: int | None = None
    seen_cut = False
    for now, is_above in enumerate(above.tolist()):
        quiet = pts[now] - pts[last_above] >= min_ticks
        last_above = now if is_above else last_above
        if merging_since is not None:
            if quiet and not is_above and pts[last_above] - pts[merging_since] >= min_ticks:
                merging_since = None
                yield last_above
        elif is_above and quiet:
            seen_cut = True
            yield now
        elif is_above and seen_cut:
            merging_since = now
