"""Settings of scores. Light."""

from dataclasses import dataclass, field


@dataclass
class ScoreConfig:
    """How measurements of a clip become labels, and which models measure. A score without its model is null,
    and says why."""

    camera_pan: float = field(
        default=0.02,
        metadata={
            "doc": "slowest pan or tilt that counts as one",
            "unit": "share of the frame diagonal per s",
            "min": 0,
        },
    )
    camera_zoom: float = field(
        default=0.02,
        metadata={"doc": "slowest zoom that counts as one", "unit": "share of the size per s", "min": 0},
    )
    camera_roll: float = field(
        default=0.05, metadata={"doc": "slowest roll that counts as one", "unit": "rad per s", "min": 0}
    )
    text: bool = field(default=True, metadata={"doc": "look for text in the picture (RapidOCR)"})
    text_side_px: int = field(
        default=736,
        metadata={
            "doc": (
                "longer side of the frames that text is looked for in; larger finds smaller text, and "
                "takes longer (1,280 × 720: 102 ms a frame at 736, 174 at 960)"
            ),
            "unit": "px",
            "min": 320,
            "max": 4096,
        },
    )
    nsfw: bool | None = field(
        default=None,
        metadata={
            "doc": "look for nudity (NudeNet, AGPL-3.0, the extra rushes[nsfw]); null: if it is installed"
        },
    )
    tags: bool = field(
        default=True,
        metadata={"doc": "ImageNet tags, and the embedding that finds look-alikes (EfficientNet)"},
    )
    clip_model: str | None = field(
        default=None,
        metadata={
            "doc": (
                "an open_clip model, for aesthetic, watermark and text_match: a name like ViT-B-32, or "
                "local-dir:<folder>"
            )
        },
    )
    clip_pretrained: str | None = field(
        default=None, metadata={"doc": "its weights: open_clip's tag like laion2b_s34b_b79k, or a file"}
    )
    clip_aesthetic: str | None = field(
        default=None,
        metadata={
            "doc": "file of a LAION aesthetic head (linear or MLP) on that model's embedding",
            "path": True,
        },
    )
    dover: str | None = field(
        default=None, metadata={"doc": "file of DOVER as ONNX, for the score technical", "path": True}
    )
