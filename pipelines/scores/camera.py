"""What the camera does: its strongest steady move, or that it stands or shakes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.scores.base import SIGNALS, Measured, Score

_STEADY = 0.4
_MOVES = {
    "pan_x": ("pan right", "pan left"),
    "pan_y": ("tilt down", "tilt up"),
    "zoom": ("zoom out", "zoom in"),
    "roll": ("roll", "roll"),
}


def camera(clip: Measured) -> tuple[str, float]:
    """The camera's strongest steady move and its speed in the unit of that move.

    A move is steady if its mean over the clip stands out from its spread: a shaking hand goes here and there, and where
    it ends up is no pan.
    """
    moves = {name: clip.signals[name] for name in ("pan_x", "pan_y", "zoom", "roll")}
    mean = {name: float(np.mean(values)) for name, values in moves.items()}
    spread = {name: float(np.std(values)) for name, values in moves.items()}
    cfg = clip.cfg
    least = {"pan_x": cfg.camera_pan, "pan_y": cfg.camera_pan, "zoom": cfg.camera_zoom, "roll": cfg.camera_roll}
    strongest = max(moves, key=lambda name: abs(mean[name]) / max(least[name], 1e-9))
    speed = abs(mean[strongest])
    if speed >= least[strongest] and speed >= _STEADY * spread[strongest]:
        # The picture moves against the camera: contents that go left are a pan to the right.
        return _MOVES[strongest][mean[strongest] > 0], speed
    shake = math.hypot(spread["pan_x"], spread["pan_y"])
    return ("handheld" if shake >= cfg.camera_pan else "static"), shake


def _part(index: int) -> Callable[[Measured], Any]:
    return lambda clip: camera(clip)[index]


SCORES = {
    "camera": Score(
        _part(0),
        "static, handheld, pan left/right, tilt up/down, zoom in/out or roll",
        "label",
        SIGNALS,
        kind=pa.string(),
    ),
    "camera_magnitude": Score(
        _part(1),
        "speed of that move; of handheld and static the spread of pan and tilt",
        "pan, tilt: share of the frame diagonal per s; zoom: share of the size per s; roll: rad per s",
        SIGNALS,
    ),
}
