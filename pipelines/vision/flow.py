"""Two small frames → how far the picture moved between them, and what of it the camera explains.

In: luma of two frames. Out: mean lengths of flow in shares of the frame diagonal, and the camera's move.

Flow is DIS (Kroeger et al. 2016) on the part of the frame that is not black around it. It is a guess where
there is little texture, and smears around what moves: where it does not match the two frames clearly better
than the camera's move does, the camera's is taken instead.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.vision.camera import CameraMotion, FrameRegion, fit_camera

_BLACK = 24  # luma up to which rows and columns at the edges are bars
_LEAST = 16  # px; below, the flow's patches don't fit
_LEAST_ROWS = 32


@dataclass(frozen=True, slots=True)
class Motion:
    """Between two frames: mean length of the flow over the whole frame, black around the picture counted as
    still; what of it the camera does not explain; the mean in that cell of about 16 px where it is largest.
    In shares of the frame diagonal.
    """

    mean: float
    objects: float
    peak: float
    camera: CameraMotion


STILL = Motion(0.0, 0.0, 0.0, CameraMotion(0.0, 0.0, 0.0, 0.0))


def motion_between(before: np.ndarray, now: np.ndarray) -> Motion:
    """Args: luma, uint8 (H, W) each. The same pair gives the same motion, whatever was measured before."""
    if np.array_equal(before, now):  # a held frame
        return STILL
    height, width = now.shape
    top, bottom, left, right = _picture(before, now)
    # A bar's edge mixes both: it is left out of the flow, but counts for the picture's area.
    part = FrameRegion(
        left + (left > 0), top + (top > 0), right - (right < width), bottom - (bottom < height), width, height
    )
    if min(part.bottom - part.top, part.right - part.left) < _LEAST:
        return STILL
    before, now = (
        np.ascontiguousarray(frame[part.top : part.bottom, part.left : part.right]) for frame in (before, now)
    )
    seen = fit_camera(before, now, _field(before, now), part)
    objects = seen.doubt[:, None] * (seen.measured_flow - seen.camera_flow)
    share = (bottom - top) * (right - left) / (height * width)
    lengths = _lengths(seen.camera_flow + objects)
    return Motion(
        float(lengths.mean()) * share,
        float(_lengths(objects).mean()) * share,
        float(lengths.max()),
        seen.camera,
    )


def _field(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Flow of every pixel, float32 (H, W, 2). OpenCV's DIS reads memory that isn't its own in wide frames of
    fewer rows."""
    # One per pair, which costs nothing: after a pair of another size it would give another flow.
    create = cv2.DISOpticalFlow_create  # type: ignore[attr-defined]  # its stubs lack it
    flow = create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    missing = max(0, _LEAST_ROWS - len(now))
    pair = [
        cv2.copyMakeBorder(frame, 0, missing, 0, 0, cv2.BORDER_REPLICATE) if missing else frame
        for frame in (before, now)
    ]
    return np.ascontiguousarray(flow.calc(*pair, None)[: len(now)])


def _picture(before: np.ndarray, now: np.ndarray) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of what is not black around both frames; nothing of two black ones."""
    both = cv2.max(before, now)
    rows = np.flatnonzero(cv2.reduce(both, 1, cv2.REDUCE_MAX).ravel() > _BLACK)
    columns = np.flatnonzero(cv2.reduce(both, 0, cv2.REDUCE_MAX).ravel() > _BLACK)
    if not len(rows):
        return 0, 0, 0, 0
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _lengths(flow: np.ndarray) -> np.ndarray:
    return np.hypot(flow[:, 0], flow[:, 1])
