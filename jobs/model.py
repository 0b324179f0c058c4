"""`rushes model`: what a diffusion transformer costs, before anything is trained.

In: a named size, and the video that it is counted for. Out: parameters by part, operations per token and per
step, memory of a worker at each ZeRO stage, memory of generation. Nothing is built: the figures are those of
`model.dit.accounting`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from jobs.cli.run_folder import Run, Scratch, scratch_run_folder
from jobs.cli.terminal_text import dump_escaped_json
from jobs.sizing.config import ALL, ModelConfig
from jobs.sizing.text import as_table, as_text
from model.config import DIT_SIZES, RECOMPUTE, DiTConfig, dit_config
from model.dit.accounting import (
    Sharding,
    checkpoint_bytes,
    forward_flops,
    generation_bytes,
    parameters,
    training_flops,
    training_memory,
    video_tokens,
)


def check(cfg: ModelConfig) -> None:
    """The changes make a network of every size asked for."""
    _configs(cfg)


def run_folder(cfg: ModelConfig) -> Scratch:
    return scratch_run_folder("model")


def run(cfg: ModelConfig, run: Run) -> dict[str, Any]:
    """Print and return the figures, of all sizes by name if all are asked for."""
    told = {size: account(dit, cfg) for size, dit in _configs(cfg).items()}
    result = told if cfg.size == ALL else told[cfg.size]
    if cfg.json:
        print(dump_escaped_json(result, indent=2))
    else:
        print(as_table(told) if cfg.size == ALL else as_text(cfg.size, result))
    return result


def account(dit: DiTConfig, cfg: ModelConfig) -> dict[str, Any]:
    """The figures of one network, numbers only: counts, operations, bytes; `none`, `selective`, `full` is
    what is recomputed."""
    shape = (cfg.width, cfg.height, cfg.frames, cfg.stride_time, cfg.stride_space)
    tokens = cfg.tokens or video_tokens(dit, *shape)
    parts, forward = parameters(dit), forward_flops(dit, tokens, cfg.text_tokens)

    def memory(stage: int) -> dict[str, Any]:
        given = (Sharding(stage, cfg.workers), tokens, cfg.text_tokens, cfg.precision)
        held = {way: training_memory(dit, *given, way) for way in RECOMPUTE}
        by_way = {"activations": {way: one.activations for way, one in held.items()}}
        return (
            dataclasses.asdict(held["none"])
            | by_way
            | {"total": {way: one.total for way, one in held.items()}}
        )

    return {
        "config": dataclasses.asdict(dit) | {"head_dim": dit.head_dim, "ffn_width": dit.ffn_width},
        "video": dict(zip(("width", "height", "frames"), shape, strict=False))
        if cfg.tokens is None
        else None,
        "tokens": tokens,
        "text_tokens": cfg.text_tokens,
        "parameters": {"total": sum(parts.values()), "parts": parts},
        "flops": {
            "forward": {"total": sum(forward.values()), "parts": forward},
            "forward_per_token": sum(forward.values()) / tokens,
            "training": {way: training_flops(dit, tokens, cfg.text_tokens, way) for way in RECOMPUTE},
        },
        "workers": cfg.workers,
        "precision": cfg.precision,
        "training_bytes": {f"zero_{stage}": memory(stage) for stage in (1, 2, 3)},
        "checkpoint_bytes": checkpoint_bytes(dit),
        "generation_bytes": generation_bytes(dit, tokens),
    }


def _configs(cfg: ModelConfig) -> dict[str, DiTConfig]:
    return {size: dit_config(size, **cfg.model) for size in (DIT_SIZES if cfg.size == ALL else (cfg.size,))}
