"""Config of the workflow: one config per job, wired together. Light."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobs.config import RayConfig
from jobs.curation.config import CurateConfig
from jobs.encoding.config import EncodeConfig
from jobs.generation.config import EvaluateConfig
from jobs.reporting.config import ReportConfig
from jobs.training.config import TrainConfig, TrainVaeConfig
from pipelines.batches.config import ShapeConfig, WindowConfig

WIRED = "(set by the workflow)"


@dataclass
class RunConfig:
    """Footage to videos."""

    footage: str = field(default="???", metadata={"doc": "footage: a folder, file, glob, or list (.txt .csv .parquet)"})
    out: str = field(default="???", metadata={"doc": "folder for everything that is made; run again to go on"})
    ray: RayConfig = field(default_factory=RayConfig)
    shapes: ShapeConfig = field(default_factory=ShapeConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    curate: CurateConfig = field(default_factory=lambda: CurateConfig(footage=WIRED, dataset=WIRED))
    train_vae: TrainVaeConfig = field(default_factory=lambda: TrainVaeConfig(dataset=WIRED, out=WIRED))
    encode: EncodeConfig = field(default_factory=lambda: EncodeConfig(dataset=WIRED, vae=WIRED))
    train: TrainConfig = field(default_factory=lambda: TrainConfig(dataset=WIRED, out=WIRED, latents=WIRED))
    evaluate: EvaluateConfig = field(default_factory=lambda: EvaluateConfig(checkpoint=WIRED, dataset=WIRED, out=WIRED))
    report: ReportConfig = field(default_factory=lambda: ReportConfig(dataset=None, run=WIRED))
