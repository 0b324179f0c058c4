"""What a dataset holds → text for people: short lines, with units.

In: what `rushes inspect` found. Out: lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jobs.cli.formatting import format_bytes, format_count, format_duration, format_percent
from jobs.listing.account import by_reason, in_words
from jobs.listing.rules import rule_text
from jobs.listing.single_line import single_line
from jobs.listing.sources import name_of

DatasetSummary = Mapping[str, Any]


_MANY = {"stretches": "stretches of videos"}


def as_text(holds: DatasetSummary) -> str:
    """One block a subject: where it is, what came in, what became of it, and where it lies."""
    manifest, recipe = holds["manifest"], holds["recipe"]
    lines = [
        _line("dataset", holds["dataset"]),
        _line("manifest", _manifest(manifest)),
        _line("sources", _sources(holds)),
        _line(
            "footage", f"{format_duration(holds['footage_s'])} in {format_count(holds['videos'], 'video')}"
        ),
        _line("clips", _clips(holds)),
        *_shares(holds),
    ]
    lines += _reasons(holds)
    lines += [_line("quarantine", _quarantine(holds["quarantine_reasons"])), *_some_of_it(holds)]
    lines += [
        _line("recipe", f"{recipe['name']} {recipe['hash']}"),
        *(f"  {rule_text(r)}" for r in recipe["rules"]),
    ]
    lines += [_line("captions by", holds["captioner"] or "nobody")]
    lines += [_line("shards", f"{holds['shards']:,}, {format_bytes(holds['bytes'])}")]
    lines += [_line("buckets", f"{len(holds['buckets']):,}"), *_buckets(holds["buckets"])]
    return "\n".join(line.rstrip() for line in lines)


def _line(name: str, value: str) -> str:
    return f"{name:<13} {value}"


def _manifest(manifest: DatasetSummary) -> str:
    written = datetime.fromtimestamp(manifest["written_s"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    if manifest["after"] is None:
        before = "the first one"
    else:
        before = f"after {manifest['after']}" + (
            "" if manifest["after_there"] else ", which was cleaned away"
        )
    return f"{manifest['number']}, written {written}, {before}"


def _sources(holds: DatasetSummary) -> str:
    parts = [
        format_count(holds["videos"], "video"),
        format_count(holds["sources_duplicate"], "duplicate"),
        f"{holds['ignored']:,} ignored",
        f"{holds['sources_quarantined']:,} quarantined",
    ]
    return f"{holds['sources']:,} = {' + '.join(parts)}"


def _clips(holds: DatasetSummary) -> str:
    kept, rejected = holds["clips_kept"], holds["clips_rejected"]
    return f"{kept + rejected:,} = {kept:,} kept + {rejected:,} rejected"


def _shares(holds: DatasetSummary) -> list[str]:
    """Where the seconds went."""
    whole = holds["footage_s"]
    parts = (
        ("kept", holds["kept_s"], ""),
        ("rejected", holds["rejected_s"], ""),
        ("damaged", holds["lost_s"], "and lost"),
        (
            "in no clip",
            max(0.0, holds["between_clips_s"] - holds["lost_s"]),
            "transitions, and clips in quarantine",
        ),
    )
    return [
        f"  {name:<10} {format_duration(seconds):>12} {format_percent(seconds / whole) if whole else '':>5}  "
        f"{note if seconds else ''}"
        for name, seconds, note in parts
        if seconds or name != "damaged"
    ]


def _reasons(holds: DatasetSummary) -> list[str]:
    """A line for each reason; a clip with several is in several."""
    reasons, seconds = holds["reject_reasons"], holds["reject_reasons_s"]
    if not reasons:
        return []
    several = "some clips for several reasons" if sum(reasons.values()) > holds["clips_rejected"] else ""
    words = {reason: in_words(reason) for reason in reasons}
    wide = max(map(len, words.values()))
    rows = [
        f"  {words[reason]:<{wide}} {_clips_of(number)} {format_duration(seconds[reason]):>12}"
        for reason, number in reasons.items()
    ]
    return [_line("rejected", several), *rows]


def _clips_of(number: int) -> str:
    """Figures below each other, whether one or many."""
    return f"{number:>8,} {'clip' if number == 1 else 'clips':<5}"


def _quarantine(reasons: Mapping[str, Mapping[str, int]]) -> str:
    names = {"sources": "source", "clips": "clip", "stretches": "stretch of a video"}
    parts = [
        f"{format_count(sum(of.values()), names[group], _MANY.get(group))}: {by_reason(of)}"
        for group, of in reasons.items()
        if of
    ]
    return "; ".join(parts) or "nothing"


def _some_of_it(holds: DatasetSummary) -> list[str]:
    """Some rows of the quarantine, each with why."""
    some = holds["quarantine_some"]
    lines = [
        single_line(f"  {name_of(row['source_uri'])}: {row['stage']}: {row['reason']}: {row['message']}")
        for row in some
    ]
    more = holds["quarantined"] + holds["gaps"] - len(some)
    return lines + ([f"  … and {more:,} more, in the quarantine table"] if more else [])


def _buckets(buckets: Mapping[str, DatasetSummary]) -> list[str]:
    wide = max((len(name) for name in buckets), default=0)
    return [
        f"  {name:<{wide}} {_clips_of(b['clips'])} {format_duration(b['hours'] * 3600):>12}"
        f"  in {format_count(b['shards'], 'shard')}, {format_bytes(b['bytes'])}"
        for name, b in buckets.items()
    ]
