"""The clip under decision, in three records, of which a later stage makes a later one: `Candidate` →
`DecidedClip` → `PlacedClip`.

In: rows of measurements, and rows of the index. Out: rows of the index, and what the workers that caption and
cut are told of a clip.
"""

from dataclasses import dataclass, field
from typing import Any

from pipelines.dataset.schema import CAPTIONS, CUTS, INDEX, KEPT, REJECTED, Row
from pipelines.dedup.choose_copies import Duplicate
from pipelines.scores.registry import CAPTION_SCORES

"""Values by column."""

TEXT_COLUMNS = tuple(name for name in CAPTIONS.names if name in INDEX.names and name != "clip_id")
"""Columns that a captioner fills."""
LOCATION_COLUMNS = tuple(
    name for name in CUTS.names if name in INDEX.names and name not in ("clip_id", "bucket")
)
"""Columns that tell where a clip's bytes lie, and how they were cut."""
_DECISION = ("status", "reject_reasons", "duplicate_of", "duplicate_kind", "duplicate_similarity", "bucket")
MEASURED_COLUMNS = tuple(
    name for name in INDEX.names if name not in {*TEXT_COLUMNS, *LOCATION_COLUMNS, *_DECISION}
)
"""All other columns: what a clip is, and its scores. Those of `CAPTION_SCORES` belong to the text that the
dataset has."""


@dataclass(frozen=True, slots=True)
class ClipLocation:
    """Where a clip's bytes lie: columns of `LOCATION_COLUMNS`, and the bucket of the shard."""

    columns: Row
    bucket: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A clip that was measured, before anything is decided.

    Attributes:
        measured: columns of `MEASURED_COLUMNS`, as far as they are known.
        stored: where its bytes lie in the newest manifest, or in a shard that was written just now.
        carried: this run says nothing of it: it comes from the newest manifest alone.
        text: columns of `TEXT_COLUMNS` that the dataset has of it, if it is carried and has a caption.
    """

    measured: Row
    stored: ClipLocation | None = None
    carried: bool = False
    text: Row | None = None

    @property
    def clip_id(self) -> str:
        return self.measured["clip_id"]

    @property
    def source_uri(self) -> str:
        return self.measured["source_uri"]


@dataclass(frozen=True, slots=True)
class DecidedClip:
    """A candidate with its decision: reject reasons, duplicate, text and scores that depend on the caption.

    Attributes:
        reasons: against it; it is kept if there are none.
        bucket: where it lies, or would.
        copy: the better copy that is kept instead.
        text: columns of `TEXT_COLUMNS`; empty of what has no caption.
        matches: columns of `CAPTION_SCORES`, the scores that depend on the caption.
        gaps: scores that are null, and why.
    """

    candidate: Candidate
    reasons: tuple[str, ...]
    bucket: str
    copy: Duplicate | None = None
    text: Row = field(default_factory=dict)
    matches: Row = field(default_factory=dict)
    gaps: tuple[Row, ...] = ()

    @property
    def clip_id(self) -> str:
        return self.candidate.clip_id

    @property
    def kept(self) -> bool:
        return not self.reasons

    def row(self) -> dict[str, Any]:
        """The columns of the index but those of `LOCATION_COLUMNS`."""
        copy = self.copy
        return {
            **self.candidate.measured,
            **{name: self.text.get(name) for name in TEXT_COLUMNS},
            **{name: self.matches.get(name) for name in CAPTION_SCORES},
            "score_gaps": list(self.gaps),
            "status": KEPT if self.kept else REJECTED,
            "reject_reasons": list(self.reasons),
            "bucket": self.bucket,
            "duplicate_of": copy and copy.kept_clip_id,
            "duplicate_kind": copy and copy.kind,
            "duplicate_similarity": copy and copy.similarity,
        }

    def write_request(self, as_listed: tuple[int, str] | None = None) -> dict[str, Any]:
        """The JSON request to the shard writer: all columns of the index, the bucket of its current shard
        (`old_bucket`), whether it is `carried`, and its source's (size, ETag) (`as_listed`).
        """
        stored = self.candidate.stored
        columns: Row = stored.columns if stored else {}
        return {
            **self.row(),
            **{name: columns.get(name) for name in LOCATION_COLUMNS},
            "old_bucket": stored and stored.bucket,
            "carried": self.candidate.carried,
            "as_listed": as_listed,
        }


@dataclass(frozen=True, slots=True)
class PlacedClip:
    """A clip that was decided, and where it lies: nowhere, if it is not kept."""

    decided: DecidedClip
    stored: Row = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        return self.decided.kept

    def row(self) -> dict[str, Any]:
        """The row of the index."""
        known = self.decided.row() | {name: self.stored.get(name) for name in LOCATION_COLUMNS}
        return {name: known[name] for name in INDEX.names}


def candidate_from_index(row: Row) -> Candidate:
    """The candidate of a row of the newest manifest."""
    has_text = row.get("caption_short") is not None
    return Candidate(
        {name: row[name] for name in MEASURED_COLUMNS if name in row},
        location_from_index(row),
        carried=True,
        text={name: row.get(name) for name in TEXT_COLUMNS} if has_text else None,
    )


def location_from_index(row: Row) -> ClipLocation | None:
    """Where a row of the index says that its clip lies; None if in no shard."""
    if not row.get("shard"):
        return None
    return ClipLocation({name: row.get(name) for name in LOCATION_COLUMNS}, row["bucket"])
