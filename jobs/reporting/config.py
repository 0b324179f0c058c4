"""Config of the report job. Light."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ReportConfig:
    """One HTML page about a dataset, or about a whole run of the workflow."""

    dataset: str | None = field(default=None, metadata={"doc": "a dataset to report on", "path": True})
    run: str | None = field(
        default=None,
        metadata={"doc": "a workflow's folder (the out= of rushes run) to report on instead", "path": True},
    )
    footage: str | None = field(
        default=None,
        metadata={
            "doc": (
                "footage that rejected clips are shown from: a folder, file, glob, list or s3:// prefix; "
                "null: none is opened"
            ),
            "path": True,
        },
    )
    uri_column: str = field(default="uri", metadata={"doc": "column of a list that names the files"})
    out: str | None = field(
        default=None,
        metadata={"doc": "file to write; null: report.html in the dataset, or in the workflow's folder"},
    )
    clips: int = field(
        default=200,
        metadata={
            "doc": "most kept clips shown one by one, and as many rejected ones; "
            "charts and counts are of all",
            "min": 1,
        },
    )
