"""Rotary position embedding over (seconds, y, x).

In: positions (N, 3) in seconds and latent units, queries and keys. Out: rotated queries and keys. Dot
products depend on differences of positions only, and time is in seconds: the same motion at another frame
rate has the same coordinates. Shapes: N tokens, H heads, d channels of a head, h = d / 2 rotated pairs.
Source: Su et al. 2021; the split as in Wan 2.1.
"""

import torch
from torch import Tensor


def axis_split(head_dim: int) -> tuple[int, int, int]:
    """Channels of a head given to time, height and width: [d − 4⌊d/6⌋, 2⌊d/6⌋, 2⌊d/6⌋], all even."""
    sixth = head_dim // 6
    return head_dim - 4 * sixth, 2 * sixth, 2 * sixth


def rope_table(
    positions_N3: Tensor, head_dim: int, latent_rate_hz: float, theta: float
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every token's angles, each (N, 1, h), float32.

    Args:
        positions_N3: seconds, and height and width in latents.
        latent_rate_hz: one unit of time is 1 / latent_rate_hz seconds, so that it compares with one latent of
        space.
        theta: base of the frequencies theta^(−2i/d_axis).
    """
    scale = torch.tensor([latent_rate_hz, 1.0, 1.0], device=positions_N3.device, dtype=torch.float64)
    coordinates_N3 = positions_N3.double() * scale
    angles = []
    for axis, channels in enumerate(axis_split(head_dim)):
        powers = torch.arange(0, channels, 2, device=positions_N3.device, dtype=torch.float64) / max(
            channels, 1
        )
        angles.append(coordinates_N3[:, axis, None] * theta**-powers)
    angle_Nh = torch.cat(angles, dim=1)
    return angle_Nh.cos().float()[:, None], angle_Nh.sin().float()[:, None]


def rotate(x_NHd: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate pair i = (channel i, channel i + h) of every head by the token's i-th angle; same shape and
    dtype.

    The definition: `norms.head_norm` does it together with the norm, and is compared with this.
    """
    cos, sin = table
    a, b = x_NHd.float().chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x_NHd.dtype)
