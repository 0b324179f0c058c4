"""Flow is measured on pictures of any shape, also on a low and wide one between bars."""

import numpy as np
import pytest

from pipelines.vision.flow import motion_between
from tests.support.footage import texture


@pytest.mark.parametrize("rows", [18, 20, 31, 32, 40])
@pytest.mark.parametrize("width", [64, 128, 256])
def test_a_low_and_wide_picture_moves_as_far_as_it_was_moved(rows, width):
    canvas, black = (
        texture(1, rows, width + 8).mean(axis=2).astype(np.uint8),
        np.zeros((144, width), np.uint8),
    )
    before, now = black.copy(), black.copy()
    before[60 : 60 + rows] = np.maximum(60, canvas[:, 4 : 4 + width])
    now[60 : 60 + rows] = np.maximum(60, canvas[:, 2 : 2 + width])  # two pixels to the right
    motion = motion_between(before, now)
    moved_px = motion.mean * np.hypot(144, width)
    assert moved_px == pytest.approx(2 * rows / 144, rel=0.25)
