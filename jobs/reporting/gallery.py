"""The clips one by one: what each looks like, what is said of it, what was measured.

In: the index of a dataset. Out: cards of kept clips with a filmstrip, and of rejected ones with the reason.
Of many, a sample spread over all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from jobs.cli.formatting import format_bytes, format_duration, format_number, format_timestamp, format_words
from jobs.reporting.drawing.media import strip_uri
from jobs.reporting.drawing.pictures import Pictures
from jobs.reporting.index import Clips
from pipelines.even_sample import even_sample
from pipelines.scores.registry import SCORES

_TAGS = ("subject", "setting", "camera", "light", "motion", "style")
_MOST_ITEMS = 12  # of a list, like the boxes of text
_STRIP_HEIGHT = 104
# of a whole filmstrip: wide pictures get few frames, upright ones many, and cards are equally high
_STRIP_ASPECT = 7.0


@dataclass(frozen=True, slots=True)
class Measure:
    """A score of a clip: name, value, and its unit; of a missing one, why it is missing."""

    name: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Card:
    """One clip."""

    clip_id: str
    source: str
    span: str
    status: str
    reasons: str
    strip: str | None
    strip_width: int
    strip_height: int
    short: str
    dense: str
    own_text: str
    captioner: str
    tags: list[tuple[str, str]]
    facts: list[str]
    measures: list[Measure]


@dataclass(frozen=True, slots=True)
class GalleryView:
    """The cards that are shown, how many clips there are, and why a rejected one may have no picture."""

    kept: list[Card]
    all_kept: int
    rejected: list[Card]
    all_rejected: int
    no_picture: str = ""


def choose(
    clips: Iterable[Mapping[str, Any]], most: int
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Kept and rejected clips to show, `most` of each at the most, in the order of the footage."""
    ordered = sorted(clips, key=lambda c: (c["source_uri"], c["start_s"], c["clip_id"]))
    return (
        even_sample([c for c in ordered if c["status"] == "kept"], most),
        even_sample([c for c in ordered if c["status"] == "rejected"], most),
    )


def gallery_view(clips: Clips, pictures: Pictures, most: int, no_picture: str) -> GalleryView:
    """Cards of at most `most` kept and as many rejected clips."""
    chosen = choose(clips.rows, most)
    cards: tuple[list[Card], list[Card]] = ([], [])
    for made, rows in zip(cards, chosen, strict=True):
        made += [_card(row, pictures) for row in clips.full(rows)]
    all_kept = int(clips.kept.sum())
    return GalleryView(cards[0], all_kept, cards[1], len(clips) - all_kept, no_picture)


def _card(row: Mapping[str, Any], pictures: Pictures) -> Card:
    is_kept = row["status"] == "kept"
    num = min(12, max(2, round(_STRIP_ASPECT / (row["width"] / row["height"])))) if is_kept else 1
    frames = pictures.get(row, num, _STRIP_HEIGHT)
    facts = [
        f"{row['width']} × {row['height']}",
        *_safe(row),
        f"{format_number(row['fps'])} fps",
        f"{format_duration(row['end_s'] - row['start_s'])}, {row['num_frames']:,} frames",
    ]
    if is_kept:
        facts += [row["bucket"], format_bytes(row["size"]), _cut(row)]
    return Card(
        clip_id=row["clip_id"],
        source=PurePosixPath(row["source_uri"]).name,
        span=f"{format_timestamp(row['start_s'])}–{format_timestamp(row['end_s'])}",
        status=row["status"],
        reasons=format_words(row["reject_reasons"] or ()),
        strip=None if frames is None else strip_uri(frames),
        strip_width=0 if frames is None else frames.shape[0] * frames.shape[2],
        strip_height=_STRIP_HEIGHT,
        short=row["caption_short"] or "",
        dense=row["caption_dense"] or "",
        own_text=row.get("source_text") or "",
        captioner=row.get("caption_model") or "",
        tags=[(kind, tag) for kind in _TAGS for tag in row.get(f"tag_{kind}") or ()],
        facts=facts,
        measures=_measures(row),
    )


def _cut(row: Mapping[str, Any]) -> str:
    lead = row["lead_frames"] or 0
    return f"cut: {row['cut_method']}" + (f", {lead} lead frames" if lead else "")


def _safe(row: Mapping[str, Any]) -> list[str]:
    """The picture without bars, where there are bars."""
    safe = tuple(row.get(f"safe_{side}") for side in ("x", "y", "width", "height"))
    if None in safe or safe == (0, 0, row["width"], row["height"]):
        return []
    return [f"picture {safe[2]} × {safe[3]} at {safe[0]}, {safe[1]}"]


def _measures(row: Mapping[str, Any]) -> list[Measure]:
    missing = {gap["score"]: gap["why"] for gap in row.get("score_gaps") or ()}
    found = []
    for name, score in SCORES.items():
        unit = "" if score.unit == "label" else score.unit
        value = row.get(name)
        found.append(
            Measure(
                format_words([name.removesuffix("_s")]),
                as_text(value),
                unit if value is not None else missing.get(name, ""),
            )
        )
    return found


def as_text(value: Any) -> str:
    """A value of any score: a number, words, boxes, tags, lists of them."""
    if isinstance(value, Mapping):
        return ", ".join(
            f"{format_words([key])} {as_text(inner)}" for key, inner in value.items() if inner is not None
        )
    if isinstance(value, list | tuple):
        more = [f"and {len(value) - _MOST_ITEMS:,} more"] if len(value) > _MOST_ITEMS else []
        return "; ".join([*(as_text(inner) for inner in value[:_MOST_ITEMS]), *more]) or "none"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return format_number(value)
    return format_number(None) if value is None else str(value)
