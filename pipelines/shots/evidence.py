"""Tiny frames → what tells cuts from motion, light and shake, at a fraction of the cost of a network.

In: uint8 frames (T, 27, 48, 3). Out: numbers per frame, quantised so that they are stored in a byte. All are
functions of a fixed neighbourhood of the frame, so it does not matter in which stretches a video is measured.

`alike_r` of frame i compares frames i−1−r and i+r: what lies to either side of the boundary before frame i.
It is the best normalised cross-correlation over shifts (Lewis 1995) of three parts of the earlier frame, so a
pan, a shake, a flash or a fade leave it near 1, and a cut does not: on real footage 95% of hard cuts are
below 0.8, 99% of other frames above.
"""

from collections.abc import Callable

import cv2
import numpy as np

REACHES = (0, 2, 4, 10)
# Parts of a frame that are searched in the other: rows, then columns. Captions and logos, which stay, lie
# outside.
_PARTS = ((6, 21, 10, 38), (4, 21, 0, 24), (4, 21, 24, 48))
_MIDDLE = slice(4, 21)
_FADED = 0.3  # ratio of contrast below which a likeness is one of noise
_FLAT = 1.5  # a part with less spread of its samples is noise, which is like no other noise
_STEPS = 250  # of a quantised number
_DIPS = 0.96  # alike_0 below which the farther reaches are worth their time
# frames between those whose farthest reach is measured: no gradual transition that matters is shorter
_EVERY = 4
_STRANGE = 0.8  # alike at the farthest reach below which something may have happened in between

# A hard cut that needs no second opinion: a dip well below its neighbours, and both sides stay strangers
# farther off.
_CUT_BELOW = {0: 0.7, 2: 0.75, 4: 0.8}
_CUT_DIP = 0.12
_CUT_NEIGHBOURS = 2
# A cut between two views of much the same: a slight dip, but a sudden change, and farther off it is no
# better.
_JUMP_BELOW = 0.955
_JUMP_DIP = 0.04
_JUMP_CHANGE = 7.0  # over nearly twice that of its neighbours
_JUMP_OVER = 1.8
_JUMP_RETURN = 0.12
# A cut between views so alike that no part of the picture is a stranger: one frame's content changes far more
# than all near.
_SPIKE_CHANGE = 15.0
_SPIKE_OVER = 3.0
_SPIKE_NEIGHBOURS = 3
REACH = max(REACHES) + 1 + _CUT_NEIGHBOURS
"""Frames on either side that the evidence of a frame depends on, with what is concluded from it."""


def alike(a: np.ndarray, b: np.ndarray) -> float:
    """Whether two tiny frames show the same place: 1 if a shift turns one into the other, about 0.4 if they
    are strangers."""
    best = 0.0
    for top, bottom, left, right in _PARTS:
        part = a[top:bottom, left:right]
        contrast = part.std()
        if contrast < _FLAT:
            continue
        _, likeness, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(b, part, cv2.TM_CCOEFF_NORMED))
        if likeness > best:
            found = b[y : y + bottom - top, x : x + right - left].std()
            if found >= max(_FLAT, _FADED * contrast) and contrast >= _FADED * found:
                best = likeness
    return round(min(best, 1.0) * _STEPS) / _STEPS


def measure_alike(
    tiny: np.ndarray, begin: int, start: int, stop: int, total: int, least: int = 0
) -> np.ndarray:
    """`alike` of frames [start, stop) at every reach.

    Args:
        tiny: of frames [begin, begin + len(tiny)).
        total: frames of the video; what lies outside of it is its first or its last frame. Or the end of a
            stretch of it without a gap, which begins at frame `least`.

    Returns:
        float32 (stop − start, len(REACHES)); NaN where the nearest boundary or the grid gives no reason to
        look farther.
    """

    def across(i: int, reach: int) -> float:
        return alike(tiny[max(least, i - 1 - reach) - begin], tiny[min(i + reach, total - 1) - begin])

    found = np.full((stop - start, len(REACHES)), np.nan, np.float32)
    for row, i in zip(found, range(start, stop), strict=True):
        row[0] = across(i, 0)
        if row[0] < _DIPS:
            row[1:] = [across(i, reach) for reach in REACHES[1:]]
        elif i % _EVERY == 0:
            row[-1] = across(i, REACHES[-1])
    return found


def contrast(frame: np.ndarray) -> float:
    """Spread of the samples of a tiny frame, without the rows where captions and logos stay when the picture
    fades."""
    return round(2 * float(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[_MIDDLE].std())) / 2


def clear_cuts(alike: np.ndarray) -> np.ndarray:
    """Frames that begin a shot beyond doubt.

    Args:
        alike: (T, len(REACHES)), of consecutive frames.

    Returns:
        bool (T,).
    """
    strangers = np.all(
        [alike[:, REACHES.index(reach)] < below for reach, below in _CUT_BELOW.items()], axis=0
    )
    return strangers & (_dip(alike[:, 0]) > _CUT_DIP)


def jump_cuts(alike: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Frames that begin another view of much the same.

    Args:
        alike: (T, len(REACHES)), of consecutive frames.
        change: (T,), of content from the frame before.

    Returns:
        bool (T,).
    """
    near, farther = alike[:, 0], np.nan_to_num(alike[:, 1:-1], nan=1.0)
    sudden = change >= _JUMP_OVER * _around(change, np.mean, 0.0) + _JUMP_CHANGE
    stays = farther.max(axis=1) <= near + _JUMP_RETURN
    return sudden & stays & (near < _JUMP_BELOW) & (_dip(near) > _JUMP_DIP)


def spikes(change: np.ndarray) -> np.ndarray:
    """How surely a frame's content changes alone. Light that is switched counts as well: both sides of it
    stay pure.

    Args:
        change: (T,), of content from the frame before: `pipelines.shots.thresholds.content_change`.

    Returns:
        (T,), 0 where it does not; up to 1 where nothing changes around it.
    """
    around = _around(change, np.max, 0.0, _SPIKE_NEIGHBOURS)
    alone = (change >= _SPIKE_CHANGE) & (change >= _SPIKE_OVER * around)
    return np.where(alone, 1 - around / np.maximum(change, _SPIKE_CHANGE), 0.0)


def _dip(near: np.ndarray) -> np.ndarray:
    """How far each value lies below the least of its neighbours."""
    return _around(near, np.min, 1.0) - near


def _around(
    values: np.ndarray, reduce: Callable[..., np.ndarray], outside: float, reach: int = _CUT_NEIGHBOURS
) -> np.ndarray:
    """Of the neighbours on either side."""
    padded = np.pad(values, reach, constant_values=outside)
    shifts = [k for k in range(2 * reach + 1) if k != reach]
    return reduce([padded[k : k + len(values)] for k in shifts], axis=0)


def proposed_frames(alike: np.ndarray) -> np.ndarray:
    """Frames at which something happens that evidence can't explain: TransNetV2 is to look at them.

    Args:
        alike: (T, len(REACHES)), of consecutive frames.

    Returns:
        bool (T,).
    """
    cuts = clear_cuts(alike)
    reach = REACHES[-1] + 1
    explained = (
        np.convolve(cuts, np.ones(2 * reach + 1, int))[reach:-reach] > 0
    )  # not "same": that is as long as the longer
    return (alike[:, -1] < _STRANGE) & ~explained
