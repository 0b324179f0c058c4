"""Patch discriminator for the adversarial training of the VAE.

In: video (B, 3, T, H, W) in [-1, 1] of any length and size. Out: a score per patch, (B, t, h, w), high where
it looks real. A 3D PatchGAN (Isola et al. 2017). Normalisation is per position over channels, as in the VAE,
and time is padded with copies of its ends, so that an image, a short clip and a long one are judged alike.
Shapes: B batch, T frames, H W height and width, C channels.
"""

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from model.seeding import seeded
from model.vae.blocks import ChannelNorm

_SLOPE = 0.2  # of what is below zero (Maas et al. 2013), as in the original


class Discriminator(nn.Module):
    """Convolutions that halve space at every layer and time from the second on. Weights follow from `seed`
    alone.

    Args:
        channels: of the first layer; each further one has twice as many.
        layers: that halve; a score is about 2^layers pixels, and sees some three times as many around them.
    """

    def __init__(self, channels: int = 32, layers: int = 3, seed: int = 0) -> None:
        super().__init__()
        with seeded(seed):
            widths = [3, *(channels * 2**k for k in range(layers))]
            self.layers = nn.ModuleList(
                nn.Conv3d(a, b, (3, 4, 4), stride=(1 if k == 0 else 2, 2, 2), padding=(0, 1, 1))
                for k, (a, b) in enumerate(itertools.pairwise(widths))
            )
            self.norms = nn.ModuleList(ChannelNorm(width) for width in widths[2:])
            self.leave = nn.Conv3d(widths[-1], 1, 3, padding=(0, 1, 1))

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        for k, layer in enumerate(self.layers):
            x_BCTHW = layer(_with_ends(x_BCTHW))
            if k:
                x_BCTHW = self.norms[k - 1](x_BCTHW.movedim(1, -1)).movedim(-1, 1)
            x_BCTHW = F.leaky_relu(x_BCTHW, _SLOPE)
        return self.leave(_with_ends(x_BCTHW))[:, 0]


def _with_ends(x_BCTHW: Tensor) -> Tensor:
    """A copy of the first frame before it, and of the last behind it."""
    return F.pad(x_BCTHW, (0, 0, 0, 0, 1, 1), mode="replicate")
