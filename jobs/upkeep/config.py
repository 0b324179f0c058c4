"""Settings of `rushes verify` and `rushes clean`. Light: read by `rushes --help`."""

from dataclasses import dataclass, field

from jobs.cluster.config import RayConfig
from jobs.curation.config import UserModels


@dataclass
class VerifyConfig:
    """Whether a dataset is what its newest manifest says."""

    dataset: str = field(default="???", metadata={"doc": "the dataset", "path": True})
    decode: bool = field(
        default=True, metadata={"doc": "decode kept clips and compare what they show with the index"}
    )
    sample: float = field(
        default=1.0,
        metadata={"doc": "share of the kept clips that is decoded, always the same ones", "min": 0, "max": 1},
    )
    ray: RayConfig = field(default_factory=RayConfig, metadata={"doc": "where it runs"})


@dataclass
class CleanConfig:
    """What a dataset's manifests don't name."""

    dataset: str = field(default="???", metadata={"doc": "the dataset", "path": True})
    remove: bool = field(default=False, metadata={"doc": "remove it; else it is only listed"})
    old_manifests: bool = field(
        default=False, metadata={"doc": "also all manifests but the newest, and what only they name"}
    )
    stages: bool = field(
        default=False,
        metadata={"doc": "also finished work that the settings of the newest manifest don't use"},
    )
    scores: UserModels = field(
        default_factory=UserModels,
        metadata={"doc": "with stages: models that the dataset was curated with, given again"},
    )
    min_age_h: float = field(
        default=24.0,
        metadata={
            "doc": "nothing younger is touched: a run at work writes what a manifest will name only later",
            "unit": "h",
            "min": 0,
        },
    )
