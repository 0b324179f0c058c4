"""Rows of a dataset's tables → what in them does not add up. Nothing is decoded.

In: index, sources, quarantine and looks, and the manifest's shards. Out: findings: every source and every
clip is accounted for exactly once, and what one table says the others say too.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction

from jobs.curation.assemble import STATUSES
from jobs.upkeep.findings import Finding
from jobs.upkeep.tables import Tables
from pipelines.dataset.manifest import Shard
from pipelines.dataset.schema import KEPT, REJECTED, Row, is_gap
from pipelines.errors import Reason
from pipelines.ids import clip_id

Rows = Callable[[], Iterator[Row]]  # a pass over a table: no row is kept longer than it is looked at

# What every version measured: a row that another version wrote stays as it is.
_NEVER_NULL = (
    *("clip_id", "video_id", "source_uri", "start_pts", "end_pts", "time_base", "start_s", "end_s"),
    *("num_frames", "fps", "width", "height", "status", "bucket"),
)
_PLACE = ("shard", "offset", "size", "json_offset", "json_size", "txt_offset", "txt_size")
_OF_KEPT = (*_PLACE, "cut_method", "lead_frames", "encode_fingerprint", "caption_short")
PROMISED = (*_NEVER_NULL, *_OF_KEPT)
"""Columns that a kept clip's row has values in."""


def check_counts(tables: Tables, shards: Sequence[Shard]) -> list[Finding]:
    """What does not add up; tables that can't be relied on are left out."""
    index = None if tables.index is None else tables.index.rows
    sources = None if tables.sources is None else tables.sources.rows
    quarantine = None if tables.quarantine is None else tables.quarantine.rows
    found: list[Finding] = []
    if index is not None:
        found += [
            Finding("index", f"clip {row['clip_id']}", what) for row in index() for what in _of_row(row)
        ]
        found += _repeated("index", "clip", (row["clip_id"] for row in index()))
        found += _duplicates(index)
        found += _placement(index, shards)
    if sources is not None:
        found += _sources(sources, index)
    if sources is not None and quarantine is not None:
        found += _quarantine(quarantine, sources, index)
    if tables.looks is not None and index is not None:
        found += _looks([row["clip_id"] for row in tables.looks.rows()], index)
    return found


def comparable(row: Row) -> bool:
    """Whether a kept clip's row says all that its shard can be compared with."""
    return all(row[name] is not None for name in PROMISED) and _base(row) is not None


def _base(row: Row) -> Fraction | None:
    try:
        return Fraction(row["time_base"])
    except (ValueError, ZeroDivisionError):
        return None


def _of_row(row: Row) -> Iterator[str]:
    """What is wrong with a clip's row by itself."""
    if missing := [name for name in _NEVER_NULL if row[name] is None]:
        yield f"it has no {', '.join(missing)}"
        return
    if row["clip_id"] != clip_id(row["video_id"], row["start_pts"], row["end_pts"]):
        yield "its id is not that of its video and span"
    base = _base(row)
    if base is None:
        yield f"time_base {row['time_base']!r} is no fraction"
    elif (row["start_s"], row["end_s"]) != (float(row["start_pts"] * base), float(row["end_pts"] * base)):
        yield f"it lasts from {row['start_s']} s to {row['end_s']} s, by its pts something else"
    if row["status"] == KEPT:
        if missing := [name for name in _OF_KEPT if row[name] is None]:
            yield f"it is kept, and has no {', '.join(missing)}"
        if row["reject_reasons"]:
            yield f"it is kept, and rejected for {', '.join(row['reject_reasons'])}"
    elif row["status"] == REJECTED:
        if row["shard"] is not None:
            yield f"it is rejected, and lies in shard {row['shard']}"
        if not row["reject_reasons"]:
            yield "it is rejected without a reason"
    else:
        yield f"it is {row['status']!r}, which is neither {KEPT} nor {REJECTED}"


def _repeated(check: str, what: str, names: Iterable[str]) -> list[Finding]:
    return [Finding(check, f"{what} {name}", f"{n} rows") for name, n in Counter(names).items() if n > 1]


def _duplicates(index: Rows) -> Iterator[Finding]:
    kept = {row["clip_id"] for row in index() if row["status"] == KEPT}
    for row in index():
        if row["duplicate_of"] is None:
            continue
        if row["status"] == KEPT:
            yield Finding(
                "duplicates", f"clip {row['clip_id']}", f"it is kept, and a copy of {row['duplicate_of']}"
            )
        elif row["duplicate_of"] not in kept:
            yield Finding(
                "duplicates",
                f"clip {row['clip_id']}",
                f"{row['duplicate_of']}, which stands for it, is not kept",
            )


def _placement(index: Rows, shards: Sequence[Shard]) -> Iterator[Finding]:
    """Kept clips lie in the manifest's shards, and nothing else does."""
    by_id = {shard.id: shard for shard in shards}
    yield from _repeated("placement", "shard", (shard.id for shard in shards))
    held: Counter[str] = Counter()
    for row in index():
        if row["status"] != KEPT or row["shard"] is None:
            continue
        shard = by_id.get(row["shard"])
        held[row["shard"]] += 1
        if shard is None:
            yield Finding(
                "placement",
                f"clip {row['clip_id']}",
                f"it lies in shard {row['shard']}, which the manifest does not name",
            )
        elif shard.bucket != row["bucket"]:
            yield Finding(
                "placement",
                f"clip {row['clip_id']}",
                f"it is of bucket {row['bucket']}, its shard of {shard.bucket}",
            )
    for shard in shards:
        if held[shard.id] != shard.clips:
            yield Finding(
                "placement",
                shard.key,
                f"the manifest says {shard.clips} clips, the index has {held[shard.id]} in it",
            )


def _sources(sources: Rows, index: Rows | None) -> Iterator[Finding]:
    yield from _repeated("sources", "source", (row["uri"] for row in sources()))
    for row in sources():
        if row["status"] not in STATUSES:
            yield Finding(
                "sources", f"source {row['uri']}", f"it is {row['status']!r}, none of {', '.join(STATUSES)}"
            )
    videos = {row["uri"]: row["video_id"] for row in sources() if row["status"] == "video"}
    for row in index() if index else ():
        if row["source_uri"] not in videos:
            yield Finding("sources", f"clip {row['clip_id']}", f"its source {row['source_uri']} is no video")
        elif videos[row["source_uri"]] != row["video_id"]:
            yield Finding(
                "sources",
                f"clip {row['clip_id']}",
                f"its source {row['source_uri']} is another video than its row says",
            )


def _quarantine(quarantine: Rows, sources: Rows, index: Rows | None) -> Iterator[Finding]:
    """Who is in quarantine is there by all tables. A clip that something passing hindered stays in the index,
    too."""
    status = {row["uri"]: row["status"] for row in sources()}
    entire = {row["source_uri"] for row in quarantine() if row["clip_id"] is None and not is_gap(row)}
    torn = {row["source_uri"] for row in quarantine() if is_gap(row)}
    for uri, is_ in status.items():
        if is_ == "quarantined" and uri not in entire:
            yield Finding(
                "quarantine", f"source {uri}", "it is quarantined, and the quarantine has no row of it"
            )
        if is_ != "quarantined" and uri in entire:
            yield Finding(
                "quarantine", f"source {uri}", f"it is in the quarantine, and {is_} among the sources"
            )
        if uri in torn and is_ != "video":
            yield Finding(
                "quarantine", f"source {uri}", f"stretches of it are lost, and it is {is_} among the sources"
            )
    for row in sources():
        if row["status"] == "video" and row["lost_s"] and row["uri"] not in torn:
            yield Finding(
                "quarantine",
                f"source {row['uri']}",
                f"{row['lost_s']} s of it are lost, and the quarantine has no row of it",
            )
    clips = {row["clip_id"] for row in (index() if index else ())}
    for row in quarantine():
        if row["source_uri"] not in status:
            yield Finding(
                "quarantine", f"source {row['source_uri']}", "it is in the quarantine, and no source"
            )
        if row["reason"] not in set(Reason):
            yield Finding("quarantine", f"source {row['source_uri']}", f"{row['reason']!r} is no reason")
        elif row["clip_id"] in clips and Reason(row["reason"]).permanent:
            yield Finding(
                "quarantine",
                f"clip {row['clip_id']}",
                f"it is quarantined ({row['reason']}), and in the index",
            )


def _looks(looks: Sequence[str], index: Rows) -> Iterator[Finding]:
    yield from _repeated("looks", "clip", looks)
    clips, seen = {row["clip_id"] for row in index()}, set(looks)
    for clip in sorted(clips - seen, key=str):
        yield Finding("looks", f"clip {clip}", "nothing is known of what it looks like")
    for clip in sorted(seen - clips, key=str):
        yield Finding("looks", f"clip {clip}", "it has a look, and is not in the index")
