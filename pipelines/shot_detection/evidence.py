"""Tiny frames → what tells transitions from motion: do two frames show the same place, and is one a mix of two others?

In: uint8 frames (T, 27, 48, 3). Out: numbers per frame, quantised so that they are stored in a byte. All are functions of
a fixed neighbourhood of the frame, so it does not matter in which stretches a video is measured.

`alike_a` of frame i compares frames i−1−a and i+a: what lies a frames to either side of the boundary before frame i. It
is the best normalised cross-correlation over shifts (Lewis 1995), per colour channel, so a pan, a shake, a flash or a
fade leave it near 1, and a cut does not.
"""

import cv2
import numpy as np

REACHES = (0, 2, 6, 14)
_STEPS = 250  # of a quantised number
_PARTS = ((6, 21, 10, 38), (0, 27, 0, 24), (0, 27, 24, 48))  # of a frame, searched in the other: rows, then columns
_FLAT = 2.0  # a spread of samples below this is noise, which looks like no other noise


def alike(a: np.ndarray, b: np.ndarray) -> float:
    """Whether two tiny frames show the same place: 1 if shifting one gives the other, about 0.4 if they are strangers."""
    best = 0.0
    for top, bottom, left, right in _PARTS:
        part = a[top:bottom, left:right]
        if part.std() < _FLAT:
            continue
        best = max(best, float(cv2.matchTemplate(b, part, cv2.TM_CCOEFF_NORMED).max()))
    return round(min(best, 1.0) * _STEPS) / _STEPS


def across(tiny: np.ndarray, i: int, reach: int) -> float:
    """`alike_<reach>` of frame i; frames outside of the video are its first or last."""
    last = len(tiny) - 1
    return alike(tiny[min(max(i - 1 - reach, 0), last)], tiny[min(max(i + reach, 0), last)])


def proposed(alike: np.ndarray) -> np.ndarray:
    """Frames at which something may happen: either side shows another place, at some reach.

    Args:
        alike: (T, len(REACHES)).

    Returns:
        bool (T,).
    """
    return (alike < PROPOSED_BELOW).any(axis=1)


PROPOSED_BELOW = 0.8
