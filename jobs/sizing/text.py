"""The figures of `rushes model` for people: in GFLOP, TFLOP and GiB, rounded to what is worth reading.

In: what `jobs.model.account` makes. Out: lines of text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MEANING = {
    "weights": "weights, fp32",
    "gradients": "gradients, fp32",
    "masters": "the optimiser's weights, fp32",
    "moments": "Adam's two moments, fp32",
    "average": "moving average, fp32",
    "judged": "network that is looked at, fp32",
    "half": "copies of weights, bf16",
    "traffic": "room to send and gather",
}


def as_text(size: str, figures: Mapping[str, Any]) -> str:
    """One size: parameters by part, operations, memory."""
    cfg, counts, flops = figures["config"], figures["parameters"], figures["flops"]
    lines = [
        f"{size}: {counts['total']:,} parameters; width {cfg['width']}, depth {cfg['depth']}, heads "
        f"{cfg['heads']}, {cfg['ffn']} {cfg['ffn_width']} wide",
        "",
        *_parts("parameters", counts["parts"]),
        "",
        *_parts(f"operations of a forward pass over {_video(figures)}", flops["forward"]["parts"]),
        "",
        "operations                               a video           a token",
    ]
    named = {"forward": flops["forward"]["total"]}
    named |= {f"training, recompute {way}": total for way, total in flops["training"].items()}
    for name, total in named.items():
        lines.append(
            f"  {name:<30} {_rounded(total / 1e12):>9} TFLOP {_rounded(total / figures['tokens'] / 1e9):>9} "
            "GFLOP"
        )
    workers = "the one worker" if figures["workers"] == 1 else f"each of {figures['workers']} workers"
    lines += ["", f"memory of {workers} that trains on one such video at a time, {figures['precision']}, GiB"]
    lines += [f"  {'':<34} {'ZeRO 1':>9} {'ZeRO 2':>9} {'ZeRO 3':>9}"]
    stages = [figures["training_bytes"][f"zero_{stage}"] for stage in (1, 2, 3)]
    rows = [(meaning, [held[name] for held in stages]) for name, meaning in _MEANING.items()]
    for name, meaning in (("activations", "activations"), ("total", "together")):
        rows += [
            (f"{meaning}, recompute {way}", [held[name][way] for held in stages]) for way in flops["training"]
        ]
    lines += [
        f"  {meaning:<34} " + " ".join(f"{_gib(value):>9}" for value in values) for meaning, values in rows
    ]
    made = figures["generation_bytes"]
    return "\n".join(
        [
            *lines,
            "",
            f"a saved state has {_gib(figures['checkpoint_bytes'])} GiB, which worker 0 gathers in the "
            "machine's memory",
            f"to generate such a video: {_gib(sum(made.values()))} GiB = weights {_gib(made['weights'])} + "
            f"copies in bf16 {_gib(made['half'])} + activations {_gib(made['activations'])}; VAE and text "
            "encoder come on top",
        ]
    )


def as_table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """All sizes, a line each."""
    one = next(iter(figures.values()))
    titles = (
        "size",
        "parameters",
        "width",
        "depth",
        "heads",
        "ffn",
        "GFLOP/token",
        "TFLOP/step",
        "ZeRO 1",
        "ZeRO 2",
        "ZeRO 3",
        "generate",
    )
    rows = []
    for size, of in figures.items():
        cfg = of["config"]
        rows.append(
            (
                size,
                f"{of['parameters']['total']:,}",
                *(str(cfg[key]) for key in ("width", "depth", "heads", "ffn_width")),
                _rounded(of["flops"]["forward_per_token"] / 1e9),
                _rounded(of["flops"]["training"]["none"] / 1e12),
                *(_gib(of["training_bytes"][f"zero_{stage}"]["total"]["full"]) for stage in (1, 2, 3)),
                _gib(sum(of["generation_bytes"].values())),
            )
        )
    widths = [max(len(row[i]) for row in (titles, *rows)) for i in range(len(titles))]
    aligned = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in (titles, *rows)
    ]
    return "\n".join(
        [
            *aligned,
            "",
            f"counted for {_video(one)}. GFLOP/token: forward. TFLOP/step: forward and backward of that "
            f"video. ZeRO 1, 2, 3: GiB of each of {one['workers']} workers, {one['precision']}, recompute "
            "full. generate: GiB, without VAE and text encoder.",
            "One size in full: rushes model size=<name>",
        ]
    )


def _parts(title: str, parts: Mapping[str, int]) -> list[str]:
    total = sum(parts.values())
    return [
        title,
        *(f"  {name:<24} {count:>22,} {100 * count / total:>6.1f} %" for name, count in parts.items()),
    ]


def _video(told: Mapping[str, Any]) -> str:
    video = told["video"]
    shown = f"{video['width']} × {video['height']}, {video['frames']} frames: " if video else "a video: "
    return f"{shown}{told['tokens']:,} tokens, {told['text_tokens']:,} text tokens"


def _gib(num_bytes: int) -> str:
    return _rounded(num_bytes / 2**30)


def _rounded(value: float) -> str:
    """Three digits that count, and never an exponent."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
