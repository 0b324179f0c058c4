"""From noise to latents: every sample's noise, times and conditions, and the solver's way from the one to the
other.

In: a DiT, shapes, texts, seeds, what is known. Out: normalised latents, one per sample. Each sample's noise
follows from its own seed, and each has its own times (they are shifted by its size), so it doesn't matter
what else is in the batch. Shapes: S samples, N tokens of the videos, P numbers of a token, I+1 points in
time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from model.config import SOLVERS, FlowConfig, SampleConfig, unknown_name_message
from model.dit.network import DiT
from model.dit.tokens import Piece, Sample, pack, patchify
from model.flow.conditions import KnownLatents
from model.flow.guidance import GuidedVelocity
from model.flow.path import add_noise, shift_times

Velocity = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class VideoRequest:
    """A latent video to be drawn.

    Attributes:
        shape: of its latents, (C, T, H, W).
        text_LE: embeddings of L text tokens; L = 0 asks for a video without text.
        seed: of its noise.
        fps: of its pixels.
        known: normalised latents that are given.
    """

    shape: tuple[int, int, int, int]
    text_LE: Tensor
    seed: int
    fps: float
    known: KnownLatents = KnownLatents()


@dataclass(frozen=True, slots=True)
class TokenTimes:
    """When the tokens of a batch are integrated over.

    Attributes:
        grid_IS: points in time for each sample, from first to last.
        segment_N: the sample each token is of.
        fixed_N: tokens that are given. They are put back after every step, and what the network says of them
            is no part of a multistep's history.
    """

    grid_IS: Tensor
    segment_N: Tensor
    fixed_N: Tensor | None = None


@torch.no_grad()
def sample(
    dit: DiT,
    requests: Sequence[VideoRequest],
    cfg: SampleConfig,
    flow: FlowConfig,
    stride_time: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> list[Tensor]:
    """Draw latent videos, all in one batch.

    Args:
        stride_time: frames per latent frame of the VAE.
        progress: called with (steps done, steps in all) after each step.

    Returns:
        normalised latents (C, T, H, W), float32; `VAE.decode_latents` makes them pixels. Heads come back as
        they were given.

    Raises:
        ValueError: what is given doesn't fit its shape.
    """
    device = dit.enter.weight.device
    noises = [seeded_noise(request.shape, request.seed).to(device) for request in requests]
    samples, heads = [], []
    for noise, request in zip(noises, requests, strict=True):
        start, head = _start(noise, request.known, cfg.known_noise)
        pieces = [
            Piece(_noised(p.latents_CTHW.to(device), cfg.known_noise, request.seed + 1 + i), p.start_s)
            for i, p in enumerate(request.known.pieces)
        ]
        samples.append(
            Sample(
                start,
                request.fps,
                request.text_LE.to(device),
                head=0 if head is None else head.shape[1],
                pieces=pieces,
            )
        )
        heads.append(noise.new_zeros(0) if head is None else head)
    videos = pack(
        [Sample(s.latents_CTHW, s.fps, s.text_LE, head=s.head) for s in samples], dit.cfg.patch, stride_time
    )
    grid_IS = time_grid(cfg.steps, videos.shapes, videos.patch, flow).to(device)
    noise_NP = torch.cat([patchify(noise, videos.patch) for noise in noises])
    clean_NP = torch.cat(
        [patchify(_in_front(h, n), videos.patch) for h, n in zip(heads, noises, strict=True)]
    )
    renoised = lambda t_N1: add_noise(clean_NP, noise_NP, t_N1)  # noqa: E731
    velocity = GuidedVelocity(dit, samples, cfg, stride_time, renoised)
    times = TokenTimes(grid_IS, videos.segment_N, videos.known_N)
    tokens_NP = solve(velocity, videos.tokens_ND, times, cfg.solver, progress)
    made = videos.unpack(tokens_NP)
    return [z if head.ndim == 1 else _in_front(head, z) for z, head in zip(made, heads, strict=True)]


def _start(noise_CTHW: Tensor, given: KnownLatents, known_noise: float) -> tuple[Tensor, Tensor | None]:
    """Where the solver starts: noise, behind the head with as much noise as it is given; and the clean head,
    if any."""
    if given.head_CTHW is None:
        return noise_CTHW, None
    head = given.head_CTHW.to(noise_CTHW)
    if head.shape[0] != noise_CTHW.shape[0] or head.shape[2:] != noise_CTHW.shape[2:]:
        raise ValueError(
            f"a head of latents {tuple(head.shape)} was given for a video of {tuple(noise_CTHW.shape)}"
        )
    if head.shape[1] > noise_CTHW.shape[1]:
        raise ValueError(
            f"a head of {head.shape[1]} latent frames was given for a video of {noise_CTHW.shape[1]}"
        )
    return _in_front(add_noise(head, noise_CTHW[:, : head.shape[1]], known_noise), noise_CTHW), head


def _in_front(head_CTHW: Tensor, z_CTHW: Tensor) -> Tensor:
    """The video with its first latent frames replaced; (0,) replaces none."""
    if head_CTHW.ndim == 1:
        return z_CTHW
    return torch.cat([head_CTHW, z_CTHW[:, head_CTHW.shape[1] :]], dim=1)


def _noised(latents: Tensor, t: float, seed: int) -> Tensor:
    return add_noise(latents, seeded_noise(latents.shape, seed).to(latents), t) if t else latents


def seeded_noise(shape: Sequence[int], seed: int) -> Tensor:
    """Standard normal noise that follows from shape and seed alone, drawn on the CPU so that every device
    agrees."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


def time_grid(steps: int, shapes: Sequence[Sequence[int]], patch: Sequence[int], flow: FlowConfig) -> Tensor:
    """Times from noise (1) to data (0) for each sample, shifted by its size, (steps + 1, S)."""
    even = torch.linspace(1.0, 0.0, steps + 1)
    return torch.stack([shift_times(t.expand(len(shapes)), shapes, patch, flow) for t in even])


def solve(
    velocity: Velocity,
    x_NP: Tensor,
    times: TokenTimes,
    solver: str = "euler",
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Integrate dx/dt = velocity(x, t) along the grid of times.

    Args:
        solver: "euler" (order 1, one call per step), "heun" (order 2, two calls), or "multistep" (order 2,
            one call: the two-step Adams-Bashforth method for steps of any length, which starts with a step of
            Euler's).

    Raises:
        ValueError: for another solver, with the near miss.
    """
    if solver not in SOLVERS:
        raise ValueError(unknown_name_message("solver", solver, SOLVERS))
    grid_IS, segment_N, fixed_N = times.grid_IS, times.segment_N, times.fixed_N
    given_NP, steps = x_NP, len(grid_IS) - 1
    hold = (lambda x: x) if fixed_N is None else lambda x: torch.where(fixed_N[:, None], given_NP, x)
    free = (lambda v: v) if fixed_N is None else lambda v: v.masked_fill(fixed_N[:, None], 0.0)
    before: tuple[Tensor, Tensor] | None = None  # the last step's length and velocity
    for step, (now_S, then_S) in enumerate(pairwise(grid_IS), start=1):
        dt_N1 = (then_S - now_S)[segment_N, None]
        v = free(velocity(x_NP, now_S))
        slope = v
        if solver == "heun":
            slope = (v + free(velocity(hold(x_NP + dt_N1 * v), then_S))) / 2
        elif solver == "multistep" and before is not None:
            half_ratio = dt_N1 / before[0] / 2
            slope = (1 + half_ratio) * v - half_ratio * before[1]
        before = dt_N1, v
        x_NP = hold(x_NP + dt_N1 * slope)
        if progress:
            progress(step, steps)
    return x_NP
