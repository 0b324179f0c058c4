"""How bright a clip is, how contrasty, how much of it is black, and whether its light flickers."""

import numpy as np

from pipelines.scores.base import SIGNALS, ClipMeasurements, Score, signal_mean, time_weighted_mean

_BLACK_SHARE = 0.98  # of a black frame's pixels are dark, as for FFmpeg's blackdetect


def _black_ratio(clip: ClipMeasurements) -> float | None:
    return time_weighted_mean((clip.signals["dark"] >= _BLACK_SHARE).astype(float), clip.shown_s)


def _flicker(clip: ClipMeasurements) -> float | None:
    """Half the mean size of the second difference of brightness: what alternates by d levels from frame to
    frame has d, a steady fade none, and a bright thing that moves none, as most of the picture stays as
    bright as it was.
    """
    bends = time_weighted_mean(np.abs(np.diff(clip.signals["brighter"])), clip.shown_s[1:-1])
    return None if bends is None else bends / 2


SCORES = {
    "luma_mean": Score(signal_mean("luma_mean"), "mean luma", "0–255", SIGNALS, low="dark", high="bright"),
    "luma_std": Score(
        signal_mean("luma_std"), "mean spread of luma inside a frame", "0–255", SIGNALS, low="flat"
    ),
    "black_ratio": Score(_black_ratio, "black frames", "share of the time", SIGNALS, high="dark"),
    "flicker": Score(
        _flicker,
        "how much brightness alternates from frame to frame",
        "luma levels",
        SIGNALS,
        high="flickering",
    ),
}
