"""Rectified flow: the path from data to noise, the loss on it, and how time is spent along it.

In: clean latents and noise. Out: noisy latents, targets, weights, losses. Knows nothing of models or
schedulers. Time is 0 at data and 1 at noise. Shapes: S samples, N tokens, D numbers of a token. Source: Liu
et al. 2022 (rectified flow), Esser et al. 2024 (logit-normal times, shift), Open-Sora 2.0 (shift by size and
length).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.config import FlowConfig


def add_noise(x0: Tensor, noise: Tensor, t: Tensor | float) -> Tensor:
    """The point at time t of the straight path from data to noise: (1 − t)·x₀ + t·ε. `t` broadcasts."""
    return (1 - t) * x0 + t * noise


def velocity(x0: Tensor, noise: Tensor) -> Tensor:
    """What the network learns, constant along the path: v = ε − x₀."""
    return noise - x0


def sample_times(n: int, cfg: FlowConfig, generator: torch.Generator) -> Tensor:
    """n training times in (0, 1), not yet shifted, (n,) float32 on the CPU: logit-normal, a share of them
    uniform."""
    logit = torch.randn(n, generator=generator) * cfg.logit_std + cfg.logit_mean
    uniform = torch.rand(n, generator=generator)
    choose = torch.rand(n, generator=generator) < cfg.uniform_share
    return torch.where(choose, uniform, torch.sigmoid(logit))


def shift_alpha(tokens: int, latent_frames: int, cfg: FlowConfig) -> float:
    """How strongly a video's time moves towards noise: linear in its spatial tokens, times
    latent_frames^frames_power.

    Args:
        tokens: spatial tokens of one latent frame.
        latent_frames: length in latent frames; 1 for an image.
    """
    slope = (cfg.alpha_high - cfg.alpha_low) / (cfg.shift_tokens_high - cfg.shift_tokens_low)
    alpha = cfg.alpha_low + slope * max(0, tokens - cfg.shift_tokens_low)
    return min(alpha * latent_frames**cfg.frames_power, cfg.alpha_max)


def shift_time(t: Tensor, tokens: int, latent_frames: int, cfg: FlowConfig) -> Tensor:
    """Move time towards noise for larger and longer videos, which need more of it to lose their content.

    Args:
        t: times in [0, 1], any shape; 0 is data, 1 is noise.
        tokens: spatial tokens of one latent frame.
        latent_frames: length in latent frames; 1 for an image.

    Returns:
        α·t / (1 + (α − 1)·t), same shape. Training and sampling both call this, so they can't disagree.
    """
    alpha = shift_alpha(tokens, latent_frames, cfg)
    return alpha * t / (1 + (alpha - 1) * t)


def shift_times(
    t_S: Tensor, shapes: Sequence[Sequence[int]], patch: Sequence[int], cfg: FlowConfig
) -> Tensor:
    """`shift_time` for a batch: time i by the size of latents i, given as (C, T, H, W); (S,)."""
    shifted = [
        shift_time(t, (shape[2] // patch[1]) * (shape[3] // patch[2]), shape[1], cfg)
        for t, shape in zip(t_S, shapes, strict=True)
    ]
    return torch.stack(shifted)


def token_weights(segment_N: Tensor, per: str = "sample", known_N: Tensor | None = None) -> Tensor:
    """Loss weight of each token, (N,) float32; 0 for known tokens.

    Args:
        per: "token": every token 1, so long videos weigh more. "sample": the tokens of a sample share 1.

    Raises:
        ValueError: for another `per`.
    """
    if per not in ("sample", "token"):
        raise ValueError(f"loss weighting '{per}' is not known; known: sample, token")
    counted_N = torch.ones_like(segment_N, dtype=torch.float32)
    if known_N is not None:
        counted_N = counted_N * ~known_N
    if per == "token":
        return counted_N
    total_S = counted_N.new_zeros(int(segment_N.max()) + 1).index_add_(0, segment_N, counted_N)
    return counted_N / total_S[segment_N].clamp(min=1)


def token_errors(v_pred_ND: Tensor, v_ND: Tensor) -> Tensor:
    """Mean squared error of each token, (N,) float32."""
    return (v_pred_ND.float() - v_ND.float()).square().mean(-1)


def flow_loss(
    v_pred_ND: Tensor, v_ND: Tensor, weights_N: Tensor, total: Tensor | float | None = None
) -> Tensor:
    """Weighted mean of the token errors, fp32: Σ w·‖v̂ − v‖²/D ÷ total.

    Args:
        total: Σ w over everything that one optimiser step sees (micro-batches, ranks); by default Σ w of this
        batch.
    """
    return (weights_N * token_errors(v_pred_ND, v_ND)).sum() / (weights_N.sum() if total is None else total)


def segment_means(values_N: Tensor, segment_N: Tensor, count: int | None = None) -> Tensor:
    """Mean of each segment's values, (S,): per-sample losses out of token errors. 0 for a segment without
    any."""
    count = int(segment_N.max()) + 1 if count is None else count
    sums = values_N.new_zeros(count).index_add_(0, segment_N, values_N)
    return sums / torch.bincount(segment_N, minlength=count).clamp(min=1)
