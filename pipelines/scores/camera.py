"""What the camera does: its strongest steady move, or that it stands or shakes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.scores.base import SIGNALS, ClipMeasurements, Score

# a move gets so far, as a share of the way it makes; what goes here and there is a shaking hand
_STEADY = 0.5
# of the clip at either end of each move's speeds: a moment at which the background was not found
_OUTLIERS = 0.1
_MOVES = {
    "pan_x": ("pan right", "pan left"),
    "pan_y": ("tilt down", "tilt up"),
    "zoom": ("zoom out", "zoom in"),
    "roll": ("roll", "roll"),
}
_FLOW = {"pan_x": 1.0, "pan_y": 1.0, "zoom": 0.5, "roll": 0.4}
"""What moves are compared by. A zoom or roll of 1 makes a mean flow of 0.26; but about a point that is not
the middle it pans the middle as well, and remains what it is as long as that point is in the picture.
"""


def camera(clip: ClipMeasurements) -> tuple[str, float] | tuple[None, None]:
    """The camera's strongest steady move and its speed in the unit of that move; None of a clip too short for
    any."""
    moves = {name: clip.signals[name] for name in _MOVES}
    if not len(moves["pan_x"]):
        return None, None
    moves = {name: np.clip(v, *np.quantile(v, (_OUTLIERS, 1 - _OUTLIERS))) for name, v in moves.items()}
    mean = {name: float(np.mean(values)) for name, values in moves.items()}
    cfg = clip.cfg
    least = {
        "pan_x": cfg.camera_pan,
        "pan_y": cfg.camera_pan,
        "zoom": cfg.camera_zoom,
        "roll": cfg.camera_roll,
    }
    steady = [
        name
        for name, values in moves.items()
        if abs(mean[name]) >= max(least[name], _STEADY * float(np.mean(np.abs(values))), 1e-9)
    ]
    if steady:
        strongest = max(steady, key=lambda name: abs(mean[name]) * _FLOW[name])
        # The picture moves against the camera: contents that go left are a pan to the right.
        return _MOVES[strongest][mean[strongest] > 0], abs(mean[strongest])
    shake = float(np.mean(np.hypot(*(moves[name] - np.median(moves[name]) for name in ("pan_x", "pan_y")))))
    return ("handheld" if shake >= cfg.camera_pan else "static"), shake


def _part(index: int) -> Callable[[ClipMeasurements], Any]:
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
        "speed of that move; of handheld and static the mean speed of pan and tilt",
        "pan, tilt: share of the frame diagonal per s; zoom: share of the size per s; roll: rad per s",
        SIGNALS,
    ),
}
