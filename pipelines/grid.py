"""Frames on a grid in time: the first of every interval, whatever the frame rate and wherever measuring
begins."""

from fractions import Fraction

import numpy as np

MOTION_PER_S = 12
"""Motion is measured so often, from one to the next."""
DRIFT_PER_S = 2
"""So often what hardly moves is."""


def on_grid(pts: np.ndarray, time_base: Fraction, every_s: float | Fraction) -> np.ndarray:
    """Which frames of a video are the first of their interval: bool (n,).

    Args:
        pts: of all its frames, int64 (n,), increasing; intervals are counted from the first.
        time_base: seconds per unit of `pts`.
        every_s: length of an interval.
    """
    every = Fraction(str(every_s)) / time_base
    cells = (pts - pts[0]) * every.denominator // every.numerator
    return np.diff(cells, prepend=-1) > 0
