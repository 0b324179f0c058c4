"""Settings of `rushes clips`. Light: read by `rushes --help`."""

from dataclasses import dataclass, field


@dataclass
class ClipsConfig:
    """Which clips of a dataset are listed, and how."""

    dataset: str = field(default="???", metadata={"doc": "the dataset", "path": True})
    status: str | None = field(
        default=None, metadata={"doc": "only clips that are this; null: all", "choices": ("kept", "rejected")}
    )
    reason: str | None = field(default=None, metadata={"doc": "only clips rejected for this, such as too_short"})
    source: str | None = field(
        default=None, metadata={"doc": "only clips of files of this name, end of a path, or pattern such as '*walk*'"}
    )
    bucket: str | None = field(
        default=None, metadata={"doc": "only clips of this bucket, or of buckets of this pattern, such as '16x9_*'"}
    )
    clip: str | None = field(default=None, metadata={"doc": "only clips whose id begins so"})
    columns: str | None = field(
        default=None,
        metadata={"doc": "of the index, or patterns of them, with commas between; null: what tells a clip best"},
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
