"""Each source as a timeline: its shots and clips in time, with pictures, kept and rejected marked.

In: the sources and clips of a dataset. Out: sources with segments placed in percent of the source's length,
with filmstrips inside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from jobs.cli.formatting import format_count, format_duration, format_number, format_timestamp, format_words
from jobs.reporting.drawing.charts import Axis, Tick
from jobs.reporting.drawing.media import strip_uri
from jobs.reporting.drawing.pictures import Pictures, picture_width
from pipelines.even_sample import even_sample

_MOST_SOURCES = 16
_MOST_SIZES = 3  # of the pictures of a source, that are named
_HEIGHT = 72  # of the pictures, px
_WIDTH = 1180  # of the timeline on a wide screen, px: decides how many pictures a segment takes
_MOST_SEGMENTS = 400  # of a source: more would be narrower than a line
_NARROWEST = 14  # px: below it a picture shows nothing


@dataclass(frozen=True, slots=True)
class Segment:
    """One clip on the timeline: left and width in percent."""

    left: float
    width: float
    status: str
    divided: bool
    label: str
    reasons: str
    title: str
    picture: str | None


@dataclass(frozen=True, slots=True)
class SourceView:
    """One source of footage: as much of it from the start as the first segments fill."""

    name: str
    uri: str
    facts: str
    verdict: str
    segments: list[Segment]
    ticks: list[Tick]
    all_segments: int
    without_picture: int


@dataclass(frozen=True, slots=True)
class FootageView:
    """The sources that are shown, and how many there are."""

    sources: list[SourceView]
    all_sources: int


def footage_view(
    sources: Sequence[Mapping[str, Any]],
    clips: Sequence[Mapping[str, Any]],
    quarantine: Sequence[Mapping[str, Any]],
    pictures: Pictures,
    most: int,
) -> FootageView:
    """Timelines of the sources that are videos.

    Args:
        clips: the index, kept and rejected.
        most: most segments that get pictures, over all sources.
    """
    videos = [s for s in sources if s["status"] == "video"]
    by_source: dict[str, list[Mapping[str, Any]]] = {}
    for row in clips:
        by_source.setdefault(row["source_uri"], []).append(row)
    shown = even_sample(
        sorted((s for s in videos if s["uri"] in by_source), key=lambda s: s["uri"]), _MOST_SOURCES
    )
    each = max(1, most // max(1, len(shown)))
    lost = Counter(q["source_uri"] for q in quarantine if q["clip_id"])
    views = [
        _source_view(source, by_source[source["uri"]], lost[source["uri"]], pictures, each)
        for source in shown
    ]
    return FootageView(views, len(videos))


def _source_view(
    source: Mapping[str, Any],
    clips: Sequence[Mapping[str, Any]],
    quarantined: int,
    pictures: Pictures,
    most: int,
) -> SourceView:
    clips = sorted(clips, key=lambda c: (c["start_s"], c["clip_id"]))
    drawn = clips[:_MOST_SEGMENTS]
    begin_s, end_s = drawn[0]["start_s"], max(c["end_s"] for c in drawn)
    whole_s = max(max(c["end_s"] for c in clips) - begin_s, source["duration_s"] or 0.0)
    scale = Axis(
        begin_s, max(end_s, begin_s + (whole_s if len(drawn) == len(clips) else 0.0), begin_s + 1e-3)
    )
    pictured = {c["clip_id"] for c in even_sample(drawn, most)}
    segments = [_segment(c, scale, pictures, c["clip_id"] in pictured) for c in drawn]
    first = clips[0]
    codec = first.get("codec")
    facts = [
        _sizes(clips),
        f"{format_number(first['fps'])} fps",
        format_duration(whole_s),
        *([codec] if codec else []),
    ]
    shots, rejected = len({c["shot_index"] for c in clips}), sum(c["status"] == "rejected" for c in clips)
    became = (("kept", len(clips) - rejected), ("rejected", rejected), ("quarantined", quarantined))
    verdict = [
        format_count(shots, "shot"),
        format_count(len(clips) + quarantined, "clip"),
        *(f"{n:,} {what}" for what, n in became if n),
    ]
    ticks = [
        Tick(t.at, format_timestamp(scale.value(t.at) - begin_s))
        for t in Axis(0.0, scale.high - scale.low).ticks(6)
    ]
    uri = source["uri"]
    return SourceView(
        PurePosixPath(uri).name,
        uri,
        " · ".join(facts),
        " · ".join(verdict),
        segments,
        ticks,
        len(clips),
        len(drawn) - len(pictured),
    )


def _sizes(clips: Sequence[Mapping[str, Any]]) -> str:
    """Of its clips, in order: a recording may change its size on the way."""
    sizes = list(dict.fromkeys(f"{clip['width']} × {clip['height']}" for clip in clips))
    return ", ".join(sizes[:_MOST_SIZES]) + (" …" if len(sizes) > _MOST_SIZES else "")


def _segment(row: Mapping[str, Any], scale: Axis, pictures: Pictures, pictured: bool) -> Segment:
    left, right = scale.place(row["start_s"]), scale.place(row["end_s"])
    width_px = (right - left) / 100 * _WIDTH
    frames = None
    if pictured and width_px >= _NARROWEST:
        num = max(1, round(width_px / picture_width(row, _HEIGHT)))
        frames = pictures.get(row, num, _HEIGHT)
    span_s, reasons = row["end_s"] - row["start_s"], format_words(row["reject_reasons"] or ())
    title = (
        f"{format_timestamp(row['start_s'])} to {format_timestamp(row['end_s'])} "
        f"({format_duration(span_s)}), {row['status']}" + (f": {reasons}" if reasons else "")
    )
    return Segment(
        left=round(left, 3),
        width=round(right - left, 3),
        status=row["status"],
        divided=row["start_kind"] == "divided",
        label=format_duration(span_s),
        reasons=reasons,
        title=title,
        picture=None if frames is None else strip_uri(frames),
    )
