"""Config of the VAE's evaluation. Light."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobs.training.exports import PERCEPTUAL
from pipelines.batches.config import ShapeConfig, WindowConfig
from pipelines.precision import AUTO, CHOICES, DOC


@dataclass
class EvaluateVaeConfig:
    """Held-out clips through the VAE and back, measured and shown beside the originals."""

    checkpoint: str = field(
        default="???",
        metadata={"doc": "a trained VAE: the out= of train_vae, or its export/vae folder", "path": True},
    )
    dataset: str = field(default="???", metadata={"doc": "whose held-out clips are measured", "path": True})
    out: str = field(default="???", metadata={"doc": "folder for metrics.json and index.html", "path": True})
    perceptual: str = field(
        default="efficientnet",
        metadata={"doc": "which perceptual distance is measured", "choices": PERCEPTUAL},
    )
    perceptual_weights: str | None = field(
        default=None,
        metadata={"doc": "file with the weights of lpips; efficientnet brings its own along", "path": True},
    )
    shapes: ShapeConfig = field(default_factory=ShapeConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    clips: int | None = field(
        default=None,
        metadata={"doc": "most clips measured of each shape, spread evenly; null: all", "min": 1},
    )
    shown: int = field(default=4, metadata={"doc": "most clips of each shape on the page", "min": 1})
    precision: str = field(default=AUTO, metadata={"doc": f"{DOC}; of the VAE", "choices": CHOICES})
    gpu: bool = field(default=False, metadata={"doc": "use a GPU"})
