"""One small picture of a clip, for clips that are shown beside others.

In: short rows of the index. Out: pictures as data URIs with what became of the clip; each is decoded once,
however often it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from jobs.cli.formatting import format_timestamp, format_words
from jobs.reporting.drawing.media import jpeg_uri
from jobs.reporting.drawing.pictures import Pictures

_HEIGHT = 84


@dataclass(frozen=True, slots=True)
class Thumb:
    """A clip at a glance; no picture where its footage is not at hand."""

    clip_id: str
    source: str
    span: str
    status: str
    reasons: str
    picture: str | None


class Thumbs:
    """Clips at a glance, each made once."""

    def __init__(self, pictures: Pictures):
        self._pictures = pictures
        self._made: dict[str, Thumb] = {}

    def get(self, row: Mapping[str, Any]) -> Thumb:
        """The middle of a clip."""
        if row["clip_id"] not in self._made:
            self._made[row["clip_id"]] = self._make(row)
        return self._made[row["clip_id"]]

    def _make(self, row: Mapping[str, Any]) -> Thumb:
        frames = self._pictures.get(row, 1, _HEIGHT)
        return Thumb(
            row["clip_id"],
            PurePosixPath(row["source_uri"]).name,
            f"{format_timestamp(row['start_s'])}–{format_timestamp(row['end_s'])}",
            row["status"],
            format_words(row["reject_reasons"] or ()),
            None if frames is None else jpeg_uri(frames[0]),
        )
