"""Training windows and held-out windows of a clip.

In: a clip's length. Out: windows of 4k+1 frames, each wholly inside the trained or the held-out time block,
so that validation never sees a moment that training saw.
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
    """`num_frames` frames of a clip from `start_s` on, `1/fps` apart; seconds count from the clip's first
    frame."""

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


def window_lengths(longest: int, shortest: int) -> list[int]:
    """Lengths of training windows: the longest (4k+1), and what is left of it by halving down to `shortest`.
    17 gives 17, 9, 5 and 1."""
    lengths = [longest]
    while (half := fit_frames(lengths[-1] // 2 + 1, longest)) < lengths[-1] and half >= shortest:
        lengths.append(half)
    return lengths


def plan_windows(duration_s: float, shapes: ShapeConfig, cfg: WindowConfig) -> list[Window]:
    """All windows of a clip: trained ones of each length every `stride_s`, the last one ending with the
    block; then the held-out ones, end to end, at the longest length that fits.
    """
    trained, held = time_blocks(duration_s, shapes.fps, cfg)
    places: list[tuple[str, int, int]] = []
    longest = fit_frames(trained, shapes.max_frames)
    stride = max(1, round(cfg.stride_s * shapes.fps))
    for length in window_lengths(longest, cfg.min_frames) if longest else ():
        places += [
            (TRAIN, start, length) for start in (*range(0, trained - length, stride), trained - length)
        ]
    longest = fit_frames(held, shapes.max_frames)
    if longest:
        places += [
            (HELD_OUT, start, longest) for start in range(trained, trained + held - longest + 1, longest)
        ]
    return [Window(i, split, start / shapes.fps, length) for i, (split, start, length) in enumerate(places)]
