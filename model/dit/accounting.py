"""What a DiT costs: parameters, floating-point operations and bytes, from its config alone.

In: a DiTConfig, how many tokens, how many workers. Out: integers. Nothing is built and torch is not needed.
Letters: D width, F inner width of the feed-forward, N video tokens of one video, M text tokens of one text, P
parameters, W workers. One multiplication and one addition are two operations; a linear map of n rows from i
to o channels is 2·n·i·o.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from model.config import RECOMPUTE, DiTConfig, unknown_name_message

FP32, BF16 = 4, 2
# numbers that DeepSpeed collects before it sends gradients; it takes the room at once
_REDUCE_BUCKET = 500_000_000
_LIVE_PARAMETERS = 1_000_000_000  # most that ZeRO 3 keeps gathered, by DeepSpeed's default


@dataclass(frozen=True, slots=True)
class LinearMap:
    """A linear map with bias, or one like it in each of `copies` blocks.

    rows: what goes through it: "video" or "text" tokens, or "time" (one row).
    data: its input is data, for which no gradient is made.
    """

    name: str
    inputs: int
    outputs: int
    rows: str
    copies: int = 1
    data: bool = False

    @property
    def parameters(self) -> int:
        return self.copies * (self.inputs + 1) * self.outputs

    def flops(self, rows: Mapping[str, int]) -> int:
        """Of the forward pass."""
        return self.copies * 2 * rows[self.rows] * self.inputs * self.outputs


def linear_maps(cfg: DiTConfig) -> list[LinearMap]:
    """Every linear map of the network by the name of its module, `*` for the number of a block."""
    d, f, n, p = cfg.width, cfg.ffn_width, cfg.depth, token_size(cfg)
    up = f * (2 if cfg.ffn == "swiglu" else 1)
    return [
        LinearMap("enter", p, d, "video", data=True),
        LinearMap("condition.time.enter", 256, d, "time", data=True),
        LinearMap("condition.time.leave", d, d, "time"),
        LinearMap("condition.modulation", d, 6 * d, "time"),
        LinearMap("condition.text_enter", cfg.text_dim, d, "text", data=True),
        LinearMap("condition.text_leave", d, d, "text"),
        LinearMap("blocks.*.attention.qkv", d, 3 * d, "video", n),
        LinearMap("blocks.*.attention.out", d, d, "video", n),
        LinearMap("blocks.*.text_attention.q", d, d, "video", n),
        LinearMap("blocks.*.text_attention.kv", d, 2 * d, "text", n),
        LinearMap("blocks.*.text_attention.out", d, d, "video", n),
        LinearMap("blocks.*.ffn.up", d, up, "video", n),
        LinearMap("blocks.*.ffn.down", f, d, "video", n),
        LinearMap("leave.map", d, p, "video"),
    ]


def vector_parameters(cfg: DiTConfig) -> dict[str, int]:
    """Numbers that belong to no linear map, by the name of the parameter, those of all blocks together."""
    d, n = cfg.width, cfg.depth
    norms = [
        f"blocks.*.{kind}.norm_{what}.weight"
        for kind in ("attention", "text_attention")
        for what in ("q", "k")
    ]
    return {
        "condition.null_D": d,
        "condition.known_D": d,
        "blocks.*.table_6D": n * 6 * d,
        "blocks.*.text_attention.norm.weight": n * d,
        "blocks.*.text_attention.norm.bias": n * d,
        **dict.fromkeys(norms, n * cfg.head_dim),
        "leave.table_2D": 2 * d,
    }


def token_size(cfg: DiTConfig) -> int:
    """Numbers of one token: latent channels × patch."""
    return cfg.latent_channels * math.prod(cfg.patch)


def parameters(cfg: DiTConfig) -> dict[str, int]:
    """Parameters of each part; the whole is the sum."""
    parts: dict[str, int] = {}
    for name, count in [*((m.name, m.parameters) for m in linear_maps(cfg)), *vector_parameters(cfg).items()]:
        parts[part_of(name)] = parts.get(part_of(name), 0) + count
    return parts


def part_of(name: str) -> str:
    """The part that a parameter is counted in: `blocks.*.ffn.up` is in `blocks.ffn`, what scales and shifts
    by time in `blocks.norms`, as the norms themselves."""
    first, _, rest = name.partition(".*.")
    if not rest:
        return name.split(".")[0]
    part = rest.split(".")[0]
    return f"{first}.{part}" if part in ("attention", "text_attention", "ffn") else f"{first}.norms"


def video_tokens(
    cfg: DiTConfig, width: int, height: int, frames: int, stride_time: int = 4, stride_space: int = 8
) -> int:
    """Tokens of a video in pixels and frames behind a VAE of these strides; what is off the stride is rounded
    up."""
    times = math.ceil((frames - 1) / stride_time) + 1
    rows, columns = (
        math.ceil(side / (stride_space * patch))
        for side, patch in zip((height, width), cfg.patch[1:], strict=True)
    )
    return times * rows * columns


def forward_flops(cfg: DiTConfig, tokens: int, text_tokens: int) -> dict[str, int]:
    """Operations of one forward pass over one video at one time, by part.

    `attention.scores` is what grows with the square of the tokens: q·kᵀ and the sum over v, 2·N·N·D each, in
    every block; `text_attention.scores` is the same with the text's keys, 2·N·M·D each.
    """
    rows = {"video": tokens, "text": text_tokens, "time": 1}
    parts: dict[str, int] = {}
    for one in linear_maps(cfg):
        parts[part_of(one.name)] = parts.get(part_of(one.name), 0) + one.flops(rows)
    scores = 4 * tokens * cfg.width * cfg.depth
    return parts | {"attention.scores": scores * tokens, "text_attention.scores": scores * text_tokens}


def training_flops(cfg: DiTConfig, tokens: int, text_tokens: int, recompute: str = "none") -> int:
    """Operations of forward and backward over one video, without what an attention kernel does twice to save
    memory.

    Backward is twice forward: the gradient of what went in and that of the weights, but not of the input
    where that is data.

    Args:
        recompute: what the backward pass makes again: "none"; "selective", the linear maps of the blocks;
            "full", their attention too.

    Raises:
        ValueError: for another way, with the near miss.
    """
    _check_recompute(recompute)
    forward = forward_flops(cfg, tokens, text_tokens)
    rows = {"video": tokens, "text": text_tokens, "time": 1}
    unneeded = sum(one.flops(rows) for one in linear_maps(cfg) if one.data)
    again = {"none": (), "selective": ("blocks",), "full": ("blocks", "attention", "text_attention")}[
        recompute
    ]
    remade = sum(n for part, n in forward.items() if part.split(".")[0] in again)
    return 3 * sum(forward.values()) - unneeded + remade


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """Bytes of one worker while it trains, at the moment when most is held.

    weights: fp32, which the forward pass reads. gradients: fp32. masters, moments: fp32 copy of the weights
    that the optimiser steps, and Adam's two averages. average: the moving average of the weights. judged: a
    network of its own, in fp32, that the average is copied into to be looked at. half: the copies in bf16
    that mixed precision makes of weights for one pass. traffic: room in which gradients are collected to be
    sent, and at ZeRO 3 the weights that are gathered. activations: what the forward pass keeps for the
    backward pass.
    """

    weights: int
    gradients: int
    masters: int
    moments: int
    average: int
    judged: int
    half: int
    traffic: int
    activations: int

    @property
    def total(self) -> int:
        return sum(getattr(self, name) for name in self.__slots__)


@dataclass(frozen=True, slots=True)
class Sharding:
    """What ZeRO divides. stage: 1 divides masters, moments and average by the workers, 2 the gradients too, 3
    the weights too."""

    stage: int
    workers: int


def training_memory(
    cfg: DiTConfig,
    zero: Sharding,
    tokens: int,
    text_tokens: int,
    precision: str = "bf16",
    recompute: str = "none",
) -> TrainingMemory:
    """Bytes of a worker that trains all weights on micro-batches of one such video.

    Args:
        zero: what the workers divide among them.
        precision: of matrix products, "bf16" or "fp32".
        recompute: what the backward pass makes again, as `activation_bytes` takes it.

    Raises:
        ValueError: for another stage or way to recompute, or no workers.
    """
    stage, workers = zero.stage, zero.workers
    if stage not in (1, 2, 3) or workers < 1:
        raise ValueError(
            f"ZeRO stage {stage} on {workers} workers is not known; stages are 1, 2 and 3, workers at least 1"
        )
    whole = sum(parameters(cfg).values())
    share = math.ceil(whole / workers)
    half = sum(m.parameters for m in linear_maps(cfg)) * BF16 if precision == "bf16" else 0
    return TrainingMemory(
        weights=FP32 * (whole if stage < 3 else share),
        gradients=FP32 * (whole if stage < 2 else share),
        masters=FP32 * share,
        moments=2 * FP32 * share,
        average=FP32 * share,
        judged=FP32 * whole,
        # ZeRO 3 converts a weight when it has gathered it, and lets it go again
        half=half if stage < 3 else 0,
        traffic=FP32 * (_REDUCE_BUCKET + (min(whole, _LIVE_PARAMETERS) if stage == 3 else 0)),
        activations=activation_bytes(cfg, tokens, text_tokens, precision, recompute),
    )


def checkpoint_bytes(cfg: DiTConfig) -> int:
    """A saved state: weights, two moments and the average in fp32. Worker 0 gathers it in the machine's
    memory."""
    return 4 * FP32 * sum(parameters(cfg).values())


# These follow from how the operations are written, and are measured; tests/model/dit/test_accounting.py
# measures them again. Bytes that a block keeps for the backward pass, per token and channel: of D channels,
# of text, and of F inner channels.
_KEPT_WIDTH = {"bf16": 41, "fp32": 69}
_KEPT_TEXT = {"bf16": 6, "fp32": 12}
_KEPT_SELECTIVE = {"bf16": 24, "fp32": 40}  # of D: tokens, queries, keys, values, and what attention gave
_KEPT_INNER = {("bf16", "gelu"): 4, ("bf16", "swiglu"): 8, ("fp32", "gelu"): 8, ("fp32", "swiglu"): 16}
# Bytes alive at once while bf16 samples are made, per token and channel, where most are: in attention, of D
# channels; or at the end of the feed-forward, of D and of F inner channels.
_ALIVE_ATTENTION, _ALIVE_FFN, _ALIVE_INNER = 42, 23, {"gelu": 4, "swiglu": 8}


def activation_bytes(
    cfg: DiTConfig, tokens: int, text_tokens: int, precision: str = "bf16", recompute: str = "none"
) -> int:
    """What a forward pass over one video keeps for the backward pass, to some 10%.

    Args:
        recompute: "none": blocks keep everything; "selective": what goes into attention and comes out of it,
            and the tokens between; "full": a block's input alone, N·D in fp32. With the last two, one block
            at a time has everything.

    Raises:
        ValueError: for another way, with the near miss.
    """
    _check_recompute(recompute)
    width, inner = _KEPT_WIDTH[precision] * cfg.width, _KEPT_INNER[precision, cfg.ffn] * cfg.ffn_width
    block = tokens * (width + inner) + text_tokens * _KEPT_TEXT[precision] * cfg.width
    if recompute == "none":
        return cfg.depth * block
    if recompute == "full":
        return cfg.depth * FP32 * tokens * cfg.width + block
    kept = tokens * _KEPT_SELECTIVE[precision] + text_tokens * _KEPT_TEXT[precision]
    return cfg.depth * kept * cfg.width + block


def _check_recompute(recompute: str) -> None:
    if recompute not in RECOMPUTE:
        raise ValueError(unknown_name_message("recompute", recompute, RECOMPUTE))


def generation_bytes(cfg: DiTConfig, tokens: int, guided: bool = True) -> dict[str, int]:
    """What sampling holds, without VAE and text encoder: fp32 weights, their copies in bf16, what is alive
    inside a block.

    guided: two guidance halves go through the network in one row, twice the tokens.
    """
    rows = tokens * (2 if guided else 1)
    return {
        "weights": FP32 * sum(parameters(cfg).values()),
        "half": BF16 * sum(m.parameters for m in linear_maps(cfg)),
        "activations": rows
        * max(_ALIVE_ATTENTION * cfg.width, _ALIVE_FFN * cfg.width + _ALIVE_INNER[cfg.ffn] * cfg.ffn_width),
    }
