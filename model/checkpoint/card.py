"""Model cards: the README.md of an exported folder, for people and for the Hugging Face hub.

In: facts of a training, as plain numbers and names. Out: the text of a README.md: YAML that a hub reads, then
Markdown. It says only what it was given. Equal facts give equal bytes, and no path of the machine is in them.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.config import DiTConfig, FlowConfig, SampleConfig, VAEConfig

FILE = "README.md"
_MOST_SHAPES = 6
_ONE_LINE = re.compile(r"[^\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What a network was trained on.

    windows: stretches of clips, by (frames, height, width). captions: kind → weight in the mix of texts; {}
    without text.
    """

    clips: int
    windows: Mapping[tuple[int, int, int], int]
    held_out_windows: int
    fps: float
    max_frames: int
    max_pixels: int
    captions: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LoraFacts:
    """The adapter that a network was fine-tuned with."""

    rank: int
    alpha: float
    parameters: int


@dataclass(frozen=True, slots=True)
class DiTFacts:
    """A whole pipeline: the DiT and what it works with. vae: its latent_channels, stride_time and
    stride_space. precision: of the training's matrix products, bf16 or fp32.
    """

    config: DiTConfig
    parameters: int
    steps: int
    data: DataFacts
    text_encoder: str
    vae: Mapping[str, Any]
    flow: FlowConfig
    sample: SampleConfig
    tasks: Mapping[str, float]
    precision: str
    fine_tuned: bool = False
    lora: LoraFacts | None = None


@dataclass(frozen=True, slots=True)
class VAEFacts:
    """A VAE. losses: what it was trained for → weight beside the absolute error."""

    config: VAEConfig
    parameters: int
    steps: int
    data: DataFacts
    losses: Mapping[str, float]
    precision: str


def dit_card(facts: DiTFacts, license: str = "other") -> str:
    """The card beside `pipeline.json`.

    Raises:
        ValueError: the license is empty or has line breaks.
    """
    cfg, vae, sample, flow = facts.config, facts.vae, facts.sample, facts.flow
    tags = ["text-to-video", "diffusion", "rectified-flow", "safetensors", *(["lora"] if facts.lora else [])]
    lora = facts.lora
    made = "fine-tuned from another checkpoint" if facts.fine_tuned else "trained from random weights"
    if lora:
        made += (
            f" through an adapter (LoRA, rank {lora.rank}, alpha {lora.alpha:g}, {lora.parameters:,} "
            "parameters)"
        )
    sections = [
        _front_matter(license, "text-to-video", tags),
        "# A text-to-video model",
        f"A diffusion transformer that makes video from text, {made} with Rushes: {facts.steps:,} optimiser "
        "steps. The weights are the moving average of the run. Everything that generation needs is in this "
        "folder, but for the text encoder.",
        "## How to use it",
        '    rushes generate checkpoint=<this folder> prompt="…" out=video.mp4',
        _adapter_use() if lora else "",
        "## The network",
        _table(
            ("parameters", f"{facts.parameters:,}"),
            ("width × depth × heads", f"{cfg.width} × {cfg.depth} × {cfg.heads}"),
            ("feed-forward", f"{cfg.ffn}, {cfg.ffn_width} wide"),
            ("patch", f"{_times(cfg.patch)} latents (time × height × width)"),
            (
                "VAE (`vae/`)",
                f"{vae['latent_channels']} channels; {vae['stride_time']} × {vae['stride_space']} × "
                f"{vae['stride_space']} pixels a latent (time × height × width)",
            ),
            ("text encoder", f"`{without_paths(facts.text_encoder)}`, {cfg.text_dim} channels"),
        ),
        "## What it was trained on",
        _data(facts.data),
        _numbers(facts.precision),
        _mix("Texts", facts.data.captions, "text of a sample is drawn among its clip's captions"),
        _mix("Tasks", facts.tasks, "what of its own video a sample is given"),
        "## How it samples",
        _table(
            ("flow", "rectified flow; times shifted by size and length"),
            ("shift", (
                f"{flow.alpha_low:g} at {flow.shift_tokens_low} tokens a frame to {flow.alpha_high:g} at "
                f"{flow.shift_tokens_high}, × latent frames ^ {flow.frames_power:g}, at most "
                f"{flow.alpha_max:g}"
            )),
            ("solver", f"{sample.solver}, {sample.steps} steps"),
            ("guidance", f"{sample.guidance:g}"),
        ),
        "## Limits",
        _list(
            f"It has seen windows of at most {facts.data.max_frames} frames at {facts.data.fps:g} a second "
            f"and of about {facts.data.max_pixels:,} pixels a frame. What is longer or larger is beyond its "
            "training.",
            "It can be expected to show only what its training clips show and their captions name; what is "
            "rare there it makes badly.",
            "Detail is bounded by the VAE: what that blurs, this blurs.",
            "Neither quality, bias nor safety of what it makes was judged for this card.",
        ),
    ]  # fmt: skip
    return _joined(sections)


def vae_card(facts: VAEFacts, license: str = "other") -> str:
    """The card beside a VAE's weights. Raises as `dit_card`."""
    cfg = facts.config
    sections = [
        _front_matter(license, None, ["video", "vae", "safetensors"]),
        "# A video VAE",
        f"A causal video compression network, trained with Rushes: {facts.steps:,} optimiser steps. The "
        "weights are the moving average of the run; mean and deviation of the latents travel with them.",
        "## How to use it",
        "    rushes encode dataset=<a dataset> vae=<this folder>",
        "## The network",
        _table(
            ("parameters", f"{facts.parameters:,}"),
            ("latents", f"{cfg.latent_channels} channels"),
            (
                "a latent",
                f"{cfg.stride_time} × {cfg.stride_space} × {cfg.stride_space} pixels (time × height × width)",
            ),
            ("frames", f"{cfg.stride_time}k + 1; one frame is an image"),
        ),
        "## What it was trained on",
        _data(facts.data),
        _numbers(facts.precision),
        _mix("Losses beside the absolute error", facts.losses, "with their weights"),
        "## Limits",
        _list(
            f"It was trained on frames of about {facts.data.max_pixels:,} pixels at most and on crops of "
            f"them, at {facts.data.fps:g} a second.",
            "Fine texture, small text and fast motion are what such a network loses first; measure with "
            "`rushes evaluate_vae`.",
        ),
    ]
    return _joined(sections)


def without_paths(name: str) -> str:
    """A text encoder's name, with the last part of a folder in place of where it lies on some machine."""
    return re.sub(r"(?<=[:/])[/~.][^+@]*/(?=[^/+@])", "", re.sub(r"/+(?=[+@]|$)", "", name))


def _front_matter(license: str, task: str | None, tags: Sequence[str]) -> str:
    if not _ONE_LINE.fullmatch(license) or not license.strip():
        raise ValueError(
            f"license={license!r} must be a name on one line, like apache-2.0; 'other' leaves it open"
        )
    lines = [f"license: {json.dumps(license, ensure_ascii=False)}", "library_name: rushes"]
    lines += [f"pipeline_tag: {task}"] if task else []
    return "\n".join(["---", *lines, "tags:", *(f"- {tag}" for tag in tags), "---"])


def _adapter_use() -> str:
    return (
        "`dit/` has the adapter merged in. `lora/` is the adapter alone, for the checkpoint that it was "
        "trained on, in as large a share as you like:\n\n"
        "    rushes generate checkpoint=<that checkpoint> lora=<this folder>/lora lora_scale=0.8 "
        'prompt="…" out=video.mp4'
    )


def _data(data: DataFacts) -> str:
    shapes = sorted(data.windows.items(), key=lambda shape: (-shape[1], shape[0]))
    shown = [f"{w} × {h} × {frames} frames: {count:,}" for (frames, h, w), count in shapes[:_MOST_SHAPES]]
    rest = sum(count for _, count in shapes[_MOST_SHAPES:])
    shown += [f"{len(shapes) - _MOST_SHAPES} other shapes: {rest:,}"] if rest else []
    return _table(
        ("clips", f"{data.clips:,}"),
        ("windows", f"{sum(data.windows.values()):,}, and {data.held_out_windows:,} held out"),
        ("shapes of windows", "; ".join(shown)),
        ("frame rate", f"{data.fps:g} a second"),
        ("longest window", f"{data.max_frames} frames, {data.max_frames / data.fps:.2f} s"),
        ("largest frame", f"about {data.max_pixels:,} pixels"),
    )


def _numbers(precision: str) -> str:
    return f"Matrix products were computed in {precision}, weights and moments kept in fp32."


def _mix(title: str, weights: Mapping[str, float], meaning: str) -> str:
    used = {
        name: weight for name, weight in sorted(weights.items(), key=lambda one: (-one[1], one[0])) if weight
    }
    return (
        f"{title} ({meaning}): {', '.join(f'{name} {weight:g}' for name, weight in used.items())}."
        if used
        else ""
    )


def _table(*rows: tuple[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _list(*lines: str) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _times(numbers: Sequence[int]) -> str:
    return " × ".join(str(number) for number in numbers)


def _joined(sections: Sequence[str]) -> str:
    return "\n\n".join(section for section in sections if section) + "\n"
