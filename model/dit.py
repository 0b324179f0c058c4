"""The diffusion transformer: noisy tokens to velocities, for videos of any shape in one row.

In: a row of tokens with positions, segments and times, and a row of text tokens (`tokens.Packed.inputs` makes all of
them). Out: the predicted velocity of every token. Sources: Peebles & Xie 2023 (DiT), Chen et al. 2023 (one time MLP
shared by all blocks). Shapes: N tokens, D channels inside, P numbers of a token (C·ph·pw), K distinct times, M text
tokens, E channels of text, H heads, d channels of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.attention import Layout, attend, make_layout
from model.config import DiTConfig
from model.layers import FeedForward, HeadNorm, Linear, TimeEmbedding
from model.rope import rope_table, rotate
from model.seeding import seeded

Rope = tuple[Tensor, Tensor]


class DiT(nn.Module):
    """See the module's docstring for shapes. Weights follow from `seed` alone."""

    def __init__(self, cfg: DiTConfig, seed: int = 0) -> None:
        super().__init__()
        self.cfg = cfg
        token_size = cfg.latent_channels * cfg.patch[0] * cfg.patch[1] * cfg.patch[2]
        with seeded(seed):
            self.enter = Linear(token_size, cfg.width)
            self.condition = Conditioning(cfg)
            self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.depth))
            self.leave = Head(cfg.width, token_size)

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
    ) -> Tensor:
        """Velocities (N, P), float32.

        Args:
            tokens_ND: noisy tokens (N, P).
            positions_N3: seconds, row and column in latents.
            segment_N, text_segment_M: which sample a token is of, in any order; each video segment needs a text token.
            times_K, time_index_N: the distinct (shifted) times, 0 data to 1 noise, and which of them each token has.
            text_ME: text embeddings; where text_null_M the learned null token stands instead.
            known_N: tokens that are given, not to be made; none by default.
        """
        cfg = self.cfg
        self_layout, text_layout = make_layout(segment_N, segment_N), make_layout(segment_N, text_segment_M)
        rope = rope_table(positions_N3, cfg.head_dim, cfg.latent_rate_hz, cfg.rope_theta)
        time_KD, tables_K6D, text_MD = self.condition(times_K, text_ME, text_null_M)
        x_ND = self.condition.mark_known(self.enter(tokens_ND), known_N)
        for block in self.blocks:
            x_ND = block(x_ND, tables_K6D, time_index_N, text_MD, rope, self_layout, text_layout)
        return self.leave(x_ND, time_KD, time_index_N).float()


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

    def forward(self, times_K: Tensor, text_ME: Tensor, text_null_M: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
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
    """Attention among the tokens of a video, attention to its text, feed-forward; time scales, shifts and gates."""

    def __init__(self, cfg: DiTConfig) -> None:
        super().__init__()
        self.table_6D = nn.Parameter(torch.randn(6, cfg.width) * cfg.width**-0.5)
        self.attention = SelfAttention(cfg)
        self.text_norm = nn.LayerNorm(cfg.width, eps=1e-6)
        self.text_attention = TextAttention(cfg)
        self.ffn = FeedForward(cfg.width, cfg.ffn_width, cfg.ffn)

    def forward(
        self,
        x_ND: Tensor,
        tables_K6D: Tensor,
        time_index_N: Tensor,
        text_MD: Tensor,
        rope: Rope,
        self_layout: Layout,
        text_layout: Layout,
    ) -> Tensor:
        tables = (tables_K6D + self.table_6D.float()).unbind(1)
        shift1, scale1, gate1, shift2, scale2, gate2 = (_at(table_KD, time_index_N) for table_KD in tables)
        x_ND = x_ND + gate1 * self.attention(modulate(x_ND, shift1, scale1), rope, self_layout)
        queries_ND = F.layer_norm(x_ND, x_ND.shape[-1:], *_affine(self.text_norm), eps=1e-6)
        x_ND = x_ND + self.text_attention(queries_ND, text_MD, text_layout)
        return x_ND + gate2 * self.ffn(modulate(x_ND, shift2, scale2))


class SelfAttention(nn.Module):
    """Tokens of a segment see each other, with rotated, normalised queries and keys."""

    def __init__(self, cfg: DiTConfig) -> None:
        super().__init__()
        self.heads = cfg.heads
        self.qkv = Linear(cfg.width, 3 * cfg.width)
        self.norm_q, self.norm_k = HeadNorm(cfg.head_dim), HeadNorm(cfg.head_dim)
        self.out = Linear(cfg.width, cfg.width)

    def forward(self, x_ND: Tensor, rope: Rope, layout: Layout) -> Tensor:
        q, k, v = self.qkv(x_ND).unflatten(-1, (3, self.heads, -1)).unbind(1)
        q, k = rotate(self.norm_q(q), rope), rotate(self.norm_k(k), rope)
        return self.out(attend(q, k, v, layout).flatten(1))


class TextAttention(nn.Module):
    """Tokens of a segment see its text. The output starts at zero: text comes in as it is learned."""

    def __init__(self, cfg: DiTConfig) -> None:
        super().__init__()
        self.heads = cfg.heads
        self.q = Linear(cfg.width, cfg.width)
        self.kv = Linear(cfg.width, 2 * cfg.width)
        self.norm_q, self.norm_k = HeadNorm(cfg.head_dim), HeadNorm(cfg.head_dim)
        self.out = Linear(cfg.width, cfg.width, zero=True)

    def forward(self, x_ND: Tensor, text_MD: Tensor, layout: Layout) -> Tensor:
        q = self.norm_q(self.q(x_ND).unflatten(-1, (self.heads, -1)))
        k, v = self.kv(text_MD).unflatten(-1, (2, self.heads, -1)).unbind(1)
        return self.out(attend(q, self.norm_k(k), v, layout).flatten(1))


class Head(nn.Module):
    """The last map to velocities, scaled and shifted by time; zero at the start."""

    def __init__(self, width: int, token_size: int) -> None:
        super().__init__()
        self.table_2D = nn.Parameter(torch.randn(2, width) * width**-0.5)
        self.map = Linear(width, token_size, zero=True)

    def forward(self, x_ND: Tensor, time_KD: Tensor, time_index_N: Tensor) -> Tensor:
        shift_KD, scale_KD = (time_KD.float()[:, None] + self.table_2D.float()).unbind(1)
        return self.map(modulate(x_ND, _at(shift_KD, time_index_N), _at(scale_KD, time_index_N)))


def modulate(x_ND: Tensor, shift_ND: Tensor, scale_ND: Tensor) -> Tensor:
    """Layer normalisation whose scale and shift come from time, in fp32."""
    return torch.addcmul(shift_ND, F.layer_norm(x_ND, x_ND.shape[-1:], eps=1e-6), 1 + scale_ND)


def _at(table_KD: Tensor, time_index_N: Tensor) -> Tensor:
    """Each token's row of a table made once per distinct time; one time needs no copies."""
    return table_KD if len(table_KD) == 1 else table_KD.index_select(0, time_index_N)


def _affine(norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    return norm.weight.float(), norm.bias.float()
