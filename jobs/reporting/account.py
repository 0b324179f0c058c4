"""The books: what came in and where it went, how the kept clips are stored, and what could not be processed.

In: the tables and the manifest of a dataset, the ledger of its newest curation. Out: two accounts whose sides
add up, buckets, shards, lists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from jobs.cli.formatting import format_bytes, format_duration
from pipelines.dataset.reader import Dataset
from pipelines.dataset.schema import KEPT
from pipelines.even_sample import even_sample

_MOST_ROWS = 200


@dataclass(frozen=True, slots=True)
class Account:
    """One equation of the ledger: `total` came in; the entries (name, count, meaning, style) came out."""

    name: str
    total: int
    entries: list[tuple[str, int, str, str]]

    @property
    def out(self) -> int:
        return sum(count for _, count, _, _ in self.entries)

    @property
    def balances(self) -> bool:
        return self.out == self.total


@dataclass(frozen=True, slots=True)
class BucketView:
    """A bucket: its kept clips and their time; `share` is of the fullest bucket, percent."""

    name: str
    clips: int
    length: str
    share: float
    shards: list[tuple[str, int, str]]


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """A row of the quarantine."""

    name: str
    uri: str
    stage: str
    reason: str
    message: str
    clip_id: str | None


@dataclass(frozen=True, slots=True)
class LedgerView:
    """The ledger (of a run, or counted from the tables), storage, and what was left out; `quarantine_reasons`
    are (stage, reason, rows), the most frequent first.
    """

    accounts: list[Account]
    of_run: str | None
    buckets: list[BucketView]
    num_shards: int
    shard_bytes: str
    quarantine: list[QuarantineEntry]
    all_quarantine: int
    quarantine_reasons: list[tuple[str, str, int]]
    ignored: list[tuple[str, str, str]]
    all_ignored: int
    duplicates: list[tuple[str, str, str]]
    all_duplicates: int


def ledger_view(
    dataset: Dataset,
    sources: Sequence[Mapping[str, Any]],
    quarantine: Sequence[Mapping[str, Any]],
    clips: Sequence[Mapping[str, Any]],
    ledger: tuple[str, Mapping[str, int]] | None,
) -> LedgerView:
    """The books of a dataset.

    Args:
        clips: of the index, with the columns that tell where they are and what became of them.
        ledger: (id of the run, its ledger.json); None where no curation run left one, then the tables are
        counted.
    """
    reasons = Counter((q["stage"], q["reason"]) for q in quarantine)
    troubles = [
        QuarantineEntry(
            PurePosixPath(q["source_uri"]).name,
            q["source_uri"],
            q["stage"],
            q["reason"],
            q["message"],
            q["clip_id"],
        )
        for q in even_sample(quarantine, _MOST_ROWS)
    ]
    ignored, duplicates = _with_status(sources, "ignored"), _with_status(sources, "duplicate")
    return LedgerView(
        accounts=_accounts(ledger[1] if ledger else _count(sources, clips, quarantine)),
        of_run=ledger[0] if ledger else None,
        buckets=_buckets(dataset, clips),
        num_shards=len(dataset.shards()),
        shard_bytes=format_bytes(sum(shard.bytes for shard in dataset.shards())),
        quarantine=troubles,
        all_quarantine=len(quarantine),
        quarantine_reasons=sorted(((*key, n) for key, n in reasons.items()), key=lambda r: (-r[2], r[:2])),
        ignored=even_sample(ignored, _MOST_ROWS),
        all_ignored=len(ignored),
        duplicates=even_sample(duplicates, _MOST_ROWS),
        all_duplicates=len(duplicates),
    )


def _with_status(sources: Sequence[Mapping[str, Any]], status: str) -> list[tuple[str, str, str]]:
    rows = sorted((s for s in sources if s["status"] == status), key=lambda s: s["uri"])
    return [(PurePosixPath(s["uri"]).name, s["uri"], s["why"] or "") for s in rows]


def _count(
    sources: Sequence[Mapping[str, Any]],
    clips: Sequence[Mapping[str, Any]],
    quarantine: Sequence[Mapping[str, Any]],
) -> dict[str, int]:
    """The ledger's figures from the tables."""
    of = lambda status: sum(s["status"] == status for s in sources)  # noqa: E731
    kept, lost = sum(c["status"] == KEPT for c in clips), sum(q["clip_id"] is not None for q in quarantine)
    return {
        "sources": len(sources),
        "videos": of("video"),
        "duplicates": of("duplicate"),
        "ignored": of("ignored"),
        "sources_quarantined": of("quarantined"),
        "clips": len(clips) + lost,
        "clips_kept": kept,
        "clips_rejected": len(clips) - kept,
        "clips_quarantined": lost,
    }


def _accounts(ledger: Mapping[str, int]) -> list[Account]:
    return [
        Account(
            "sources",
            ledger["sources"],
            [
                ("videos", ledger["videos"], "read, and divided into clips", "kept"),
                ("duplicates", ledger["duplicates"], "the same bytes as another source", "quiet"),
                ("ignored", ledger["ignored"], "not media: notes, lists, captions", "quiet"),
                (
                    "quarantined",
                    ledger["sources_quarantined"],
                    "could not be processed; see below",
                    "quarantined",
                ),
            ],
        ),
        Account(
            "clips",
            ledger["clips"],
            [
                ("kept", ledger["clips_kept"], "captioned, cut, in a shard", "kept"),
                ("rejected", ledger["clips_rejected"], "against the recipe; a row in the index", "rejected"),
                (
                    "quarantined",
                    ledger["clips_quarantined"],
                    "could not be captioned or cut; see below",
                    "quarantined",
                ),
            ],
        ),
    ]


def _buckets(dataset: Dataset, clips: Sequence[Mapping[str, Any]]) -> list[BucketView]:
    held: dict[str, list[float]] = {}
    for clip in clips:
        if clip["status"] == KEPT:
            held.setdefault(clip["bucket"], []).append(clip["end_s"] - clip["start_s"])
    most = max((sum(lengths) for lengths in held.values()), default=1.0)
    return [
        BucketView(
            name,
            len(lengths),
            format_duration(sum(lengths)),
            round(100 * sum(lengths) / most, 2),
            even_sample(
                [(s.id, s.clips, format_bytes(s.bytes)) for s in dataset.shards() if s.bucket == name], 8
            ),
        )
        for name, lengths in sorted(held.items(), key=lambda item: -sum(item[1]))
    ]
