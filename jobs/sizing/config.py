"""Config of `rushes model`. Light."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from model.config import DIT_SIZES

ALL = "all"


@dataclass
class ModelConfig:
    """What a diffusion transformer costs."""

    size: str = field(
        default=ALL,
        metadata={"doc": "named size of the network; all is a table of them", "choices": (ALL, *DIT_SIZES)},
    )
    model: dict[str, Any] = field(
        default_factory=dict,
        metadata={"doc": "changes to the size, as train takes them, such as model.ffn=swiglu"},
    )
    width: int = field(
        default=832, metadata={"doc": "of the video that is counted for", "unit": "pixels", "min": 1}
    )
    height: int = field(
        default=480, metadata={"doc": "of the video that is counted for", "unit": "pixels", "min": 1}
    )
    frames: int = field(
        default=81, metadata={"doc": "of the video that is counted for", "unit": "frames", "min": 1}
    )
    stride_time: int = field(default=4, metadata={"doc": "frames per latent frame of the VAE", "min": 1})
    stride_space: int = field(default=8, metadata={"doc": "pixels per latent of the VAE, each way", "min": 1})
    tokens: int | None = field(
        default=None,
        metadata={"doc": "video tokens, in place of what width, height and frames make", "min": 1},
    )
    text_tokens: int = field(default=256, metadata={"doc": "text tokens that come with the video", "min": 1})
    workers: int = field(default=8, metadata={"doc": "workers that train together", "min": 1})
    precision: str = field(
        default="bf16", metadata={"doc": "of matrix products in training", "choices": ("bf16", "fp32")}
    )
    json: bool = field(default=False, metadata={"doc": "JSON for programs, in place of text for people"})
