"""What the VAE is trained to do, and how well it does it.

In: video, posterior, reconstruction. Out: a loss with its parts, or decibels. A perceptual distance is
injected as a function.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from model.vae.network import Posterior

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""(original, reconstruction), (B, 3, T, H, W) in [-1, 1] → how differently they look, (B,), with gradients to
the second."""


def vae_loss(
    x_BCTHW: Tensor,
    posterior: Posterior,
    recon_BCTHW: Tensor,
    kl_weight: float,
    perceptual: Perceptual | None = None,
    perceptual_weight: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean absolute error + kl_weight × KL (+ perceptual_weight × perceptual), in fp32.

    All terms are means (per pixel number, per latent number), so neither shape nor batch changes their
    balance.

    Returns:
        the loss to minimise, and its parts detached: {"l1", "kl", "perceptual" if given}.
    """
    loss, parts = reconstruction_loss(x_BCTHW, recon_BCTHW, perceptual, perceptual_weight)
    kl = posterior.kl().mean()
    return loss + kl_weight * kl, {**parts, "kl": kl.detach()}


def reconstruction_loss(
    x_BCTHW: Tensor,
    recon_BCTHW: Tensor,
    perceptual: Perceptual | None = None,
    perceptual_weight: float = 0.0,
    softness: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The reconstruction terms of `vae_loss`, summed, and each by name.

    Args:
        softness: errors well below it count by their square: √(e² + softness²) − softness (Charbonnier et al.
            1994). Plain grounds are right from the start, and the mean absolute error holds fast to them
            whatever edges lack.
    """
    x_BCTHW, recon_BCTHW = x_BCTHW.float(), recon_BCTHW.float()
    error = (recon_BCTHW - x_BCTHW).abs()
    loss = ((error.square() + softness**2).sqrt() - softness).mean() if softness else error.mean()
    parts = {"l1": error.detach().mean()}
    if perceptual is not None and perceptual_weight:
        seen = perceptual(x_BCTHW, recon_BCTHW).mean()
        loss, parts = loss + perceptual_weight * seen, {**parts, "perceptual": seen.detach()}
    return loss, parts


def psnr_db(x_BCTHW: Tensor, recon_BCTHW: Tensor) -> Tensor:
    """Peak signal-to-noise ratio per sample in dB, (B,), of video in [-1, 1]; the reconstruction is clamped
    to that."""
    error = (recon_BCTHW.float().clamp(-1, 1) - x_BCTHW.float()).square().flatten(1).mean(1)
    return 10 * torch.log10(4.0 / error.clamp(min=1e-12))
