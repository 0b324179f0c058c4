"""Settings of `rushes clips` and `rushes export`. Light: read by `rushes --help`."""

from dataclasses import dataclass, field

from pipelines.cutting.config import ReencodeConfig
from pipelines.media.config import LimitConfig


@dataclass
class ClipsConfig:
    """Which clips of a dataset are listed, and how."""

    dataset: str = field(default="???", metadata={"doc": "the dataset", "path": True})
    status: str | None = field(
        default=None, metadata={"doc": "only clips that are this; null: all", "choices": ("kept", "rejected")}
    )
    reason: str | None = field(
        default=None, metadata={"doc": "only clips rejected for this, such as too_short"}
    )
    source: str | None = field(
        default=None,
        metadata={"doc": "only clips of files of this name, end of a path, or pattern such as '*walk*'"},
    )
    bucket: str | None = field(
        default=None,
        metadata={"doc": "only clips of this bucket, or of buckets of this pattern, such as '16x9_*'"},
    )
    clip: str | None = field(default=None, metadata={"doc": "only clips whose id begins so"})
    columns: str | None = field(
        default=None,
        metadata={
            "doc": "of the index, or patterns of them, with commas between; null: what tells a clip best"
        },
    )
    sort: str | None = field(
        default=None,
        metadata={"doc": "a column, upwards, or with - before it downwards; null: by source, then by time"},
    )
    limit: int | None = field(
        default=None, metadata={"doc": "at most so many; null: 50 in a table, all in csv and json", "min": 1}
    )
    format: str = field(
        default="table",
        metadata={"doc": "table for people, csv or json for programs", "choices": ("table", "csv", "json")},
    )


@dataclass
class ExportConfig:
    """Which clips of a dataset become files, and where."""

    dataset: str = field(default="???", metadata={"doc": "the dataset", "path": True})
    out: str = field(
        default="???",
        metadata={
            "doc": "the file to write, ending in .mp4, for one clip; or a folder, for any number",
            "path": True,
        },
    )
    clip: str | None = field(
        default=None, metadata={"doc": "the clip of this id, or clips whose id begins so"}
    )
    source: str | None = field(
        default=None,
        metadata={"doc": "only clips of files of this name, end of a path, or pattern such as '*walk*'"},
    )
    at_s: float | None = field(
        default=None, metadata={"doc": "with source: the clip that is shown at this time", "unit": "s"}
    )
    bucket: str | None = field(
        default=None,
        metadata={"doc": "only clips of this bucket, or of buckets of this pattern, such as '16x9_*'"},
    )
    sort: str | None = field(
        default=None, metadata={"doc": "with limit: a column, upwards, or with - before it downwards"}
    )
    limit: int | None = field(default=None, metadata={"doc": "at most so many; null: all", "min": 1})
    replace: bool = field(default=False, metadata={"doc": "write files anew that are there already"})
    verify: bool = field(
        default=True, metadata={"doc": "decode each file, and compare what it shows with the index"}
    )
    min_db: float = field(
        default=40.0,
        metadata={
            "doc": "PSNR of the worst frame of a clip that is encoded to take its lead away",
            "unit": "dB",
            "min": 0,
        },
    )
    encode: ReencodeConfig = field(
        default_factory=ReencodeConfig, metadata={"doc": "how such a clip is encoded"}
    )
    limits: LimitConfig = field(
        default_factory=LimitConfig, metadata={"doc": "what reading one clip may take before it is given up"}
    )
