"""A video → its signals: one decode, dense measurements on small frames, sparse ones on native frames, keyed by PTS.

In: frames in order with their PTS. Out: a table of a row per frame. Shots, scores and labels are decided from these
numbers alone, so thresholds can change without touching footage. Frames live and die in here.

Columns: `pts`; `delta_hue, delta_sat, delta_lum` mean absolute change from the frame before on OpenCV's 8-bit HSV, as
PySceneDetect's ContentDetector measures it (0 for the first frame); `luma_mean, luma_std` of 8-bit luma; `motion` mean
optical flow, share of the frame diagonal per second; `object_motion` what of it the camera does not explain, `pan_x,
pan_y` (right, down positive: what the picture does), same unit; `zoom` share of the size per second (positive: grows);
`roll` radians per second (positive: clockwise); `sharpness` variance of the Laplacian of native luma, null where no
native frame was taken.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
import pyarrow as pa

from pipelines.config import SignalConfig
from pipelines.media.camera import Camera, camera_of

VERSION = 1
STAGE = "signals"

SCHEMA = pa.schema(
    [pa.field("pts", pa.int64(), nullable=False)]
    + [
        pa.field(name, pa.float64())
        for name in (
            "delta_hue",
            "delta_sat",
            "delta_lum",
            "luma_mean",
            "luma_std",
            "motion",
            "object_motion",
            "pan_x",
            "pan_y",
            "zoom",
            "roll",
            "sharpness",
        )
    ]
)


@dataclass(slots=True)
class _Before:
    """What is kept of the frame before."""

    pts: int
    hsv: np.ndarray
    gray: np.ndarray


def measure(frames: Iterable[tuple[int, np.ndarray]], time_base: Fraction, cfg: SignalConfig) -> pa.Table:
    """Signals of a video.

    Args:
        frames: (pts, RGB uint8 (H, W, 3)), ascending.
        time_base: of the PTS, seconds.

    Returns:
        A table of `SCHEMA`, one row per frame.
    """
    cv2.setNumThreads(1)  # Ray counts cores; and a sum over threads may round differently from run to run
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    rows: list[dict[str, float | int | None]] = []
    before: _Before | None = None
    native_s = -math.inf
    for pts, frame in frames:
        small = shrink(frame, cfg.small_side)
        hsv, gray = cv2.cvtColor(small, cv2.COLOR_RGB2HSV), cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        row: dict[str, float | int | None] = {
            "pts": pts,
            "luma_mean": float(gray.mean()),
            "luma_std": float(gray.std()),
        }
        row.update(_changes(before, hsv))
        row.update(_motion(before, gray, pts, time_base, flow))
        seconds = float(pts * time_base)
        changed = max(row["delta_hue"], row["delta_sat"], row["delta_lum"]) >= cfg.keyframe_change
        row["sharpness"] = None
        if changed or seconds - native_s >= cfg.keyframe_every_s:
            native_s = seconds
            row["sharpness"] = sharpness(frame)
        rows.append(row)
        before = _Before(pts, hsv, gray)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def shrink(frame: np.ndarray, longer_side: int) -> np.ndarray:
    """The frame with its longer side at most so long, averaged down; smaller frames stay as they are."""
    h, w = frame.shape[:2]
    scale = longer_side / max(h, w)
    if scale >= 1:
        return frame
    return cv2.resize(frame, (max(1, round(w * scale)), max(1, round(h * scale))), interpolation=cv2.INTER_AREA)


def sharpness(frame: np.ndarray) -> float:
    """Variance of the Laplacian of luma (Pech-Pacheco et al. 2000): near 0 without focus, hundreds with fine detail."""
    return float(cv2.Laplacian(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())


def _changes(before: _Before | None, hsv: np.ndarray) -> dict[str, float]:
    names = ("delta_hue", "delta_sat", "delta_lum")
    if before is None:
        return dict.fromkeys(names, 0.0)
    means = cv2.absdiff(hsv, before.hsv).reshape(-1, 3).mean(axis=0)
    return {name: float(mean) for name, mean in zip(names, means, strict=True)}


def _motion(
    before: _Before | None, gray: np.ndarray, pts: int, time_base: Fraction, flow: "cv2.DISOpticalFlow"
) -> dict[str, float]:
    if before is None:
        return _per_second(0.0, Camera.still(), 1.0)
    return _per_second(*_flow(flow, before.gray, gray), float((pts - before.pts) * time_base))


def _flow(flow: "cv2.DISOpticalFlow", before: np.ndarray, gray: np.ndarray) -> tuple[float, Camera]:
    """Mean length of the optical flow, and the camera's part of it; in shares of the frame diagonal."""
    if min(gray.shape) < 16:  # too small for the flow's 8-pixel patches
        return 0.0, Camera.still()
    field = flow.calc(before, gray, None) / math.hypot(*gray.shape)
    return float(np.linalg.norm(field, axis=-1).mean()), camera_of(field)


def _per_second(motion: float, camera: Camera, elapsed_s: float) -> dict[str, float]:
    return {
        "motion": motion / elapsed_s,
        "object_motion": camera.residual / elapsed_s,
        "pan_x": camera.pan_x / elapsed_s,
        "pan_y": camera.pan_y / elapsed_s,
        "zoom": camera.zoom / elapsed_s,
        "roll": camera.roll_rad / elapsed_s,
    }
