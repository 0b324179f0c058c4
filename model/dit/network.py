"""The diffusion transformer: noisy tokens to velocities, for videos of any shape in one row.

In: a row of tokens with positions, segments and times, and a row of text tokens (`tokens.Packed.inputs` makes
all of them). Out: the predicted velocity of every token. Sources: Peebles & Xie 2023 (DiT), Chen et al. 2023
(one time MLP shared by all blocks). Shapes: N tokens, D channels inside, P numbers of a token (C·ph·pw), K
distinct times, M text tokens, E channels of text, H heads, d channels of a head.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from model.config import DiTConfig
from model.dit.attention import SegmentLayout, attend, make_layout
from model.dit.layers import FeedForward, Linear, QKNorm, TimeEmbedding, matmul_dtype
from model.dit.norms import EPS, gated_add, modulated_norm
from model.dit.rope import rope_table
from model.dit.sequence_parallel import SequenceParallel, make_parallel_attention
from model.dit.step_cache import StepCache
from model.seeding import seeded

Rope = tuple[Tensor, Tensor]
Attention = Callable[[Tensor, Tensor, Tensor, SegmentLayout], Tensor]


class DiT(nn.Module):
    """See the module's docstring for shapes. Weights follow from `seed` alone.

    Attributes:
        recompute: activation checkpointing: "none"; "selective", all but attention, which costs most to
        recompute; "full", whole blocks, of which only the inputs are stored.
        parallel: the processes that share the tokens of every row, if there are any.
    """

    def __init__(self, cfg: DiTConfig, seed: int = 0) -> None:
        super().__init__()
        self.cfg = cfg
        self.recompute = "none"
        self.parallel: SequenceParallel | None = None
        token_size = cfg.latent_channels * cfg.patch[0] * cfg.patch[1] * cfg.patch[2]
        with seeded(seed):
            self.enter = Linear(token_size, cfg.width)
            self.condition = Conditioning(cfg)
            self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.depth))
            self.leave = FinalLayer(cfg.width, token_size)

    def forward(
        self,
        tokens_ND: Tensor,
        positions_N3: Tensor,
        segment_N: Tensor,
        times_K: Tensor,
        time_index_N: Tensor,
        text_ME: Tensor,
        text_segment_M: Tensor,
        text_null_M: Tensor | None = None,
        known_N: Tensor | None = None,
        cache: StepCache | None = None,
    ) -> Tensor:
        """Velocities (N, P), float32.

        Args:
            tokens_ND: noisy tokens (N, P).
            positions_N3: seconds, row and column in latents.
            segment_N, text_segment_M: which sample a token is of, in any order; each video segment needs a
            text token.
            times_K, time_index_N: the distinct (shifted) times, 0 data to 1 noise, and which of them each
            token has.
            text_ME: text embeddings; replaced by the learned null token where text_null_M is true.
            known_N: mask of condition tokens, which are not generated; none by default.
            cache: a sampler's step cache, which may supply the residual of all blocks but the first.
        """
        cfg, share = self.cfg, self.parallel.scatter if self.parallel else _all
        attention = make_parallel_attention(self.parallel) if self.parallel else attend
        self_layout = make_layout(segment_N, segment_N)
        text_layout = make_layout(share(segment_N), text_segment_M)
        rope = rope_table(share(positions_N3), cfg.head_dim, cfg.latent_rate_hz, cfg.rope_theta)
        time_KD, tables_K6D, text_MD = self.condition(times_K, text_ME, text_null_M)
        index_N = share(time_index_N)
        x_ND = self.condition.mark_known(
            self.enter(share(tokens_ND)), None if known_N is None else share(known_N)
        )
        context = BlockContext(
            tables_K6D, index_N, text_MD, rope, self_layout, text_layout, attention, self.recompute
        )
        first_ND = self.blocks[0](x_ND, context)

        def rest() -> Tensor:
            y_ND = first_ND
            for block in self.blocks[1:]:
                y_ND = block(y_ND, context)
            return y_ND - first_ND if cache else y_ND

        x_ND = first_ND + cache.remaining_residual(first_ND - x_ND, rest) if cache else rest()
        v_NP = self.leave(x_ND, time_KD, index_N).float()
        return self.parallel.gather(v_NP) if self.parallel else v_NP


def _all(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True, slots=True)
class BlockContext:
    """What all blocks share of one forward pass."""

    tables_K6D: Tensor
    time_index_N: Tensor
    text_MD: Tensor
    rope: Rope
    self_layout: SegmentLayout
    text_layout: SegmentLayout
    attention: Attention
    recompute: str


class Conditioning(nn.Module):
    """What all blocks share: time vectors and modulation, text tokens, the mark of known tokens."""

    def __init__(self, cfg: DiTConfig) -> None:
        super().__init__()
        self.time = TimeEmbedding(cfg.width)
        self.modulation = Linear(cfg.width, 6 * cfg.width, zero=True)
        self.text_enter = Linear(cfg.text_dim, cfg.width)
        self.text_leave = Linear(cfg.width, cfg.width)
        self.null_D = nn.Parameter(torch.randn(cfg.width) * 0.02)
        self.known_D = nn.Parameter(torch.zeros(cfg.width))

    def forward(
        self, times_K: Tensor, text_ME: Tensor, text_null_M: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Time vectors (K, D), the modulation all blocks start from (K, 6, D) in fp32, text tokens (M, D)."""
        time_KD = self.time(times_K)
        tables_K6D = self.modulation(F.silu(time_KD)).float().unflatten(-1, (6, -1))
        text_MD = self.text_leave(F.gelu(self.text_enter(text_ME), approximate="tanh"))
        if text_null_M is not None:
            text_MD = torch.where(text_null_M[:, None], self.null_D.to(text_MD.dtype), text_MD)
        return time_KD, tables_K6D, text_MD

    def mark_known(self, x_ND: Tensor, known_N: Tensor | None) -> Tensor:
        """Tokens in fp32, which the residual path stays in, known ones marked."""
        return x_ND.float() if known_N is None else x_ND.float() + known_N[:, None] * self.known_D.float()


class Block(nn.Module):
    """Attention among the tokens of a video, attention to its text, feed-forward; time scales, shifts and
    gates.

    Between the two attentions lie three phases, `pre_self_attention`, `pre_text_attention` and
    `post_attention`, which know nothing of segments: they take rows of any length, so they can be compiled
    once for all batches, and made again in the backward pass.
    """

    def __init__(self, cfg: DiTConfig) -> None:
        super().__init__()
        self.table_6D = nn.Parameter(torch.randn(6, cfg.width) * cfg.width**-0.5)
        self.attention = SelfAttention(cfg)
        self.text_attention = TextAttention(cfg)
        self.ffn = FeedForward(cfg.width, cfg.ffn_width, cfg.ffn)

    def forward(self, x_ND: Tensor, context: BlockContext) -> Tensor:
        if context.recompute == "full" and torch.is_grad_enabled():
            return recompute_in_backward(self._through, x_ND, context, _call)
        return self._through(
            x_ND, context, recompute_in_backward if context.recompute == "selective" else _call
        )

    def _through(self, x_ND: Tensor, context: BlockContext, run: Callable[..., Any]) -> Tensor:
        tables, index_N, attention = context.tables_K6D, context.time_index_N, context.attention
        q, k, v = run(self.pre_self_attention, x_ND, tables, index_N, *context.rope)
        seen = attention(q, k, v, context.self_layout)
        x_ND, q, k, v = run(self.pre_text_attention, x_ND, seen, tables, index_N, context.text_MD)
        seen = attend(q, k, v, context.text_layout)
        return run(self.post_attention, x_ND, seen, tables, index_N)

    def pre_self_attention(
        self, x_ND: Tensor, tables_K6D: Tensor, index_N: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values among the tokens, (N, H, d) each."""
        shift, scale, _, _, _, _ = self._tables(tables_K6D)
        return self.attention.project_qkv(x_ND, shift, scale, index_N, (cos, sin))

    def pre_text_attention(
        self, x_ND: Tensor, seen_NHd: Tensor, tables_K6D: Tensor, index_N: Tensor, text_MD: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Add the self-attention output to the tokens; project queries (N, H, d), and keys and values (M, H,
        d) of the text."""
        gate = self._tables(tables_K6D)[2]
        x_ND = gated_add(x_ND, gate, index_N, self.attention.out(seen_NHd.flatten(1)))
        return x_ND, *self.text_attention.project_qkv(x_ND, text_MD)

    def post_attention(self, x_ND: Tensor, seen_NHd: Tensor, tables_K6D: Tensor, index_N: Tensor) -> Tensor:
        """Add the text-attention output to the tokens, then apply the feed-forward."""
        _, _, _, shift, scale, gate = self._tables(tables_K6D)
        x_ND = x_ND + self.text_attention.out(seen_NHd.flatten(1))
        h_ND = modulated_norm(x_ND, shift, scale, index_N, matmul_dtype(self.ffn.up))
        return gated_add(x_ND, gate, index_N, self.ffn(h_ND))

    def _tables(self, tables_K6D: Tensor) -> tuple[Tensor, ...]:
        """Shift, scale and gate of attention, then of the feed-forward, (K, D) each."""
        return (tables_K6D + self.table_6D.float()).unbind(1)


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def recompute_in_backward(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function with activation checkpointing: the backward pass recomputes its activations."""
    if not torch.is_grad_enabled():
        return function(*args, **kwargs)
    return checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)


class SelfAttention(nn.Module):
    """Tokens of a segment see each other, with normalised, rotated queries and keys."""

    def __init__(self, cfg: DiTConfig) -> None:
        super().__init__()
        self.heads = cfg.heads
        self.qkv = Linear(cfg.width, 3 * cfg.width)
        self.norm_q, self.norm_k = QKNorm(cfg.head_dim), QKNorm(cfg.head_dim)
        self.out = Linear(cfg.width, cfg.width)

    def project_qkv(
        self, x_ND: Tensor, shift_KD: Tensor, scale_KD: Tensor, index_N: Tensor, rope: Rope
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (N, H, d) each."""
        h_ND = modulated_norm(x_ND, shift_KD, scale_KD, index_N, matmul_dtype(self.qkv))
        q, k, v = self.qkv(h_ND).unflatten(-1, (3, self.heads, -1)).unbind(1)
        return self.norm_q(q, rope), self.norm_k(k, rope), v


class TextAttention(nn.Module):
    """Tokens of a segment see its text. The output starts at zero: text comes in as it is learned."""

    def __init__(self, cfg: DiTConfig) -> None:
        super().__init__()
        self.heads = cfg.heads
        self.norm = nn.LayerNorm(cfg.width, eps=EPS)
        self.q = Linear(cfg.width, cfg.width)
        self.kv = Linear(cfg.width, 2 * cfg.width)
        self.norm_q, self.norm_k = QKNorm(cfg.head_dim), QKNorm(cfg.head_dim)
        self.out = Linear(cfg.width, cfg.width, zero=True)

    def project_qkv(self, x_ND: Tensor, text_MD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (N, H, d) of tokens, keys and values (M, H, d) of their text."""
        h_ND = F.layer_norm(x_ND, x_ND.shape[-1:], self.norm.weight.float(), self.norm.bias.float(), EPS)
        q = self.norm_q(self.q(h_ND).unflatten(-1, (self.heads, -1)))
        k, v = self.kv(text_MD).unflatten(-1, (2, self.heads, -1)).unbind(1)
        return q, self.norm_k(k), v


class FinalLayer(nn.Module):
    """Final layer: adaptive layer norm, then a zero-initialised linear layer to velocities."""

    def __init__(self, width: int, token_size: int) -> None:
        super().__init__()
        self.table_2D = nn.Parameter(torch.randn(2, width) * width**-0.5)
        self.map = Linear(width, token_size, zero=True)

    def forward(self, x_ND: Tensor, time_KD: Tensor, time_index_N: Tensor) -> Tensor:
        shift_KD, scale_KD = (time_KD.float()[:, None] + self.table_2D.float()).unbind(1)
        return self.map(modulated_norm(x_ND, shift_KD, scale_KD, time_index_N, matmul_dtype(self.map)))
