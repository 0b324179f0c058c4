"""The other ways to find shots, as their makers run them: what ours is measured against.

In: tiny frames of a whole video. Out: stretches [start, end) of one shot, in frames, as each peer would hand
them on.
"""

from __future__ import annotations

import numpy as np

from tests.support.transnet_package import network


def probabilities(tiny: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(one-hot, many-hot) of every frame: windows of 100 frames, every 50, as the package runs them; one
    thread."""
    import torch

    torch.set_num_threads(1)
    one, many = network().predict_frames(torch.from_numpy(tiny), quiet=True)
    return one.numpy(), many.numpy()


def one_hot_shots(one: np.ndarray, threshold: float = 0.5) -> list[tuple[int, int]]:
    """The package's own scenes; they include their last frame, which is the one before the cut."""
    scenes = network().predictions_to_scenes(one, threshold)
    return [(int(start), min(int(end) + 1, len(one))) for start, end in scenes]


def stitched_shots(
    many: np.ndarray, tiny: np.ndarray, threshold: float = 0.3, same: float = 0.04
) -> list[tuple[int, int]]:
    """Stretches that the many-hot head leaves, stitched where both sides show the same, then one frame
    cropped."""
    inside = np.flatnonzero(np.diff(np.concatenate([[True], many > threshold, [True]]).astype(int)))
    shots: list[list[int]] = []
    for start, end in inside.reshape(-1, 2).tolist():
        if shots and _distance(tiny[shots[-1][1] - 2], tiny[start + 1 if start + 1 < end else start]) < same:
            shots[-1][1] = end
        else:
            shots.append([start, end])
    cropped = [(start + (start > 0), end - (end < len(many))) for start, end in shots]
    return [(start, end) for start, end in cropped if end > start]


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference of the pictures averaged down to 6 × 3 places, 0…1."""
    layout = [frame.reshape(3, 9, 6, 8, 3).mean(axis=(1, 3)) / 255 for frame in (a, b)]
    return float(np.abs(layout[0] - layout[1]).mean())
