"""The clips one by one: what each looks like, what is said of it, what was measured.

In: the index of a dataset. Out: cards of kept clips with a filmstrip, and of rejected ones with the reason. Of many, a
sample spread over all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from jobs.progress import Bar
from jobs.reporting.media import Footage, clip_frames, strip_uri
from jobs.reporting.sampling import spread
from jobs.reporting.text import clock, figure, length, size, words
from pipelines.dataset import Dataset
from pipelines.scores.registry import SCORES

_TAGS = ("subject", "setting", "camera", "light", "motion", "style")
_STRIP_HEIGHT = 104
_STRIP_ASPECT = 7.0  # of a whole filmstrip: wide pictures get few frames, upright ones many, and cards are equally high


@dataclass(frozen=True, slots=True)
class Measure:
    """A score of a clip: name, value, unit."""

    name: str
    value: str
    unit: str


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
    """The cards that are shown, and how many clips there are."""

    kept: list[Card]
    all_kept: int
    rejected: list[Card]
    all_rejected: int


def choose(clips: Iterable[Mapping[str, Any]], most: int) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Kept and rejected clips to show, `most` of each at the most, in the order of the footage."""
    ordered = sorted(clips, key=lambda c: (c["source_uri"], c["start_s"], c["clip_id"]))
    return (
        spread([c for c in ordered if c["status"] == "kept"], most),
        spread([c for c in ordered if c["status"] == "rejected"], most),
    )


def gallery_view(
    dataset: Dataset, clips: Sequence[Mapping[str, Any]], footage: Footage, most: int, bar: Bar
) -> GalleryView:
    """Cards of at most `most` kept and as many rejected clips."""
    kept, rejected = choose(clips, most)
    cards: dict[str, list[Card]] = {"kept": [], "rejected": []}
    for row in (*kept, *rejected):
        cards[row["status"]].append(_card(dataset, row, footage))
        bar.advance()
    all_kept = sum(c["status"] == "kept" for c in clips)
    return GalleryView(cards["kept"], all_kept, cards["rejected"], len(clips) - all_kept)


def _card(dataset: Dataset, row: Mapping[str, Any], footage: Footage) -> Card:
    is_kept = row["status"] == "kept"
    num = min(12, max(2, round(_STRIP_ASPECT / (row["width"] / row["height"])))) if is_kept else 1
    frames = clip_frames(dataset, row, num, _STRIP_HEIGHT) if is_kept else footage.frames(row, num, _STRIP_HEIGHT)
    facts = [
        f"{row['width']} × {row['height']}",
        f"{figure(row['fps'])} fps",
        f"{length(row['end_s'] - row['start_s'])}, {row['num_frames']:,} frames",
    ]
    if is_kept:
        facts += [row["bucket"], size(row["size"]), _cut(row)]
    return Card(
        clip_id=row["clip_id"],
        source=PurePosixPath(row["source_uri"]).name,
        span=f"{clock(row['start_s'])}–{clock(row['end_s'])}",
        status=row["status"],
        reasons=words(row["reject_reasons"] or ()),
        strip=None if frames is None else strip_uri(frames),
        strip_width=0 if frames is None else frames.shape[0] * frames.shape[2],
        strip_height=_STRIP_HEIGHT,
        short=row["caption_short"] or "",
        dense=row["caption_dense"] or "",
        own_text=row.get("source_text") or "",
        captioner=row.get("caption_model") or "",
        tags=[(kind, tag) for kind in _TAGS for tag in row.get(f"tag_{kind}") or ()],
        facts=facts,
        measures=[
            Measure(words([name.removesuffix("_s")]), _value(row.get(name)), score.unit if not score.is_label else "")
            for name, score in SCORES.items()
        ],
    )


def _cut(row: Mapping[str, Any]) -> str:
    lead = row["lead_frames"] or 0
    return f"cut: {row['cut_method']}" + (f", {lead} lead frames" if lead else "")


def _value(value: float | str | None) -> str:
    return value if isinstance(value, str) else figure(value)
