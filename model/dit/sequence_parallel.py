"""One row of tokens over several processes: each has a share of the tokens, and in attention all tokens of a
share of the heads.

In: rows that every process of a group has whole. Out: its share of them, and whole rows again. Everything but
attention is done on the shares. The group's processes call the same things in the same order. Each one's
gradients are those of its share: **sum the gradients of all parameters over the group**, and they are what
one process would have. Source: Jacobs et al. 2023 (DeepSpeed Ulysses). Shapes: N tokens, n of this process, H
heads, h of this process, d channels of a head, R processes.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from model.dit.attention import SegmentLayout, attend


class SequenceParallel:
    """A process group that shares rows of tokens; tokens needn't divide evenly, heads must."""

    def __init__(self, group: Any = None) -> None:
        self.group = group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)

    def counts(self, tokens: int) -> list[int]:
        """How many of so many tokens each process has."""
        base, more = divmod(tokens, self.size)
        return [base + (rank < more) for rank in range(self.size)]

    def scatter(self, x_N: Tensor) -> Tensor:
        """This process' rows of a row that all have.

        Raises:
            ValueError: there are fewer rows than processes.
        """
        if len(x_N) < self.size:
            raise ValueError(f"{len(x_N)} tokens can't be shared by {self.size} processes; use fewer")
        return x_N.split(self.counts(len(x_N)))[self.rank]

    def gather(self, x_nP: Tensor) -> Tensor:
        """The whole row, (N, P), from everybody's rows. Its gradient is the own share of the whole's: all
        hold the same loss."""
        return _Gather.apply(x_nP, self)

    def to_heads(self, x_nHd: Tensor, tokens: int) -> Tensor:
        """(n, H, d) of this process' tokens to (N, h, d) of its heads."""
        return _ToHeads.apply(x_nHd, self, tokens)

    def to_tokens(self, x_Nhd: Tensor) -> Tensor:
        """(N, h, d) of this process' heads to (n, H, d) of its tokens."""
        return _ToTokens.apply(x_Nhd, self)


def make_parallel_attention(
    parallel: SequenceParallel,
) -> Callable[[Tensor, Tensor, Tensor, SegmentLayout], Tensor]:
    """`attention.attend` for shares: (n, H, d) in and out, with the layout of the whole row.

    The function it returns raises ValueError when the heads can't be divided evenly.
    """

    def attention(q_nHd: Tensor, k_nHd: Tensor, v_nHd: Tensor, layout: SegmentLayout) -> Tensor:
        heads = q_nHd.shape[1]
        if heads % parallel.size:
            raise ValueError(
                f"{heads} heads can't be shared by {parallel.size} processes; use a number that divides "
                f"{heads}"
            )
        tokens = len(layout.query_segment_N)
        q, k, v = (parallel.to_heads(x, tokens) for x in (q_nHd, k_nHd, v_nHd))
        return parallel.to_tokens(attend(q, k, v, layout))

    return attention


def _heads_from_tokens(x_nHd: Tensor, parallel: SequenceParallel, tokens: int) -> Tensor:
    n, heads, d = x_nHd.shape
    per = heads // parallel.size
    sent = x_nHd.unflatten(1, (parallel.size, per)).transpose(0, 1).reshape(-1, per, d).contiguous()
    got = sent.new_empty(tokens, per, d)
    dist.all_to_all_single(got, sent, parallel.counts(tokens), [n] * parallel.size, group=parallel.group)
    return got


def _tokens_from_heads(x_Nhd: Tensor, parallel: SequenceParallel) -> Tensor:
    counts = parallel.counts(len(x_Nhd))
    n, (_, per, d) = counts[parallel.rank], x_Nhd.shape
    got = x_Nhd.new_empty(parallel.size * n, per, d)
    dist.all_to_all_single(got, x_Nhd.contiguous(), [n] * parallel.size, counts, group=parallel.group)
    return got.unflatten(0, (parallel.size, n)).transpose(0, 1).reshape(n, -1, d)


class _ToHeads(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, parallel: SequenceParallel, tokens: int) -> Tensor:
        ctx.parallel = parallel
        return _heads_from_tokens(x, parallel, tokens)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        return _tokens_from_heads(g, ctx.parallel), None, None


class _ToTokens(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, parallel: SequenceParallel) -> Tensor:
        ctx.parallel, ctx.tokens = parallel, len(x)
        return _tokens_from_heads(x, parallel)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return _heads_from_tokens(g, ctx.parallel, ctx.tokens), None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, parallel: SequenceParallel) -> Tensor:
        ctx.parallel = parallel
        total = torch.tensor([len(x)], device=x.device)
        dist.all_reduce(total, group=parallel.group)
        counts = parallel.counts(int(total))
        # all send as much: not every backend gathers unequal parts
        sent = x.new_zeros(max(counts), *x.shape[1:])
        sent[: len(x)] = x
        parts = [torch.empty_like(sent) for _ in counts]
        dist.all_gather(parts, sent, group=parallel.group)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return ctx.parallel.scatter(g), None
