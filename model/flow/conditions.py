"""Conditions of a sample: text, a head, tails and keyframes.

In: a training window and a generator keyed by the caller, or frames from the user. Out: which latents are
conditions, and their noise level. Training and sampling share it:

- A **head** (the video's first latent frames) stays in place. A causal latent knows only the frames before
  it, so a head encoded alone has the very latents that it has in the whole.
- A **piece** (tail or keyframe) is encoded alone in training too, and joins as tokens beside the video's, at
  its true time. Cut out of the whole's latents it would hold what the frames before it left in them: known in
  training, missing later.

Shapes: L text tokens, E channels of text, C T H W latents.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.config import TASKS, ConditionConfig
from model.dit.tokens import Piece

FrameRange = tuple[int, int]  # first frame of a window, number of frames (4k+1)


@dataclass(frozen=True, slots=True)
class ConditionFrames:
    """Condition frames from the user: uint8 (T, H, W, 3), T = 4k + 1; the first is shown at `start_s`
    seconds."""

    frames_THWC: np.ndarray
    start_s: float = 0.0


@dataclass(frozen=True, slots=True)
class KnownLatents:
    """The conditions as latents: `head_CTHW` replaces the first latent frames, `pieces` are later tails and
    keyframes."""

    head_CTHW: Tensor | None = None
    pieces: Sequence[Piece] = ()


@dataclass(frozen=True, slots=True)
class ConditionPlan:
    """The conditions of one training sample.

    head: latent frames in place; pieces: stretches beside it; known_t: the time (noise) all that is given
    has.
    """

    task: str = "text"
    head: int = 0
    pieces: tuple[FrameRange, ...] = ()
    known_t: float = 0.0

    @property
    def independent(self) -> bool:
        """Nothing is given, and every latent frame has a time of its own."""
        return self.task == "independent"


def draw_condition_plan(
    latent_frames: int,
    stretches: Sequence[FrameRange],
    cfg: ConditionConfig,
    generator: torch.Generator,
    stride_time: int = 4,
) -> ConditionPlan:
    """Draw the task of a training window and its conditions.

    Args:
        latent_frames: length of the window.
        stretches: what of it is encoded alone too; those that reach its last frame are tails, the others
        keyframes.

    Returns:
        A plan that leaves at least one latent frame to be made. A window too short for the task drawn gets
        "text". Always draws as many numbers, so what comes after it in the same generator doesn't depend on
        the outcome.
    """
    task_u, drop_u, noisy_u, noise_u, first_u, second_u = torch.rand(6, generator=generator).tolist()
    weights = [cfg.mix.get(task, 0.0) for task in TASKS]
    task = TASKS[int(np.searchsorted(np.cumsum(weights) / sum(weights), task_u, side="right"))]
    num_frames = (latent_frames - 1) * stride_time + 1
    tails = sorted(s for s in stretches if s[0] + s[1] == num_frames and s[0] > 0)
    keyframes = sorted(s for s in stretches if s[0] + s[1] < num_frames and s[0] > 0)
    if drop_u < cfg.drop and task != "independent":
        return ConditionPlan()
    known_t = noise_u * cfg.noise_max if noisy_u < cfg.noisy_share else 0.0
    pick = lambda choices, u: choices[int(u * len(choices))]  # noqa: E731
    match task:
        case "first_frame" if latent_frames > 1:
            return ConditionPlan(task, head=1, known_t=known_t)
        case "first" if latent_frames > 1:
            return ConditionPlan(task, head=pick(range(1, latent_frames), first_u), known_t=known_t)
        case "last" if tails:
            return ConditionPlan(task, pieces=(pick(tails, first_u),), known_t=known_t)
        case "both_ends" if tails:
            tail = pick(tails, first_u)
            heads = range(1, (tail[0] - 2) // stride_time + 2)  # its last frame comes before the tail's first
            return ConditionPlan(task, head=pick(heads, second_u), pieces=(tail,), known_t=known_t)
        case "interior" if keyframes:
            chosen = {pick(keyframes, first_u), pick(keyframes, second_u)}
            return ConditionPlan(task, pieces=tuple(sorted(chosen)), known_t=known_t)
        case "independent" if latent_frames > 1:
            return ConditionPlan(task)
    return ConditionPlan()


def plan_pieces(
    num_frames: int, tails: Sequence[int], keyframes: bool, stride_time: int = 4
) -> list[FrameRange]:
    """Which stretches of a window of `num_frames` are encoded alone, so that training can give them.

    Args:
        tails: lengths in frames, 4k + 1; those that leave less than `stride_time` frames before them are left
        out.
        keyframes: also the single frames at which latents end, but for the first and the last.
    """
    found = [(num_frames - n, n) for n in sorted(set(tails)) if num_frames - n >= stride_time]
    if keyframes:
        found += [(frame, 1) for frame in range(stride_time, num_frames - 1, stride_time)]
    return found


def drop_text(text_LE: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The text, or in `share` of draws no text (0, E), for which the DiT's null token stands.

    Always draws one number, so what comes after it in the same generator doesn't depend on the outcome.
    """
    dropped = float(torch.rand((), generator=generator)) < share
    return text_LE[:0] if dropped else text_LE
