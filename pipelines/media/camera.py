"""Optical flow → what the camera did: pan, tilt, zoom and roll between two frames, and what moved by itself.

In: a flow field in shares of the frame diagonal. Out: the similarity transform that most of the field agrees with, and
the mean flow it leaves unexplained. A robust least-squares fit without random sampling, so the same on every run.
"""

import math
from dataclasses import dataclass

import numpy as np

_GRID = 24  # sample points along the longer side
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Camera:
    """Motion between two frames, as the picture shows it: pan right and down in shares of the frame diagonal, zoom as a
    share of the size (positive grows), roll clockwise in radians; residual is the mean flow left over, as pan.
    """

    pan_x: float
    pan_y: float
    zoom: float
    roll_rad: float
    residual: float

    @classmethod
    def still(cls) -> "Camera":
        return cls(0.0, 0.0, 0.0, 0.0, 0.0)


def camera_of(field: np.ndarray) -> Camera:
    """Fit a similarity transform to a flow field.

    Args:
        field: float (H, W, 2), flow (x, y) of each pixel as a share of the frame diagonal.
    """
    h, w = field.shape[:2]
    step = max(1, max(h, w) // _GRID)
    y, x = np.mgrid[step // 2 : h : step, step // 2 : w : step]
    u = field[y, x].reshape(-1, 2).astype(np.float64)
    diagonal = math.hypot(h, w)
    px = ((x - (w - 1) / 2) / diagonal).ravel()
    py = ((y - (h - 1) / 2) / diagonal).ravel()
    one, nil = np.ones_like(px), np.zeros_like(px)
    # u_x = pan_x + zoom·x − roll·y,  u_y = pan_y + zoom·y + roll·x: linear for the small turns between two frames.
    design = np.concatenate([np.stack([one, nil, px, -py], 1), np.stack([nil, one, py, px], 1)])
    target = np.concatenate([u[:, 0], u[:, 1]])
    ridge = np.eye(4) * 1e-9  # a field one point wide tells no zoom
    start = np.array([np.median(u[:, 0]), np.median(u[:, 1]), 0.0, 0.0])
    error = np.linalg.norm((target - design @ start).reshape(2, -1), axis=0)
    for _ in range(_ROUNDS):  # Geman–McClure weights: things that move by themselves lose their say
        scale = 1.4826 * np.median(error) + 0.25 / diagonal
        weighted = design * np.tile(1 / (1 + (error / scale) ** 2) ** 2, 2)[:, None]
        fitted = np.linalg.solve(weighted.T @ design + ridge, weighted.T @ target)
        error = np.linalg.norm((target - design @ fitted).reshape(2, -1), axis=0)
    return Camera(*(float(value) for value in fitted), residual=float(error.mean()))
