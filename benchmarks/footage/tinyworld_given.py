"""How well a generated video keeps what it was given, measured on what was decoded: nothing given is pasted
in.

In: uint8 videos (T, H, W, 3), and which of their frames were given. Out: decibels and ratios of steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model.flow.conditions import ConditionFrames


@dataclass(frozen=True, slots=True)
class Condition:
    """So many first and so many last frames of a video, each 4k + 1 or none."""

    head: int = 0
    tail: int = 0

    def given(self, truth_THWC: np.ndarray, fps: float) -> list[ConditionFrames]:
        """What a pipeline is given of this video."""
        found = []
        if self.head:
            found.append(ConditionFrames(truth_THWC[: self.head], 0.0))
        if self.tail:
            first = len(truth_THWC) - self.tail
            found.append(ConditionFrames(truth_THWC[first:], first / fps))
        return found

    def ends(self, num_frames: int) -> list[slice]:
        """The frames given, one slice for each end."""
        return [slice(0, self.head)] * bool(self.head) + [slice(num_frames - self.tail, num_frames)] * bool(
            self.tail
        )

    def seams(self, num_frames: int) -> list[int]:
        """The steps between a given and a generated frame; step k leads from frame k to k + 1."""
        return [self.head - 1] * bool(self.head) + [num_frames - self.tail - 1] * bool(self.tail)


CONDITIONS: Mapping[str, Condition] = {
    "first frame": Condition(head=1),
    "last frames": Condition(tail=5),
    "both ends": Condition(head=1, tail=5),
}


def psnr_db(truth_THWC: np.ndarray, made_THWC: np.ndarray) -> float:
    """Peak signal-to-noise ratio over all numbers of both, dB.

    Raises:
        ValueError: they are of different shapes.
    """
    if truth_THWC.shape != made_THWC.shape:
        raise ValueError(f"frames of {truth_THWC.shape} and {made_THWC.shape} can't be compared")
    error = np.square(truth_THWC.astype(float) - made_THWC).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-6)))


def gap_db(
    truths: Sequence[np.ndarray], references: Sequence[np.ndarray], made: Sequence[np.ndarray], frames: slice
) -> float:
    """By how much the given frames came back worse than in the references, mean over videos; below 0 they
    came back better."""
    return float(
        np.mean(
            [
                psnr_db(truth[frames], reference[frames]) - psnr_db(truth[frames], video[frames])
                for truth, reference, video in zip(truths, references, made, strict=True)
            ]
        )
    )


def step_ratio(videos: Sequence[np.ndarray], condition: Condition, seam: int) -> float:
    """The step at a seam over the mean step between generated frames; 1 is a seam that can't be seen.

    A step is the mean absolute change of all pixels from a frame to the next, summed over videos.
    """
    steps_K = np.mean(
        [np.abs(np.diff(video.astype(float), axis=0)).mean((1, 2, 3)) for video in videos], axis=0
    )
    seams = condition.seams(len(steps_K) + 1)
    assert seam in seams, (seam, seams)
    first, last = condition.head, len(steps_K) - condition.tail  # the generated frames are first … last
    return float(steps_K[seam] / steps_K[first:last].mean())
