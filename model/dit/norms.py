"""Normalisation with what belongs to it, fused: scale and shift by time, the gate of a residual, the rotation
of a head.

In: rows of tokens, and tables made once per distinct time. Out: rows in the dtype that the next matrix
product takes. Each is one autograd function, because a chain of small operations reads and writes every token
a dozen times and keeps as many copies for the backward pass; these keep what they were given. Backward passes
are written out beside their formulas, and checked against autograd by the tests. Shapes: N tokens, D
channels, K times, H heads, d channels of a head, h = d / 2.
"""

from typing import Any

import torch
from torch import Tensor

EPS = 1e-6


def modulated_norm(
    x_ND: Tensor, shift_KD: Tensor, scale_KD: Tensor, time_index_N: Tensor, dtype: torch.dtype
) -> Tensor:
    """Layer normalisation whose scale and shift come from time: x̂·(1 + scale) + shift, (N, D), computed in
    fp32.

    Args:
        x_ND: fp32. time_index_N: each token's row of the tables; with one row there is nothing to choose.
        dtype: of the result.
    """
    return _ModulatedNorm.apply(x_ND, shift_KD.float(), scale_KD.float(), time_index_N, dtype)


def gated_add(x_ND: Tensor, gate_KD: Tensor, time_index_N: Tensor, y_ND: Tensor) -> Tensor:
    """Gated residual: x + gate·y, (N, D) fp32, with the gate computed from time."""
    return _GatedAdd.apply(x_ND, gate_KD.float(), time_index_N, y_ND)


def qk_norm(x_NHd: Tensor, weight_d: Tensor, rope: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """RMS normalisation of every head, times a weight, then rotated; computed in fp32, in the dtype and shape
    of x.

    It bounds attention logits (Dehghani et al. 2023). Pair i = (channel i, channel i + h) is turned by the
    token's angle i.

    Args:
        rope: cosines and sines (N, 1, h) of `rope.rope_table`; None rotates nothing.
    """
    cos, sin = rope or (None, None)
    return _HeadNorm.apply(x_NHd, weight_d.float(), cos, sin)


class _ModulatedNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, shift: Tensor, scale: Tensor, index: Tensor, dtype: torch.dtype
    ) -> Tensor:
        one = len(scale) == 1
        factor = 1 + scale
        weight, bias = (factor[0], shift[0]) if one else (None, None)
        y, mean, rstd = torch.native_layer_norm(x, x.shape[-1:], weight, bias, EPS)
        if not one:
            y = torch.addcmul(shift.index_select(0, index), y, factor.index_select(0, index))
        ctx.save_for_backward(x, factor, index, mean, rstd)
        return y.to(dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, factor, index, mean, rstd = ctx.saved_tensors
        g, size = g.float(), x.shape[-1:]
        if len(factor) == 1:  # torch's own: ∂/∂scale = Σ g·x̂ and ∂/∂shift = Σ g are those of an affine norm
            dx, dscale, dshift = torch.ops.aten.native_layer_norm_backward(
                g, x, size, mean, rstd, factor[0], factor[0], [True, True, True]
            )
            return dx, dshift[None], dscale[None], None, None
        dshift = _sum_by_time(g, index, len(factor))
        dscale = _sum_by_time(g * ((x - mean) * rstd), index, len(factor))
        dx, _, _ = torch.ops.aten.native_layer_norm_backward(
            g * factor.index_select(0, index), x, size, mean, rstd, None, None, [True, False, False]
        )
        return dx, dshift, dscale, None, None


class _GatedAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: Tensor, index: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(gate, index, y)
        return torch.addcmul(x, _at(gate, index), y)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        gate, index, y = ctx.saved_tensors
        return g, _sum_by_time(g * y, index, len(gate)), None, (g * _at(gate, index)).to(y.dtype)


class _HeadNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, cos: Tensor | None, sin: Tensor | None) -> Tensor:
        x_f = x.float()
        r = torch.rsqrt(torch.linalg.vector_norm(x_f, dim=-1, keepdim=True).square() / x.shape[-1] + EPS)
        ctx.save_for_backward(x, weight, cos, sin, r)
        if cos is None or sin is None:
            return (x_f * r * weight).to(x.dtype)
        a, b = x_f.chunk(2, dim=-1)
        w_a, w_b = weight.chunk(2)
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        out_a, out_b = out.chunk(2, dim=-1)
        out_a.copy_(torch.addcmul(a * (w_a * cos), b, w_b * sin, value=-1) * r)
        out_b.copy_(torch.addcmul(b * (w_b * cos), a, w_a * sin) * r)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """With x̂ = r·x and u the gradient turned back: ∂w = Σ u·x̂ and ∂x = r·(u·w − x̂·Σ_d(u·w·x̂)/d)."""
        x, weight, cos, sin, r = ctx.saved_tensors
        u = g.float()
        if cos is not None:
            a, b = u.chunk(2, dim=-1)
            u = torch.cat([torch.addcmul(a * cos, b, sin), torch.addcmul(b * cos, a, sin, value=-1)], dim=-1)
        x_hat = x.float() * r
        product = u * x_hat
        along = (product @ weight / x.shape[-1])[..., None]
        dx = torch.addcmul(u * weight, x_hat, along, value=-1) * r
        return dx.to(x.dtype), product.flatten(0, -2).sum(0), None, None


def _at(table_KD: Tensor, time_index_N: Tensor) -> Tensor:
    """Each token's row of a table made once per distinct time; one time needs no copies."""
    return table_KD if len(table_KD) == 1 else table_KD.index_select(0, time_index_N)


def _sum_by_time(x_ND: Tensor, time_index_N: Tensor, times: int) -> Tensor:
    """The sum of the rows of each time, (K, D). A matrix product, which, unlike adding by index, gives the
    same every time."""
    if times == 1:
        return x_ND.sum(0, keepdim=True)
    ones_KN = torch.arange(times, device=x_ND.device)[:, None] == time_index_N
    return ones_KN.to(x_ND.dtype) @ x_ND
