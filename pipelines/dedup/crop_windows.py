"""Thumbnails → coarse pictures of them and of every window that a crop may have left, without their light.

In: thumbnails (n, S, S). Out: unit vectors, which candidates are found by (`describe`) and first compared by
(`coarse`). Shapes: w² windows, n thumbnails. The first window is the whole picture.
"""

from functools import lru_cache

import numpy as np

from pipelines.dedup.looks import SIDE

COARSE = 8  # cells on a side of a coarse picture
DIMENSIONS = 27
_STARTS = (0.0, 0.09, 0.18)  # of windows, shares of a side; half a step away, pictures are still alike
_SHORTEST = 0.8
_HIGHEST = 5.1  # spatial frequency in a description, half-cycles per side


@lru_cache(maxsize=1)
def axis_windows() -> list[tuple[float, float]]:
    """Of one axis: (start, length), shares of the side; first the whole."""
    ends = [1 - start for start in _STARTS]
    return [(start, end - start) for start in _STARTS for end in ends if end - start >= _SHORTEST]


def window(number: int) -> tuple[float, float, float, float]:
    """(x, y, width, height) of a window, by its place in `coarse`."""
    row, column = divmod(number, len(axis_windows()))
    (y, height), (x, width) = axis_windows()[row], axis_windows()[column]
    return x, y, width, height


def coarse(thumbs: np.ndarray, whole_only: bool = False) -> np.ndarray:
    """Every window of every thumbnail, without its mean: float32 (w², n, COARSE²), of length 1 unless it is
    flat."""
    count = 1 if whole_only else len(axis_windows())
    weights = _weights()[: count * COARSE]
    cells = weights @ thumbs @ weights.T
    cells = cells.reshape(-1, count, COARSE, count, COARSE).transpose(1, 3, 0, 2, 4)
    return _unit(
        cells.reshape(count * count, len(thumbs), COARSE * COARSE)
        - cells.mean(axis=(3, 4)).reshape(count * count, -1, 1)
    )


def describe(coarse_pictures: np.ndarray) -> np.ndarray:
    """Low frequencies (…, DIMENSIONS) of coarse pictures, of length 1; weighted so that pictures of any
    footage lie all around.

    Spectra of pictures fall like 1/f (Field 1987), so coefficients are multiplied by their frequency.
    """
    return _unit(coarse_pictures @ _frequencies())


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-3)


@lru_cache(maxsize=1)
def _weights() -> np.ndarray:
    """(w · COARSE, S): averages the cells of each window of an axis into COARSE ones."""
    rows = []
    for start, length in axis_windows():
        bounds = (start + length * np.linspace(0, 1, COARSE + 1)) * SIDE
        cells = np.arange(SIDE)
        overlap = np.minimum(bounds[1:, None], cells + 1) - np.maximum(bounds[:-1, None], cells)
        rows.append(np.clip(overlap, 0, None) / (bounds[1] - bounds[0]))
    return np.concatenate(rows).astype(np.float32)


@lru_cache(maxsize=1)
def _frequencies() -> np.ndarray:
    """(COARSE², DIMENSIONS): the two-dimensional DCT-II without its mean, up to `_HIGHEST`, times the
    frequency."""
    order = np.arange(COARSE)
    waves = np.cos(np.pi * (order[None, :] + 0.5) * order[:, None] / COARSE)
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    frequency = np.hypot(order[:, None], order[None, :])
    kept = (frequency > 0) & (frequency <= _HIGHEST)
    basis = np.einsum("uy,vx->yxuv", waves, waves) * frequency
    return basis[:, :, kept].reshape(COARSE * COARSE, -1).astype(np.float32)
