"""How bright a clip is, how contrasty, how much of it is black, and whether its light flickers."""

import numpy as np

from pipelines.scores.base import SIGNALS, Measured, Score, of_signal, over_time

_BLACK_SHARE = 0.98  # of a black frame's pixels are dark, as for FFmpeg's blackdetect


def _black_ratio(clip: Measured) -> float | None:
    return over_time((clip.signals["dark"] >= _BLACK_SHARE).astype(float), clip.shown_s)


def _flicker(clip: Measured) -> float | None:
    """Half the mean size of the second difference of brightness: what alternates by d levels from frame to
    frame has d, a steady fade none, and a bright thing that moves none, as most of the picture stays as
    bright as it was.
    """
    bends = over_time(np.abs(np.diff(clip.signals["brighter"])), clip.shown_s[1:-1])
    return None if bends is None else bends / 2


SCORES = {
    "luma_mean": Score(of_signal("luma_mean"), "mean luma", "0–255", SIGNALS, low="dark", high="bright"),
    "luma_std": Score(
        of_signal("luma_std"), "mean spread of luma inside a frame", "0–255", SIGNALS, low="flat"
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
