"""The small parts of the transformer: linear maps with their initialisation, normalisation, feed-forward,
time embedding.

In and out: rows of tokens (N, D) or times (K,). Every layer initialises itself in its constructor, so a
partitioning constructor (ZeRO 3) sees finished weights. Shapes: N tokens, D channels, K times, H heads, d
channels of a head.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.dit.norms import qk_norm


class Linear(nn.Linear):
    """A linear map that starts Xavier-uniform, or at zero, and takes inputs of any dtype.

    Embeddings of time and text too: the usual N(0, .02) is about Xavier for a wide network, and starves a
    tiny one.
    """

    def __init__(self, in_features: int, out_features: int, zero: bool = False) -> None:
        self.zero = zero
        super().__init__(in_features, out_features)

    def reset_parameters(self) -> None:
        if self.zero:
            nn.init.zeros_(self.weight)
        else:
            nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.to(matmul_dtype(self)), self.weight, self.bias)


def matmul_dtype(linear: nn.Module) -> torch.dtype:
    """In which a linear map multiplies: autocast's, or that of its weights. It may be one that an adapter
    wraps."""
    weight = linear.weight
    assert isinstance(weight, Tensor)
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


class QKNorm(nn.Module):
    """RMSNorm over the channels of a head, and its rotation; see `norms.qk_norm`."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(head_dim))

    def forward(self, x_NHd: Tensor, rope: tuple[Tensor, Tensor] | None = None) -> Tensor:
        return qk_norm(x_NHd, self.weight, rope)


class FeedForward(nn.Module):
    """Two-layer GELU, or SwiGLU (Shazeer 2020) with the same inner width."""

    def __init__(self, width: int, inner: int, kind: str) -> None:
        super().__init__()
        if kind not in ("gelu", "swiglu"):
            raise ValueError(f"dit.ffn='{kind}' is not known; known: gelu, swiglu")
        self.gated = kind == "swiglu"
        self.up = Linear(width, inner * (2 if self.gated else 1))
        self.down = Linear(inner, width)

    def forward(self, x_ND: Tensor) -> Tensor:
        h = self.up(x_ND)
        if not self.gated:
            return self.down(F.gelu(h, approximate="tanh"))
        gate, value = h.chunk(2, dim=-1)
        return self.down(F.silu(gate) * value)


class TimeEmbedding(nn.Module):
    """Times in [0, 1] to vectors (K, D): sinusoids of 1000·t (Ho et al. 2020), then a small MLP."""

    def __init__(self, width: int, waves: int = 256) -> None:
        super().__init__()
        self.waves = waves
        self.enter = Linear(waves, width)
        self.leave = Linear(width, width)

    def forward(self, times_K: Tensor) -> Tensor:
        half = self.waves // 2
        powers = torch.arange(half, device=times_K.device, dtype=torch.float32) / half
        angle_KW = 1000.0 * times_K.float()[:, None] * torch.exp(-math.log(10000.0) * powers)
        return self.leave(F.silu(self.enter(torch.cat([angle_KW.cos(), angle_KW.sin()], dim=-1))))
