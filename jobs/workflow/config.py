"""Config of the workflow: one config per job, wired together. Light."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobs.config import RayConfig
from jobs.curation.config import CurateConfig
from jobs.encoding.config import EncodeConfig
from jobs.generation.config import EvaluateConfig
from jobs.reporting.config import ReportConfig
from jobs.training.config import TrainConfig, TrainVaeConfig
from pipelines.batches.config import ShapeConfig, WindowConfig

WIRED = "(set by the workflow)"


def _shared(name: str) -> Any:
    """A part of a job's config that is the workflow's own: OmegaConf's reference to it."""
    return "${" + name + "}"


def _curate() -> CurateConfig:
    return CurateConfig(footage=WIRED, dataset=WIRED, ray=_shared("ray"))


def _train_vae() -> TrainVaeConfig:
    return TrainVaeConfig(
        dataset=WIRED, out=WIRED, shapes=_shared("shapes"), windows=_shared("windows"), ray=_shared("ray")
    )


def _encode() -> EncodeConfig:
    return EncodeConfig(
        dataset=WIRED, vae=WIRED, shapes=_shared("shapes"), windows=_shared("windows"), ray=_shared("ray")
    )


def _train() -> TrainConfig:
    return TrainConfig(dataset=WIRED, out=WIRED, latents=WIRED, ray=_shared("ray"))


@dataclass
class RunConfig:
    """Footage to videos. The jobs share one Ray, one set of shapes, and one split into trained and held-out time."""

    footage: str = field(
        default="???", metadata={"doc": "footage: a folder, file, glob, or list (.txt .csv .parquet)", "path": True}
    )
    out: str = field(
        default="???", metadata={"doc": "folder for everything that is made; run again to go on", "path": True}
    )
    ray: RayConfig = field(default_factory=RayConfig)
    shapes: ShapeConfig = field(default_factory=ShapeConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    curate: CurateConfig = field(default_factory=_curate)
    train_vae: TrainVaeConfig = field(default_factory=_train_vae)
    encode: EncodeConfig = field(default_factory=_encode)
    train: TrainConfig = field(default_factory=_train)
    evaluate: EvaluateConfig = field(default_factory=lambda: EvaluateConfig(checkpoint=WIRED, dataset=WIRED, out=WIRED))
    report: ReportConfig = field(default_factory=lambda: ReportConfig(dataset=None, run=WIRED))
