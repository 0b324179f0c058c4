"""What became of a dataset's footage: counts, reasons and seconds, for the console.

In: the tables of the newest manifest. Out: an `Account`, and lines that a person reads. Reasons are counted
by clip: a clip that is rejected for two of them is counted under both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from jobs.cli.formatting import format_count, format_duration
from pipelines.dataset.reader import Dataset
from pipelines.dataset.schema import KEPT, REJECTED

_COLUMNS = ("status", "reject_reasons", "duration_s")


@dataclass(frozen=True, slots=True)
class Account:
    """What is in the newest manifest of a dataset.

    Attributes:
        sources: by status: video, duplicate, ignored, quarantined.
        footage_s: length of all videos, each counted once.
        clips, seconds: by status, kept or rejected.
        reasons, reasons_s: rejected clips, and their seconds, by reason.
        quarantined_sources, quarantined_clips: by reason.
        lost_stretches: of sources that are videos all the same, by reason.
    """

    sources: Mapping[str, int]
    footage_s: float
    clips: Mapping[str, int]
    seconds: Mapping[str, float]
    reasons: Mapping[str, int]
    reasons_s: Mapping[str, float]
    quarantined_sources: Mapping[str, int]
    quarantined_clips: Mapping[str, int]
    lost_stretches: Mapping[str, int]

    @property
    def between_s(self) -> float:
        """Footage in no clip: transitions, what is lost, and clips in quarantine."""
        return max(0.0, self.footage_s - sum(self.seconds.values()))


def account_of(dataset: Dataset) -> Account:
    """Counted from the tables; of the index three columns are read."""
    sources: Counter[str] = Counter()
    footage_s = 0.0
    unread: set[str] = set()
    for batch in dataset.sources(["uri", "status", "duration_s"]):
        sources.update(batch["status"].to_pylist())
        footage_s += _seconds(batch, "video")
        unread.update(batch.filter(pc.equal(batch["status"], "quarantined"))["uri"].to_pylist())
    clips: Counter[str] = Counter()
    seconds = {KEPT: 0.0, REJECTED: 0.0}
    reasons: Counter[str] = Counter()
    reasons_s: defaultdict[str, float] = defaultdict(float)
    for batch in dataset.index(_COLUMNS):
        clips.update(batch["status"].to_pylist())
        for status in seconds:
            seconds[status] += _seconds(batch, status)
        for row in batch.filter(pc.equal(batch["status"], REJECTED)).to_pylist():
            for reason in row["reject_reasons"] or ():
                reasons[reason] += 1
                reasons_s[reason] += row["duration_s"]
    of_sources: Counter[str] = Counter()
    of_clips: Counter[str] = Counter()
    of_stretches: Counter[str] = Counter()
    for row in dataset.quarantine(["source_uri", "clip_id", "reason"]).rows():
        of_source = of_sources if row["source_uri"] in unread else of_stretches
        (of_source if row["clip_id"] is None else of_clips)[row["reason"]] += 1
    return Account(
        sources=sources,
        footage_s=footage_s,
        clips=clips,
        seconds=seconds,
        reasons=reasons,
        reasons_s=reasons_s,
        quarantined_sources=of_sources,
        quarantined_clips=of_clips,
        lost_stretches=of_stretches,
    )


def _seconds(batch: pa.RecordBatch, status: str) -> float:
    return pc.sum(batch.filter(pc.equal(batch["status"], status))["duration_s"]).as_py() or 0.0


def by_reason(reasons: Mapping[str, int]) -> str:
    """6 too short, 4 static, 1 dark: the most frequent first."""
    return ", ".join(f"{number:,} {in_words(reason)}" for reason, number in sort_by_count(reasons).items())


def sort_by_count(reasons: Mapping[str, int]) -> dict[str, int]:
    """The most frequent first, then by name."""
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))


def in_words(reason: str) -> str:
    """A reason of rejection or quarantine as a person says it: too_short → too short."""
    return _WORDS.get(reason, reason.replace("_", " "))


_WORDS = {
    "mismatched": "unlike its caption",
    "texty": "full of text",
    "unavailable": "without its source, which is not there now",
}


def lost_line(account: Account) -> str | None:
    """11 rejected: 6 too short, 4 static, 1 dark; 41 s of 156 s lost. None if no clip was rejected."""
    rejected = account.clips.get(REJECTED, 0)
    if not rejected:
        return None
    several = " (some for several reasons)" if sum(account.reasons.values()) > rejected else ""
    return (
        f"{rejected:,} rejected: {by_reason(account.reasons)}{several}; "
        f"{format_duration(account.seconds[REJECTED])} of {format_duration(account.footage_s)} lost"
    )


def quarantine_line(account: Account) -> str | None:
    """in quarantine: 2 sources (1 truncated, 1 unreadable), 1 clip (1 timed out). None if nothing is."""
    groups = (
        ("source", "sources", account.quarantined_sources),
        ("clip", "clips", account.quarantined_clips),
        ("stretch of a video", "stretches of videos", account.lost_stretches),
    )
    parts = [
        f"{format_count(sum(of.values()), one, many)} ({by_reason(of)})" for one, many, of in groups if of
    ]
    return f"in quarantine: {', '.join(parts)}" if parts else None
