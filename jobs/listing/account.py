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

from jobs.cli.text import count, length
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
    index = dataset.index(_COLUMNS)
    sources = dataset.sources().select(["uri", "status", "duration_s"])
    videos = sources.filter(pc.equal(sources["status"], "video"))
    reasons: Counter[str] = Counter()
    reasons_s: defaultdict[str, float] = defaultdict(float)
    for row in index.filter(pc.equal(index["status"], REJECTED)).to_pylist():
        for reason in row["reject_reasons"] or ():
            reasons[reason] += 1
            reasons_s[reason] += row["duration_s"]
    unread = {row["uri"] for row in sources.to_pylist() if row["status"] == "quarantined"}
    whole, clips, stretches = Counter(), Counter(), Counter()
    for row in dataset.quarantine().select(["source_uri", "clip_id", "reason"]).to_pylist():
        of_clip = row["clip_id"] is not None
        (clips if of_clip else whole if row["source_uri"] in unread else stretches)[row["reason"]] += 1
    return Account(
        sources=Counter(sources["status"].to_pylist()),
        footage_s=pc.sum(videos["duration_s"]).as_py() or 0.0,
        clips=Counter(index["status"].to_pylist()),
        seconds={status: _seconds(index, status) for status in (KEPT, REJECTED)},
        reasons=reasons,
        reasons_s=reasons_s,
        quarantined_sources=whole,
        quarantined_clips=clips,
        lost_stretches=stretches,
    )


def _seconds(index: pa.Table, status: str) -> float:
    return pc.sum(index.filter(pc.equal(index["status"], status))["duration_s"]).as_py() or 0.0


def by_reason(reasons: Mapping[str, int]) -> str:
    """6 too short, 4 static, 1 dark: the most frequent first."""
    return ", ".join(f"{number:,} {in_words(reason)}" for reason, number in most_first(reasons).items())


def most_first(reasons: Mapping[str, int]) -> dict[str, int]:
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
        f"{length(account.seconds[REJECTED])} of {length(account.footage_s)} lost"
    )


def quarantine_line(account: Account) -> str | None:
    """in quarantine: 2 sources (1 truncated, 1 unreadable), 1 clip (1 timed out). None if nothing is."""
    groups = (
        ("source", "sources", account.quarantined_sources),
        ("clip", "clips", account.quarantined_clips),
        ("stretch of a video", "stretches of videos", account.lost_stretches),
    )
    parts = [f"{count(sum(of.values()), one, many)} ({by_reason(of)})" for one, many, of in groups if of]
    return f"in quarantine: {', '.join(parts)}" if parts else None
