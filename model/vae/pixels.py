"""Conversion between uint8 frames, tensors in [-1, 1] and latents.

In: uint8 frames. Out: tensors in [-1, 1], latents, and frames again. Shapes: B videos, T frames, H W pixels,
C channels.
"""

import numpy as np
import torch
from torch import Tensor

from model.vae.network import VAE
from model.vae.published import PublishedVAE
from model.vae.tiles import encode_tiled


def to_tensor(frames_BTHWC: np.ndarray) -> Tensor:
    """uint8 (B, T, H, W, 3) to float (B, 3, T, H, W) in [-1, 1]."""
    return torch.from_numpy(frames_BTHWC).permute(0, 4, 1, 2, 3).float().div_(127.5).sub_(1.0)


def to_uint8(x_BCTHW: Tensor) -> np.ndarray:
    """The inverse: (B, 3, T, H, W) in [-1, 1] to uint8 (B, T, H, W, 3)."""
    return (
        x_BCTHW.float()
        .clamp(-1, 1)
        .add(1)
        .mul(127.5)
        .round()
        .to(torch.uint8)
        .permute(0, 2, 3, 4, 1)
        .cpu()
        .numpy()
    )


@torch.no_grad()
def encode_frames(vae: VAE | PublishedVAE, frames_THWC: np.ndarray) -> Tensor:
    """Normalised latents (C, T, H, W), float16 on the CPU: as they are cached for training.

    What a user gives at generation goes through here too, so that a tail or keyframe has the very numbers
    then that it had in training.

    Args:
        frames_THWC: uint8, 4k + 1 frames.
    """
    video = to_tensor(frames_THWC[None])
    # What others published has attention or statistics over space: its tiles would not give what the whole
    # gives.
    device = next(vae.parameters()).device
    posterior = encode_tiled(vae, video) if isinstance(vae, VAE) else vae.encode(video.to(device))
    return vae.normalise(posterior.mean.to(device))[0].half().cpu().contiguous()
