"""Config of the encode job. Light."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobs.cluster.config import RayConfig
from pipelines.batches.config import PieceConfig, ShapeConfig, WindowConfig
from pipelines.precision import AUTO, CHOICES, DOC


@dataclass
class EncodeConfig:
    """Latents and text embeddings, computed once."""

    dataset: str = field(default="???", metadata={"doc": "the dataset to encode", "path": True})
    vae: str = field(
        default="???",
        metadata={
            "doc": (
                "a trained VAE: the out= of train_vae, its export/vae folder, or a Wan or CogVideoX VAE of "
                "diffusers"
            ),
            "path": True,
        },
    )
    text_encoder: str = field(
        default="minilm",
        metadata={
            "doc": "minilm, or t5: umt5: hf: clip: with a model, @ with options; several joined with +"
        },
    )
    shapes: ShapeConfig = field(default_factory=ShapeConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    pieces: PieceConfig = field(default_factory=PieceConfig)
    workers: int = field(
        default=1, metadata={"doc": "encoders side by side, a CPU (and a GPU if gpu=true) each", "min": 1}
    )
    precision: str = field(default=AUTO, metadata={"doc": f"{DOC}; of the VAE", "choices": CHOICES})
    gpu: bool = field(default=False, metadata={"doc": "a GPU for each encoder"})
    ray: RayConfig = field(default_factory=RayConfig)
