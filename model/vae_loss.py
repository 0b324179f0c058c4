"""What the VAE is trained to do, and how well it does it.

In: video, posterior, reconstruction. Out: a loss with its parts, or decibels. A perceptual distance is injected as a
function.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from model.vae import Posterior


def vae_loss(
    x_BCTHW: Tensor,
    posterior: Posterior,
    recon_BCTHW: Tensor,
    kl_weight: float,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None,
    perceptual_weight: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean absolute error + kl_weight × KL (+ perceptual_weight × perceptual), in fp32.

    Both terms are means (per pixel number, per latent number), so neither shape nor batch changes their balance.

    Returns:
        the loss to minimise, and its parts detached: {"l1", "kl", "perceptual" if given}.
    """
    x_BCTHW, recon_BCTHW = x_BCTHW.float(), recon_BCTHW.float()
    l1, kl = (recon_BCTHW - x_BCTHW).abs().mean(), posterior.kl().mean()
    loss, parts = l1 + kl_weight * kl, {"l1": l1.detach(), "kl": kl.detach()}
    if perceptual is not None:
        distance = perceptual(x_BCTHW, recon_BCTHW).mean()
        loss, parts = loss + perceptual_weight * distance, {**parts, "perceptual": distance.detach()}
    return loss, parts


def psnr_db(x_BCTHW: Tensor, recon_BCTHW: Tensor) -> Tensor:
    """Peak signal-to-noise ratio per sample in dB, (B,), of video in [-1, 1]; the reconstruction is clamped to that."""
    error = (recon_BCTHW.float().clamp(-1, 1) - x_BCTHW.float()).square().flatten(1).mean(1)
    return 10 * torch.log10(4.0 / error.clamp(min=1e-12))
