"""Attention in bfloat16 on a CPU, a block of queries at a time, out of matrix products.

In: queries, keys and values of a dense batch. Out: values. torch's own kernel for a CPU multiplies bfloat16
at a third of the processor's rate; batched products reach it, and a block of scores is small enough to stay
in its caches. Scores are rounded to bfloat16, as autocast rounds those of a plain softmax(q·kᵀ); the softmax
itself is computed in fp32. Nothing but the inputs is kept for the backward pass. Shapes: B heads of all
videos, N queries, M keys, d channels of a head.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

BLOCK = 128


def attend_blocks(q_BNd: Tensor, k_BMd: Tensor, v_BMd: Tensor) -> Tensor:
    """softmax(q·kᵀ/√d)·v, (B, N, d)."""
    return _Attend.apply(q_BNd, k_BMd, v_BMd)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(q, k, v)
        k_t, v = k.contiguous().transpose(1, 2), v.contiguous()
        out = q.new_empty(q.shape[0], q.shape[1], v.shape[2])
        for rows, q_b in _blocks(q * q.shape[-1] ** -0.5):
            out[:, rows] = torch.bmm(torch.softmax(torch.bmm(q_b, k_t), -1), v)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, ...]:
        """With P the probabilities: ∂v = Pᵀg, ∂S = P∘(g·vᵀ − Σ P∘(g·vᵀ)), ∂q = ∂S·k/√d, ∂k = ∂Sᵀq/√d."""
        q, k, v = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        k, v = k.contiguous(), v.contiguous()
        k_t, v_t = k.transpose(1, 2), v.transpose(1, 2)
        dq, dk, dv = (
            torch.empty_like(q),
            torch.zeros_like(k, dtype=torch.float32),
            torch.zeros_like(v, dtype=torch.float32),
        )
        for rows, q_b in _blocks(q * scale):
            g_b = g[:, rows].contiguous()
            p = torch.softmax(torch.bmm(q_b, k_t), -1)
            dv += torch.bmm(p.transpose(1, 2), g_b)
            ds = torch._softmax_backward_data(torch.bmm(g_b, v_t), p, -1, p.dtype)
            dq[:, rows] = torch.bmm(ds, k) * scale
            dk += torch.bmm(ds.transpose(1, 2), q_b)
        return dq, dk.to(k.dtype), dv.to(v.dtype)


def _blocks(q_BNd: Tensor) -> Iterator[tuple[slice, Tensor]]:
    for start in range(0, q_BNd.shape[1], BLOCK):
        rows = slice(start, start + BLOCK)
        yield rows, q_BNd[:, rows].contiguous()
