"""Config of generation and of its evaluation. Light."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.precision import AUTO, CHOICES, DOC


@dataclass
class GenerateConfig:
    """A sentence to a video."""

    checkpoint: str = field(
        default="???",
        metadata={"doc": "a trained model: the out= of train, or its export folder", "path": True},
    )
    prompt: str = field(
        default="???",
        metadata={"doc": "what the video shows; empty for a video of nothing in particular", "words": True},
    )
    out: str = field(default="???", metadata={"doc": "file to write, .mp4", "path": True})
    lora: str | None = field(
        default=None,
        metadata={
            "doc": "an adapter for the checkpoint: the out= of a train with lora.rank=, or its export/lora",
            "path": True,
        },
    )
    lora_scale: float = field(default=1.0, metadata={"doc": "how much of the adapter; 1 as trained, 0 none"})
    width: int | None = field(
        default=None,
        metadata={
            "doc": "null: 16:9 at the size the model was trained on",
            "unit": "pixels",
            "min": 16,
            "max": 8192,
        },
    )
    height: int | None = field(
        default=None,
        metadata={
            "doc": "null: 16:9 at the size the model was trained on",
            "unit": "pixels",
            "min": 16,
            "max": 8192,
        },
    )
    duration_s: float | None = field(
        default=None,
        metadata={
            "doc": "null: the longest window the model was trained on; 0 makes one frame",
            "unit": "s",
            "min": 0,
        },
    )
    fps: float | None = field(
        default=None, metadata={"doc": "null: as the model was trained", "unit": "frames/s", "min": 0.1}
    )
    seed: int = field(default=0, metadata={"doc": "another seed, another video", "min": 0, "max": 2**63 - 1})
    steps: int | None = field(
        default=None, metadata={"doc": "solver steps; null: as the checkpoint says", "min": 1}
    )
    guidance: float | None = field(
        default=None,
        metadata={"doc": "weight of the text, 1 is none; null: as the checkpoint says", "min": 0},
    )
    text_encoder: str | None = field(
        default=None,
        metadata={
            "doc": (
                "the checkpoint's text encoder, or where it is on this machine; null: as the checkpoint "
                "calls it, if that is embedded, in its own folder, or here already"
            )
        },
    )
    precision: str = field(default=AUTO, metadata={"doc": DOC, "choices": CHOICES})
    gpu: bool = field(default=False, metadata={"doc": "use a GPU"})


@dataclass
class EvaluateConfig:
    """A dataset's own captions to videos, and how near they are to the clips that the captions came from."""

    checkpoint: str = field(
        default="???",
        metadata={"doc": "a trained model: the out= of train, or its export folder", "path": True},
    )
    dataset: str = field(default="???", metadata={"doc": "whose captions are the prompts", "path": True})
    out: str = field(default="???", metadata={"doc": "folder for the videos and metrics.json", "path": True})
    seeds: int = field(default=4, metadata={"doc": "videos per caption", "min": 1})
    clips: int | None = field(
        default=64, metadata={"doc": "most clips whose captions are used; null: all", "min": 1}
    )
    steps: int | None = field(
        default=None, metadata={"doc": "solver steps; null: as the checkpoint says", "min": 1}
    )
    guidance: float | None = field(
        default=None,
        metadata={"doc": "weight of the text, 1 is none; null: as the checkpoint says", "min": 0},
    )
    text_encoder: str | None = field(
        default=None,
        metadata={
            "doc": (
                "the checkpoint's text encoder, or where it is on this machine; null: as the checkpoint "
                "calls it, if that is embedded, in its own folder, or here already"
            )
        },
    )
    precision: str = field(default=AUTO, metadata={"doc": DOC, "choices": CHOICES})
    gpu: bool = field(default=False, metadata={"doc": "use a GPU"})
