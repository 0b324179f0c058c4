"""Analyses of a run + the newest manifest → the rows of the next one. Pure: no Ray, no store, no clock.

In: what is known of each source, and the tables the dataset has already. Out: source, quarantine and clip rows. Sources
and videos that are not part of this run stay as they are; the recipe decides over all clips alike, old and new.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from jobs.curation.analysis import Analysis
from jobs.curation.clip_rows import bucket_of
from jobs.curation.fingerprints import Fingerprints
from jobs.curation.shard_writer import content_of
from pipelines.dataset.ledger import Ledger
from pipelines.dataset.manifest import Shard
from pipelines.dataset.pack import Packable, Packed
from pipelines.dataset.schema import CAPTIONS, CUTS, INDEX, KEPT, QUARANTINE, REJECTED
from pipelines.dedup.keep import duplicates
from pipelines.dedup.looks import LOOKS
from pipelines.dedup.pairs import Pair
from pipelines.errors import Reason
from pipelines.footage.listing import Footage
from pipelines.recipes.recipe import Recipe
from pipelines.records import Missing, Quarantined, Source
from pipelines.scores.base import SIGNALS
from pipelines.scores.config import ScoreConfig
from pipelines.scores.registry import CAPTIONED, DUPLICATE, missing

_BITS_PER_PIXEL = 1.0  # of a high-quality encode; only decides where a shard is full
_STORED = [name for name in CUTS.names if name in INDEX.names and name not in ("clip_id", "bucket")]
_TEXT = [name for name in CAPTIONS.names if name in INDEX.names and name != "clip_id"]

Row = dict[str, Any]


@dataclass(slots=True)
class Base:
    """The newest manifest: its rows, recipe and shards by id; empty, with number 0, before the first."""

    sources: list[Row] = field(default_factory=list)
    quarantine: list[Row] = field(default_factory=list)
    index: list[Row] = field(default_factory=list)
    number: int = 0
    looks: pa.Table = field(default_factory=LOOKS.empty_table)
    recipe: dict[str, Any] | None = None
    shards: dict[str, Shard] = field(default_factory=dict)


@dataclass(slots=True)
class Assembly:
    """The rows of the manifest in the making. `clips` become kept, rejected, or leave for `quarantine`."""

    sources: list[Row]
    quarantine: list[Row]
    clips: list[Row]
    run: dict[str, int]
    """How many sources this run saw, by status."""
    clips_quarantined: int = 0

    def set_aside(self, failures: Mapping[str, Row], stage: str) -> set[str]:
        """Clips that failed in a stage: who would always fail so leaves for the quarantine. Whom something else hinders,
        such as a source that is not there now, stays with all that is known of it, and has a row there, too.

        Args:
            failures: by clip id, with reason and message.

        Returns:
            ids of those that stay.
        """
        hindered = {clip_id for clip_id, failure in failures.items() if not Reason(failure["reason"]).lasting}
        for clip in [c for c in self.clips if c["clip_id"] in failures]:
            failure = failures[clip["clip_id"]]
            bad = Quarantined(
                clip["source_uri"], stage, failure["reason"], failure["message"], clip["video_id"], clip["clip_id"]
            )
            self.quarantine.append(asdict(bad))
        gone = failures.keys() - hindered
        self.clips_quarantined += sum(clip["clip_id"] in gone for clip in self.clips)
        self.clips = [clip for clip in self.clips if clip["clip_id"] not in gone]
        return hindered

    def kept(self) -> list[Row]:
        return [clip for clip in self.clips if clip["status"] == KEPT]

    def ledger(self) -> Ledger:
        kept = len(self.kept())
        return Ledger(
            sources=self.run["sources"],
            videos=self.run["video"],
            duplicates=self.run["duplicate"],
            ignored=self.run["ignored"],
            sources_quarantined=self.run["quarantined"],
            clips=self.run["clips"],
            clips_kept=kept,
            clips_rejected=len(self.clips) - kept,
            clips_quarantined=self.clips_quarantined,
        )


def assemble(footage: Footage, analyses: Sequence[Analysis], base: Base) -> Assembly:
    """Bring a run's analyses and the dataset's rows together."""
    about = {source.uri: source for source in footage.sources}
    first = _first_sources(footage, analyses, base)
    sources: dict[str, Row] = {}
    quarantine: list[Row] = []
    clips: list[Row] = []
    for found in sorted(analyses, key=lambda a: a.source_uri):
        source = about[found.source_uri]
        row = {"uri": source.uri, "size_bytes": source.size_bytes, "etag": source.etag, "video_id": found.video_id}
        told = _told(source)
        row |= told | {"status": "video", "why": found.others, "duration_s": found.duration_s, "lost_s": found.lost_s}
        if found.quarantined is not None:
            row |= {"status": "quarantined", "why": found.quarantined.reason}
            quarantine.append(asdict(found.quarantined))
        elif first[found.video_id] != source.uri:
            row |= {"status": "duplicate", "why": f"same bytes as {first[found.video_id]}"}
        else:
            clips += [{**clip, "source_uri": source.uri, **told} for clip in found.clips]
            quarantine += [
                asdict(Quarantined(source.uri, SIGNALS, video_id=found.video_id, **gap)) for gap in found.lost
            ]
        sources[source.uri] = row
    for item in footage.ignored:
        sources[item.uri] = _source(item.uri, item.size_bytes, "ignored", item.why)
    for item in footage.missing:
        sources[item.source_uri] = _source(item.source_uri, None, "quarantined", item.reason) | _told(item)
        quarantine.append({name: getattr(item, name) for name in QUARANTINE.names})
    run = {status: sum(row["status"] == status for row in sources.values()) for status in STATUSES}
    run["sources"] = len(footage.sources) + len(footage.ignored) + len(footage.missing)
    clips += _carried(base, set(sources), clips)
    carried = [row for row in base.sources if row["uri"] not in sources]
    tried_again = {clip["clip_id"] for clip in clips}  # those who were only hindered
    quarantine += [
        row
        for row in base.quarantine
        if row["source_uri"] not in sources and (row["clip_id"] is None or row["clip_id"] not in tried_again)
    ]
    run["clips"] = len(clips)
    return Assembly([*sources.values(), *carried], quarantine, clips, run)


def _told(source: Source | Missing) -> Row:
    """What a list says of a source, as columns."""
    return {"source_text": source.text, "source_license": source.license, "source_dataset": source.dataset}


STATUSES = ("video", "duplicate", "ignored", "quarantined")


def _source(uri: str, size_bytes: int | None, status: str, why: str) -> Row:
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


def _first_sources(footage: Footage, analyses: Iterable[Analysis], base: Base) -> dict[str, str]:
    """Which source stands for each video: the one the dataset names already, unless it is another or gone by now; else the
    first by URI."""
    named = {row["video_id"]: row["uri"] for row in base.sources if row["status"] == "video"}
    uris: dict[str, list[str]] = defaultdict(list)
    for found in analyses:
        if found.video_id and found.quarantined is None:
            uris[found.video_id].append(found.source_uri)
    seen = {found.source_uri for found in analyses} | {item.uri for item in footage.ignored}
    seen |= {item.source_uri for item in footage.missing}
    return {
        video: named[video] if video in named and (named[video] in group or named[video] not in seen) else min(group)
        for video, group in uris.items()
    }


def _carried(base: Base, seen: set[str], clips: Iterable[Row]) -> list[Row]:
    """Clips that this run says nothing of: those of other videos from other sources.

    What came from a source that this run saw is made again or gone, since its bytes may have changed. A clip made again
    takes over its place in a shard.
    """
    stored = {row["clip_id"]: row for row in base.index}
    videos = set()
    for clip in clips:
        videos.add(clip["video_id"])
        old = stored.get(clip["clip_id"], {})
        clip.update({name: old.get(name) for name in _STORED}, old_bucket=old.get("bucket"))
    carried = [row for row in base.index if row["video_id"] not in videos and row["source_uri"] not in seen]
    return [{**row, "old_bucket": row["bucket"], "carried": True} for row in carried]


def decide(clips: Sequence[Row], recipe: Recipe, pairs: Sequence[Pair], failed: Mapping[str, Sequence[str]]) -> None:
    """Set status, reasons, bucket, and of a duplicate the copy that is kept instead.

    Of copies, one is kept of those that pass the recipe: the best of all might not pass.

    Args:
        failed: reasons against clips that were found after their captions were made, by clip id.
    """
    reasons = {
        clip["clip_id"]: list(failed.get(clip["clip_id"], ())) or recipe.against(clip, pending=CAPTIONED)
        for clip in clips
    }
    copies = duplicates([clip for clip in clips if not reasons[clip["clip_id"]]], pairs)
    for clip in clips:
        copy, why = copies.get(clip["clip_id"]), reasons[clip["clip_id"]]
        why = [DUPLICATE] if copy else why
        clip.update(status=REJECTED if why else KEPT, reject_reasons=why, bucket=bucket_of(clip))
        clip.update(
            duplicate_of=copy and copy.of,
            duplicate_kind=copy and copy.kind,
            duplicate_similarity=copy and copy.similarity,
        )


def add_text(
    clips: Iterable[Row],
    captions: Mapping[str, Row],
    matches: Mapping[str, Row],
    failed: Collection[str],
    scores: ScoreConfig,
) -> None:
    """Give clips that are kept, or fell only after they had been captioned, their captions and what depends on them; take
    away everybody else's.
    """
    for clip in clips:
        told = clip["status"] == KEPT or clip["clip_id"] in failed
        caption, match = (rows.get(clip["clip_id"], {}) if told else {} for rows in (captions, matches))
        clip.update({name: caption.get(name) for name in _TEXT})
        clip.update({name: match.get(name) for name in CAPTIONED})
        gaps = [gap for gap in clip["score_gaps"] if gap["score"] not in CAPTIONED]
        clip["score_gaps"] = gaps + [
            {"score": name, "why": missing(name, scores) or "only clips that have captions are compared with them"}
            for name in sorted(CAPTIONED)
            if clip[name] is None
        ]


def packables(clips: Iterable[Row], prints: Fingerprints) -> list[Packable]:
    """Kept clips as the packer sees them."""
    return [
        Packable(
            clip["clip_id"],
            clip["bucket"],
            content_of(clip, prints),
            round(clip["width"] * clip["height"] * clip["num_frames"] * _BITS_PER_PIXEL / 8),
            carried=bool(clip.get("carried")),
        )
        for clip in clips
    ]


def packed(base: Base, prints: Fingerprints) -> list[Packed]:
    """The shards of the newest manifest, with their clips in order."""
    held: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in base.index:
        if row["shard"]:
            held[row["shard"], row["bucket"]].append(row)
    shards = []
    for (shard, name), rows in held.items():
        rows.sort(key=lambda row: row["offset"])
        contents = tuple(content_of(row | {"carried": True}, prints) for row in rows)
        shards.append(Packed(shard, name, tuple(row["clip_id"] for row in rows), contents))
    return shards


def of_whole_shards(written: Mapping[str, Row], kept: Collection[str]) -> dict[str, Row]:
    """Of clips that were written, those of shards whose clips are all still kept: the others are packed again.

    Args:
        written: rows with `shard`, by clip id.
        kept: clip ids.
    """
    broken = {row["shard"] for clip_id, row in written.items() if clip_id not in kept}
    return {clip_id: row for clip_id, row in written.items() if row["shard"] not in broken}


def take_over(clips: Iterable[Row], written: Mapping[str, Row]) -> None:
    """Let clips be copied from shards that were just written, as they are from those of the newest manifest.

    Args:
        written: rows with where a clip lies, by clip id.
    """
    for clip in clips:
        if row := written.get(clip["clip_id"]):
            clip.update({name: row[name] for name in _STORED}, old_bucket=row["bucket"])


def place(clips: Iterable[Row], staying: Iterable[str], written: Mapping[str, Row]) -> None:
    """Set where each clip lies: in a shard that stays, in one just written, or nowhere."""
    staying = set(staying)
    for clip in clips:
        assert clip["status"] == KEPT or clip["clip_id"] not in written, (
            "a shard was written with a clip that is rejected"
        )
        if clip["clip_id"] in written:
            clip.update({name: written[clip["clip_id"]][name] for name in _STORED})
        elif clip["status"] != KEPT or clip["shard"] not in staying:
            clip.update(dict.fromkeys(_STORED))
        for name in ("old_bucket", "as_listed", "carried"):
            clip.pop(name, None)


def index_rows(clips: Iterable[Row]) -> list[Row]:
    """Clips in the order and with the columns of the index."""
    rows = [{name: clip[name] for name in INDEX.names} for clip in clips]
    return sorted(rows, key=lambda row: (row["source_uri"], row["start_pts"], row["clip_id"]))
