"""Does a generated video look like the clip its caption came from, more than like any other?

In: uint8 videos. Out: distances. A video and a clip are compared as 16 × 16 thumbnails over time, at the same
frame rate: the mean squared error at the best offset in the clip, because a caption doesn't say which moment
of its clip it means.
"""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 16


def thumbnails(frames_THWC: np.ndarray) -> np.ndarray:
    """float32 (T, 16, 16, 3) in [0, 1]; the aspect is given up."""
    return (
        np.stack([cv2.resize(f, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for f in frames_THWC]).astype(
            np.float32
        )
        / 255
    )


def distance(video: np.ndarray, clip: np.ndarray) -> float:
    """Smallest mean squared error of a video's thumbnails against any stretch of a clip's; the shorter one
    sets the length."""
    length = min(len(video), len(clip))
    offsets = range(len(clip) - length + 1)
    return min(float(np.mean((video[:length] - clip[o : o + length]) ** 2)) for o in offsets)
