"""A fixed DCT of video blocks: video is mostly slow and smooth, so a few low frequencies hold most of a
block's energy.

In: a block's shape. Out: the matrix of its first basis functions, from which the VAE's linear path starts.
"""

import math
from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

_PICTURE_STD = 0.4  # of pixels in [-1, 1], about
# a step in frequency over time is worth so many over space, squared: most of a picture stands still
_SLOWNESS = 8.0
_CHROMA = 0.22  # standard deviation of the two colour differences over that of brightness
# Brightness, and two differences, orthonormal: about what principal components of natural colours are.
_COLOURS = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))


def block_transform(frames: int, side: int, channels: int) -> tuple[Tensor, Tensor]:
    """The discrete cosine transform of a block of (frames, side, side, 3) numbers, of it the functions that
    hold most.

    Ahmed, Natarajan & Rao 1974. How much a function holds is taken from a fall of amplitudes with the square
    of frequency, as in natural pictures (Field 1987), not measured. With all of its functions, that is
    channels = 3 · frames · side², it is an orthonormal basis but for the scale.

    Returns:
        to latents (channels, frames · side · side · 3), which gives numbers of about unit size; and its
        transpose with the scales inverted, from latents (frames · side · side · 3, channels): after one
        another a projection.

    Raises:
        ValueError: more channels than a block has numbers.
    """
    size = 3 * frames * side**2
    if channels > size:
        raise ValueError(
            f"{channels} latent channels are more than the {size} numbers of a block: nothing is compressed"
        )
    functions = [
        (_amplitude(w, u, v, colour), w, u, v, colour)
        for w, u, v, colour in product(range(frames), range(side), range(side), range(3))
    ]
    functions.sort(key=lambda function: -function[0])
    with torch.device("cpu"):  # also where a model is made without its numbers, to be loaded
        return _matrices(functions[:channels], frames, side)


def _matrices(
    functions: Sequence[tuple[float, int, int, int, int]], frames: int, side: int
) -> tuple[Tensor, Tensor]:
    size, channels = 3 * frames * side**2, len(functions)
    in_time, in_space = _cosines(frames), _cosines(side)
    colours = F.normalize(torch.tensor(_COLOURS, dtype=torch.float64), dim=1)
    basis, scale = (
        torch.empty(channels, size, dtype=torch.float64),
        torch.empty(channels, dtype=torch.float64),
    )
    for k, (amplitude, w, u, v, colour) in enumerate(functions):
        basis[k] = torch.einsum(
            "t,h,w,c->thwc", in_time[w], in_space[u], in_space[v], colours[colour]
        ).flatten()
        scale[k] = amplitude * _PICTURE_STD * math.sqrt(size)
    return (basis / scale[:, None]).float(), (basis * scale[:, None]).T.contiguous().float()


def _amplitude(w: int, u: int, v: int, colour: int) -> float:
    """Of a function with these half-waves over time, height and width, over that of the block's mean
    brightness."""
    return (_CHROMA if colour else 1.0) / (1.0 + _SLOWNESS * w**2 + u**2 + v**2)


def _cosines(length: int) -> Tensor:
    """Orthonormal cosines, a row each, slowest first (length, length)."""
    k, i = torch.arange(length, dtype=torch.float64)[:, None], torch.arange(length, dtype=torch.float64)
    waves = math.sqrt(2 / length) * torch.cos(math.pi * (i + 0.5) * k / length)
    waves[0] /= math.sqrt(2)
    return waves
