"""Analyses of a run + the newest manifest → the rows of the next one. Pure: no Ray, no store, no clock.

In: what is known of each source, and the tables the dataset has already. Out: source, quarantine and clip
rows. Sources and videos that are not part of this run stay as they are; the recipe decides over all clips
alike, old and new.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from jobs.curation.analysis import Analysis
from jobs.curation.clip_records import Candidate, candidate_from_index, location_from_index
from jobs.curation.decide import Outcome
from jobs.curation.fingerprints import Fingerprints
from jobs.curation.shard_writer import content_fingerprint
from pipelines.dataset.ledger import Ledger
from pipelines.dataset.manifest import Shard
from pipelines.dataset.pack import ExistingShard, PackCandidate
from pipelines.dataset.schema import QUARANTINE, Row
from pipelines.dedup.looks import LOOKS
from pipelines.footage.listing import Footage
from pipelines.records import Missing, Quarantined, Source
from pipelines.scores.base import SIGNALS

_BITS_PER_PIXEL = 1.0  # of a high-quality encode; only decides where a shard is full


@dataclass(slots=True)
class BaseManifest:
    """The newest manifest: its rows, recipe and shards by id; empty, with number 0, before the first."""

    sources: Sequence[Row] = ()
    quarantine: Sequence[Row] = ()
    index: Sequence[Row] = ()
    number: int = 0
    looks: pa.Table = field(default_factory=LOOKS.empty_table)
    recipe: dict[str, Any] | None = None
    shards: dict[str, Shard] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Assembly:
    """What a run decides over: rows of sources, rows of the quarantine so far, candidates; and how many
    sources it saw, by status, with `clips`: the candidates.
    """

    sources: tuple[Row, ...]
    quarantine: tuple[Row, ...]
    candidates: tuple[Candidate, ...]
    run: Mapping[str, int]

    def ledger(self, outcome: Outcome) -> Ledger:
        """The account of the run."""
        kept = sum(clip.kept for clip in outcome.clips)
        return Ledger(
            sources=self.run["sources"],
            videos=self.run["video"],
            duplicates=self.run["duplicate"],
            ignored=self.run["ignored"],
            sources_quarantined=self.run["quarantined"],
            clips=self.run["clips"],
            clips_kept=kept,
            clips_rejected=len(outcome.clips) - kept,
            clips_quarantined=outcome.num_quarantined_only,
        )


def assemble(footage: Footage, analyses: Sequence[Analysis], base: BaseManifest) -> Assembly:
    """Bring a run's analyses and the dataset's rows together."""
    about = {source.uri: source for source in footage.sources}
    first = _first_sources(footage, analyses, base)
    sources: dict[str, Row] = {}
    quarantine: list[Row] = []
    measured: list[Row] = []
    for found in sorted(analyses, key=lambda a: a.source_uri):
        source = about[found.source_uri]
        row = {
            "uri": source.uri,
            "size_bytes": source.size_bytes,
            "etag": source.etag,
            "video_id": found.video_id,
        }
        told = _told(source)
        row |= told | {
            "status": "video",
            "why": found.others,
            "duration_s": found.duration_s,
            "lost_s": found.lost_s,
        }
        if found.quarantined is not None:
            row |= {"status": "quarantined", "why": found.quarantined.reason}
            quarantine.append(asdict(found.quarantined))
        elif (of := first[found.identity]) != source.uri:
            row |= {"status": "duplicate", "why": f"same bytes as {of}"}
        else:
            measured += [{**clip, "source_uri": source.uri, **told} for clip in found.clips]
            quarantine += [
                asdict(Quarantined(source.uri, SIGNALS, video_id=found.video_id, **gap)) for gap in found.lost
            ]
        sources[source.uri] = row
    for item in footage.ignored:
        sources[item.uri] = _source(item.uri, item.size_bytes, "ignored", item.why)
    for gone in footage.missing:
        sources[gone.source_uri] = _source(gone.source_uri, None, "quarantined", gone.reason) | _told(gone)
        quarantine.append({name: getattr(gone, name) for name in QUARANTINE.names})
    run = {status: sum(row["status"] == status for row in sources.values()) for status in STATUSES}
    run["sources"] = len(footage.sources) + len(footage.ignored) + len(footage.missing)
    candidates = _candidates(base, set(sources), measured)
    carried = [row for row in base.sources if row["uri"] not in sources]
    tried_again = {clip.clip_id for clip in candidates}  # those that were only hindered
    quarantine += [
        row
        for row in base.quarantine
        if row["source_uri"] not in sources and (row["clip_id"] is None or row["clip_id"] not in tried_again)
    ]
    run["clips"] = len(candidates)
    return Assembly((*sources.values(), *carried), tuple(quarantine), tuple(candidates), run)


def _told(source: Source | Missing) -> dict[str, Any]:
    """What a list says of a source, as columns."""
    return {"source_text": source.text, "source_license": source.license, "source_dataset": source.dataset}


STATUSES = ("video", "duplicate", "ignored", "quarantined")


def _source(uri: str, size_bytes: int | None, status: str, why: str) -> dict[str, Any]:
    return {
        "uri": uri,
        "size_bytes": size_bytes,
        "etag": None,
        "status": status,
        "video_id": None,
        "why": why,
        "duration_s": None,
        "lost_s": None,
    }


def _first_sources(footage: Footage, analyses: Iterable[Analysis], base: BaseManifest) -> dict[str, str]:
    """Which source stands for each video: the one the dataset names already, unless it is another or gone by
    now; else the first by URI."""
    named = {row["video_id"]: row["uri"] for row in base.sources if row["status"] == "video"}
    uris: dict[str, list[str]] = defaultdict(list)
    for found in analyses:
        if found.video_id and found.quarantined is None:
            uris[found.video_id].append(found.source_uri)
    seen = {found.source_uri for found in analyses} | {item.uri for item in footage.ignored}
    seen |= {item.source_uri for item in footage.missing}
    return {
        video: named[video]
        if video in named and (named[video] in group or named[video] not in seen)
        else min(group)
        for video, group in uris.items()
    }


def _candidates(base: BaseManifest, seen: set[str], measured: Iterable[Row]) -> list[Candidate]:
    """Clips that this run measured, and those that it says nothing of: those of other videos from other
    sources.

    What came from a source that this run saw is made again or gone, since its bytes may have changed. A clip
    made again takes over its place in a shard.
    """
    stored = {row["clip_id"]: location_from_index(row) for row in base.index}
    fresh = [Candidate(clip, stored.get(clip["clip_id"])) for clip in measured]
    videos = {clip.measured["video_id"] for clip in fresh}
    return fresh + [
        candidate_from_index(row)
        for row in base.index
        if row["video_id"] not in videos and row["source_uri"] not in seen
    ]


def pack_candidates(orders: Iterable[Row], prints: Fingerprints) -> list[PackCandidate]:
    """Kept clips as the packer sees them, from what the writer of shards is told of each."""
    return [
        PackCandidate(
            row["clip_id"],
            row["bucket"],
            content_fingerprint(row, prints),
            round(row["width"] * row["height"] * row["num_frames"] * _BITS_PER_PIXEL / 8),
            carried=row["carried"],
        )
        for row in orders
    ]


def existing_shards(base: BaseManifest, prints: Fingerprints) -> list[ExistingShard]:
    """The shards of the newest manifest, with their clips in order."""
    held: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in base.index:
        if row["shard"]:
            held[row["shard"], row["bucket"]].append(row)
    shards = []
    for (shard, name), rows in held.items():
        rows.sort(key=lambda row: row["offset"])
        contents = tuple(content_fingerprint({**row, "carried": True}, prints) for row in rows)
        shards.append(ExistingShard(shard, name, tuple(row["clip_id"] for row in rows), contents))
    return shards
