"""Settings of curation and of what decides again. Light: read by `rushes --help`.

What enters a stage's fingerprint is the config of that stage, so a key belongs to the first stage that it
changes.
"""

from dataclasses import dataclass, field

from jobs.cluster.config import RayConfig
from pipelines.cutting.config import CutConfig, ReencodeConfig
from pipelines.dataset.config import ShardConfig
from pipelines.dedup.config import DedupConfig
from pipelines.measure.config import SignalConfig
from pipelines.media.config import FootageConfig, LimitConfig
from pipelines.precision import AUTO, CHOICES, DOC
from pipelines.recipes.config import RecipeConfig
from pipelines.scores.config import ScoreConfig
from pipelines.shots.config import ClipConfig, ShotConfig
from recaption.config import CaptionConfig

_FOOTAGE = (
    "where the sources are, if this user has not curated them on this machine: only what was given is opened"
)


@dataclass
class CurateConfig:
    """Footage → dataset."""

    footage: str = field(
        default="???",
        metadata={
            "doc": (
                "a folder, file, glob, or list (.txt .csv .tsv .jsonl .parquet with uri, text, license, "
                "dataset)"
            ),
            "path": True,
        },
    )
    dataset: str = field(
        default="???",
        metadata={"doc": "where the dataset is, or is to be; footage is added to it", "path": True},
    )
    precision: str = field(
        default=AUTO,
        metadata={
            "doc": f"{DOC}; of the networks that look at frames. A dataset keeps what it began with",
            "choices": CHOICES,
        },
    )
    uri_column: str = field(default="uri", metadata={"doc": "column of a list that names the files"})
    limit: int | None = field(
        default=None,
        metadata={"doc": "take only the first so many sources, in the order of their URIs", "min": 1},
    )
    footage_options: FootageConfig = field(
        default_factory=FootageConfig, metadata={"doc": "which footage is taken at all"}
    )
    limits: LimitConfig = field(
        default_factory=LimitConfig, metadata={"doc": "what decoding one file may take before it is given up"}
    )
    unit_s: float = field(
        default=30.0,  # each decodes some seconds more on either side; an interrupted run loses those at work
        metadata={
            "doc": "longer videos are measured in parallel, in pieces of this length",
            "unit": "s",
            "min": 0.5,
        },
    )
    signals: SignalConfig = field(
        default_factory=SignalConfig, metadata={"doc": "what is measured on every frame"}
    )
    shots: ShotConfig = field(default_factory=ShotConfig, metadata={"doc": "how transitions are found"})
    clips: ClipConfig = field(default_factory=ClipConfig, metadata={"doc": "how shots become clips"})
    scores: ScoreConfig = field(
        default_factory=ScoreConfig, metadata={"doc": "how measurements become labels"}
    )
    recipe: RecipeConfig = field(default_factory=RecipeConfig, metadata={"doc": "what is kept"})
    dedup: DedupConfig = field(
        default_factory=DedupConfig, metadata={"doc": "which clips are copies of others"}
    )
    captioner: CaptionConfig = field(
        default_factory=CaptionConfig, metadata={"doc": "who writes the training text"}
    )
    cut: CutConfig = field(
        default_factory=CutConfig, metadata={"doc": "how a clip's file is made from its source"}
    )
    encode: ReencodeConfig = field(
        default_factory=ReencodeConfig, metadata={"doc": "how clips are written that can't be copied"}
    )
    shards: ShardConfig = field(default_factory=ShardConfig, metadata={"doc": "how clips are packed"})
    ray: RayConfig = field(default_factory=RayConfig, metadata={"doc": "where it runs"})


NO_SETTINGS = ("footage", "dataset", "uri_column", "limit", "unit_s", "recipe", "ray")
"""What of a curation's configuration is no setting of its dataset: a manifest doesn't hold it, and if one
does, it isn't used."""


@dataclass
class UserModels:
    """Models that the dataset was curated with, given again: of what a dataset names no folder is opened and
    no model loaded, since a dataset may be anybody's. The message that asks for them shows what to give.
    """

    clip_model: str | None = field(
        default=None, metadata={"doc": "the dataset's scores.clip_model, if it has one"}
    )
    clip_pretrained: str | None = field(
        default=None, metadata={"doc": "the dataset's scores.clip_pretrained, if it has one"}
    )
    clip_aesthetic: str | None = field(
        default=None, metadata={"doc": "the dataset's scores.clip_aesthetic, if it has one", "path": True}
    )
    dover: str | None = field(
        default=None, metadata={"doc": "the dataset's scores.dover, if it has one", "path": True}
    )


@dataclass
class SelectConfig:
    """Deciding again over what a dataset has."""

    dataset: str = field(default="???", metadata={"doc": "the dataset", "path": True})
    recipe: RecipeConfig = field(
        default_factory=lambda: RecipeConfig(name="current"), metadata={"doc": "what is kept from now on"}
    )
    footage: str | None = field(default=None, metadata={"doc": _FOOTAGE, "path": True})
    uri_column: str = field(default="uri", metadata={"doc": "column of a list that names the files"})
    scores: UserModels = field(
        default_factory=UserModels, metadata={"doc": "models that the dataset was curated with, given again"}
    )
    ray: RayConfig = field(
        default_factory=RayConfig, metadata={"doc": "where newly kept clips are captioned and cut"}
    )


@dataclass
class OtherLimits:
    """Limits that were too low; null leaves one as the dataset was curated."""

    deadline_s: float | None = field(
        default=None, metadata={"doc": "time that any look at a file may take", "unit": "s", "min": 1}
    )
    deadline_per_s: float | None = field(
        default=None,
        metadata={"doc": "further time for every second of footage it decodes", "unit": "s per s", "min": 0},
    )
    memory_bytes: int | None = field(
        default=None,
        metadata={"doc": "memory beyond what the libraries take", "unit": "bytes", "min": 64 * 1024**2},
    )


@dataclass
class RequeueConfig:
    """Trying again what is in quarantine."""

    dataset: str = field(default="???", metadata={"doc": "the dataset", "path": True})
    reasons: list[str] = field(
        default_factory=list,
        metadata={"doc": "only what failed for one of these reasons, e.g. [timed_out,crashed]"},
    )
    sources: str = field(default="*", metadata={"doc": "only sources whose URI matches this pattern"})
    footage: str | None = field(default=None, metadata={"doc": _FOOTAGE, "path": True})
    uri_column: str = field(default="uri", metadata={"doc": "column of a list that names the files"})
    limits: OtherLimits = field(
        default_factory=OtherLimits, metadata={"doc": "what decoding one file may take from now on"}
    )
    scores: UserModels = field(
        default_factory=UserModels, metadata={"doc": "models that the dataset was curated with, given again"}
    )
    ray: RayConfig = field(default_factory=RayConfig, metadata={"doc": "where it runs"})


@dataclass
class PassportConfig:
    """All that is known of one clip."""

    dataset: str = field(default="???", metadata={"doc": "the dataset", "path": True})
    clip: str | None = field(default=None, metadata={"doc": "its clip_id, or the beginning of it"})
    source: str | None = field(
        default=None,
        metadata={"doc": "instead of clip: a file of the footage, by its name or the end of its path"},
    )
    at_s: float | None = field(
        default=None,
        metadata={"doc": "with source: a time in it, as start_s and end_s count it", "unit": "s"},
    )
    format: str = field(
        default="text", metadata={"doc": "text for people, json for programs", "choices": ("text", "json")}
    )


@dataclass
class InspectConfig:
    """What a dataset holds."""

    dataset: str = field(default="???", metadata={"doc": "the dataset", "path": True})
    format: str = field(
        default="text", metadata={"doc": "text for people, json for programs", "choices": ("text", "json")}
    )
