"""How bright a clip is, how contrasty, how much of it is black, and whether its light flickers."""

import numpy as np

from pipelines.scores.base import SIGNALS, Measured, Score, finite, of_signal

_BLACK_SHARE = 0.98  # of a black frame's pixels are dark, as for FFmpeg's blackdetect


def _black_ratio(clip: Measured) -> float | None:
    return finite(lambda dark: float(np.mean(dark >= _BLACK_SHARE)), clip.signals["dark"])


def _flicker(clip: Measured) -> float | None:
    """Half the mean size of the second difference of brightness: what alternates by d levels from frame to frame has d,
    a steady fade none, and a bright thing that moves none, as most of the picture stays as bright as it was.
    """
    return finite(lambda bends: float(np.mean(np.abs(bends))) / 2, np.diff(clip.signals["brighter"]))


SCORES = {
    "luma_mean": Score(of_signal("luma_mean"), "mean luma", "0–255", SIGNALS, low="dark", high="bright"),
    "luma_std": Score(of_signal("luma_std"), "mean spread of luma inside a frame", "0–255", SIGNALS, low="flat"),
    "black_ratio": Score(_black_ratio, "black frames", "share of frames", SIGNALS, high="dark"),
    "flicker": Score(
        _flicker, "how much brightness alternates from frame to frame", "luma levels", SIGNALS, high="flickering"
    ),
}
