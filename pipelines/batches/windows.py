"""Which stretches of a clip are trained on, and which are held out.

In: a clip's length. Out: windows of 4k+1 frames, each wholly inside the trained or the held-out time block, so that validation never sees
a moment that training saw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipelines.batches.config import ShapeConfig, WindowConfig
from pipelines.batches.shapes import fit_frames

TRAIN, HELD_OUT = "train", "held_out"
_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class Window:
    """`num_frames` frames of a clip from `start_s` on, `1/fps` apart; seconds count from the clip's first frame."""

    index: int
    split: str
    start_s: float
    num_frames: int


def time_blocks(duration_s: float, fps: float, cfg: WindowConfig) -> tuple[int, int]:
    """Frames (at `fps`) of a clip's trained block and of its held-out block, which follows it."""
    total = math.floor(duration_s * fps + _EPSILON)
    held = max(round(total * cfg.holdout_share), cfg.holdout_min_frames) if cfg.holdout_share > 0 else 0
    if held >= total:  # too short to hold anything out
        return total, 0
    return total - held, held


def plan_windows(duration_s: float, shapes: ShapeConfig, cfg: WindowConfig) -> list[Window]:
    """All windows of a clip: trained ones every `stride_s`, the last one ending with the block; then the held-out ones, end to end."""
    trained, held = time_blocks(duration_s, shapes.fps, cfg)
    windows: list[Window] = []
    length = fit_frames(trained, shapes.max_frames)
    if length:
        stride = max(1, round(cfg.stride_s * shapes.fps))
        starts = [*range(0, trained - length, stride), trained - length]
        windows += [Window(i, TRAIN, start / shapes.fps, length) for i, start in enumerate(starts)]
    length = fit_frames(held, shapes.max_frames)
    if length:
        starts = range(trained, trained + held - length + 1, length)
        windows += [Window(len(windows) + i, HELD_OUT, start / shapes.fps, length) for i, start in enumerate(starts)]
    return windows
