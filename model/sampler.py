"""From noise to latents: solvers of the flow, and classifier-free guidance.

In: a DiT, shapes, texts, seeds. Out: normalised latents, one per sample. Each sample's noise follows from its own
seed, and each has its own times (they are shifted by its size), so it doesn't matter what else is in the batch.
Shapes: S samples, N tokens, P numbers of a token, I+1 points in time. Source: Ho & Salimans 2022 (guidance).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from model.config import FlowConfig, SampleConfig, unknown_name
from model.dit import DiT
from model.flow import shift_times
from model.tokens import Sample, pack

Velocity = Callable[[Tensor, Tensor], Tensor]
SOLVERS = ("euler", "heun")


@torch.no_grad()
def sample(
    dit: DiT,
    shapes: Sequence[tuple[int, int, int, int]],
    texts: Sequence[Tensor],
    cfg: SampleConfig,
    flow: FlowConfig,
    seeds: Sequence[int],
    fps: float | Sequence[float],
    stride_time: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> list[Tensor]:
    """Draw one latent video per shape.

    Args:
        shapes: latents (C, T, H, W) of each sample.
        texts: embeddings (L, E) of each; L = 0 asks for a video without text.
        seeds: one per sample.
        fps: of the pixels, one for all or one each.
        stride_time: frames per latent frame of the VAE.
        progress: called with (steps done, steps in all) after each step.

    Returns:
        normalised latents (C, T, H, W), float32; `VAE.decode_latents` makes them pixels.

    Raises:
        ValueError: when the lists differ in length.
    """
    rates = [fps] * len(shapes) if isinstance(fps, int | float) else list(fps)
    if not len(shapes) == len(texts) == len(seeds) == len(rates):
        raise ValueError(
            f"sample got {len(shapes)} shapes, {len(texts)} texts, {len(seeds)} seeds and {len(rates)} fps; "
            "give one of each per sample"
        )
    device = dit.enter.weight.device
    samples = [
        Sample(seeded_noise(shape, seed).to(device), rate, text.to(device))
        for shape, seed, rate, text in zip(shapes, seeds, rates, texts, strict=True)
    ]
    packed = pack(samples, dit.cfg.patch, stride_time)
    grid_IS = time_grid(cfg.steps, packed.shapes, packed.patch, flow).to(device)
    velocity = guided_velocity(dit, samples, cfg.guidance, stride_time)
    tokens_NP = solve(velocity, packed.tokens_ND, grid_IS, packed.segment_N, cfg.solver, progress)
    return packed.unpack(tokens_NP)


def seeded_noise(shape: Sequence[int], seed: int) -> Tensor:
    """Standard normal noise that follows from shape and seed alone, drawn on the CPU so that every device agrees."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


def time_grid(steps: int, shapes: Sequence[Sequence[int]], patch: Sequence[int], flow: FlowConfig) -> Tensor:
    """Times from noise (1) to data (0) for each sample, shifted by its size, (steps + 1, S)."""
    even = torch.linspace(1.0, 0.0, steps + 1)
    return torch.stack([shift_times(t.expand(len(shapes)), shapes, patch, flow) for t in even])


def guided_velocity(dit: DiT, samples: Sequence[Sample], guidance: float, stride_time: int) -> Velocity:
    """The network as a function of (tokens, time of each sample): v∅ + guidance·(v_text − v∅).

    Both halves go through the network packed in one row. A guidance of 1 asks the text half only, 0 the other only.
    """
    null = [replace(one, text_LE=one.text_LE[:0]) for one in samples]
    if guidance in (0.0, 1.0):
        alone = pack(samples if guidance else null, dit.cfg.patch, stride_time)
        return lambda x_NP, times_S: dit(**{**alone.inputs(times_S), "tokens_ND": x_NP})
    both = pack([*samples, *null], dit.cfg.patch, stride_time)
    both.time_index_N = both.segment_N % len(samples)  # a sample and its null twin share a time

    def velocity(x_NP: Tensor, times_S: Tensor) -> Tensor:
        v_text, v_null = dit(**{**both.inputs(times_S), "tokens_ND": torch.cat([x_NP, x_NP])}).chunk(2)
        return v_null + guidance * (v_text - v_null)

    return velocity


def solve(
    velocity: Velocity,
    x_NP: Tensor,
    grid_IS: Tensor,
    segment_N: Tensor,
    solver: str = "euler",
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Integrate dx/dt = velocity(x, t) along the grid.

    Args:
        grid_IS: points in time for each sample, from first to last.
        segment_N: the sample each token is of.
        solver: "euler" (order 1, one call per step) or "heun" (order 2, two calls).

    Raises:
        ValueError: for another solver, with the near miss.
    """
    if solver not in SOLVERS:
        raise ValueError(unknown_name("solver", solver, SOLVERS))
    steps = len(grid_IS) - 1
    for step, (now_S, then_S) in enumerate(pairwise(grid_IS), start=1):
        dt_N1 = (then_S - now_S)[segment_N, None]
        v = velocity(x_NP, now_S)
        if solver == "heun":
            v = (v + velocity(x_NP + dt_N1 * v, then_S)) / 2
        x_NP = x_NP + dt_N1 * v
        if progress:
            progress(step, steps)
    return x_NP
