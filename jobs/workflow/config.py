"""Config of the workflow: one config per job, wired together. Light."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from jobs.cluster.config import RayConfig
from jobs.curation.config import CurateConfig
from jobs.encoding.config import EncodeConfig
from jobs.generation.config import EvaluateConfig
from jobs.reporting.config import ReportConfig
from jobs.training.config import TrainConfig, TrainVaeConfig
from pipelines.batches.config import ShapeConfig, WindowConfig
from pipelines.precision import AUTO, CHOICES, DOC

WIRED = "(set by the workflow)"


@dataclass
class RunConfig:
    """Footage to videos. The jobs share one Ray, one precision, one set of shapes, and one split into trained
    and held-out time.

    What a job's field is `wired` to is the workflow's own value of the same name, and no key of the job's.
    """

    footage: str = field(
        default="???",
        metadata={"doc": "footage: a folder, file, glob, or list (.txt .csv .parquet)", "path": True},
    )
    out: str = field(
        default="???",
        metadata={"doc": "folder for everything that is made; run again to go on", "path": True},
    )
    precision: str = field(default=AUTO, metadata={"doc": DOC, "choices": CHOICES})
    ray: RayConfig = field(default_factory=RayConfig)
    shapes: ShapeConfig = field(default_factory=ShapeConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    curate: CurateConfig = field(
        default_factory=lambda: CurateConfig(footage=WIRED, dataset=WIRED),
        metadata={"wired": ("precision", "ray")},
    )
    train_vae: TrainVaeConfig = field(
        default_factory=lambda: TrainVaeConfig(dataset=WIRED, out=WIRED),
        metadata={"wired": ("precision", "ray", "shapes", "windows")},
    )
    encode: EncodeConfig = field(
        default_factory=lambda: EncodeConfig(dataset=WIRED, vae=WIRED),
        metadata={"wired": ("precision", "ray", "shapes", "windows")},
    )
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(dataset=WIRED, out=WIRED, latents=WIRED),
        metadata={"wired": ("precision", "ray")},
    )
    evaluate: EvaluateConfig = field(
        default_factory=lambda: EvaluateConfig(checkpoint=WIRED, dataset=WIRED, out=WIRED),
        metadata={"wired": ("precision",)},
    )
    report: ReportConfig = field(
        default_factory=lambda: ReportConfig(dataset=None, run=WIRED, uri_column=WIRED),
        metadata={"wired": ("footage",)},
    )

    def __post_init__(self) -> None:
        for part in fields(self):
            for name in part.metadata.get("wired", ()):
                setattr(getattr(self, part.name), name, getattr(self, name))
