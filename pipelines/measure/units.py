"""A long video → work units: stretches of frames that are measured apart, in parallel, wherever there is
room.

In: the PTS of a video's frames. Out: ranges of frame numbers that together are the whole video. Neither the
length of a unit nor who measures it may change a shot: `pipelines.measure.signals` sees to that.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np

Unit = tuple[int, int]
"""Frames first … last − 1."""


def plan_units(pts: np.ndarray, time_base: Fraction, unit_s: float) -> list[Unit]:
    """Stretches of `unit_s` seconds from the first frame on; those that hold no frame are left out.

    Args:
        pts: of all frames, ascending.
        time_base: of the PTS, seconds.
        unit_s: length of a unit, seconds.
    """
    ticks = Fraction(str(unit_s)) / time_base
    number = (pts - pts[0]) * ticks.denominator // ticks.numerator
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    return list(pairwise([*starts.tolist(), len(pts)]))


def unit_name(video_id: str, unit: Sequence[int]) -> str:
    """The name under which a unit's rows are committed; those of one video share a folder and sort in
    time."""
    return f"{video_id}/{unit[0]:09d}-{unit[1]:09d}"
