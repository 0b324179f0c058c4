"""Sources → videos → clips → kept: what each step leaves, what it loses, and why.

In: the tables of a dataset. Out: bars, each divided into what goes on to the next and what is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.cli.formatting import format_count, format_duration, format_words
from jobs.reporting.index import Clips
from pipelines.dataset.schema import KEPT, is_gap
from pipelines.scores.registry import DUPLICATE

_SEVERAL = "several reasons"
_MOST_REASONS = 8


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a bar: its share of the bar in percent, its style, what it is, and how much."""

    share: float
    style: str  # kept, rejected, quarantined or quiet
    name: str
    amount: str

    @property
    def goes_on(self) -> bool:
        return self.style == KEPT


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """A bar; the part that goes on, if there is one, is the first."""

    name: str
    total: str
    parts: list[Part]

    @property
    def goes_on(self) -> float:
        """Percent of the bar."""
        return sum(part.share for part in self.parts if part.goes_on)


def funnel(
    clips: Clips, sources: Sequence[Mapping[str, Any]], quarantine: Sequence[Mapping[str, Any]]
) -> list[FunnelStep]:
    """The four stages. Sources and clips are counted, videos are measured in time: that is what cutting loses
    of them."""
    status = Counter(source["status"] for source in sources)
    lost = [row for row in quarantine if row["clip_id"] is not None]
    footage_s = sum(source["duration_s"] or 0.0 for source in sources if source["status"] == "video")
    all_s, kept_s = float(clips.duration_s.sum()), float(clips.duration_s[clips.kept].sum())
    num_kept = int(clips.kept.sum())
    first = _stage(
        "sources",
        format_count(len(sources), "file"),
        [
            (status["video"], KEPT, "videos", f"{status['video']:,}"),
            (status["duplicate"], "quiet", "the same bytes as another", f"{status['duplicate']:,}"),
            (status["ignored"], "quiet", "not media", f"{status['ignored']:,}"),
            *_troubles([row for row in quarantine if row["clip_id"] is None and not is_gap(row)]),
        ],
    )
    between_s = max(0.0, footage_s - all_s)
    between = "in transitions, and between shots" + (
        ", or lost to damage" if any(map(is_gap, quarantine)) else ""
    )
    second = _stage(
        "videos",
        f"{format_count(status['video'], 'video')}, {format_duration(footage_s)}",
        [
            (all_s, KEPT, "in clips", format_duration(all_s)),
            (between_s, "quiet", between, format_duration(between_s)),
        ],
    )
    third = _stage(
        "clips",
        f"{format_count(len(clips) + len(lost), 'clip')}, {format_duration(all_s)}",
        [(num_kept, KEPT, "kept", f"{num_kept:,}"), *_reasons(clips), *_troubles(lost)],
    )
    kept = FunnelStep(
        "kept",
        f"{format_count(num_kept, 'clip')}, {format_duration(kept_s)}",
        [Part(100.0, KEPT, "in the dataset", f"{num_kept:,}")] if num_kept else [],
    )
    return [first, second, third, kept]


def _stage(name: str, total: str, parts: Sequence[tuple[float, str, str, str]]) -> FunnelStep:
    whole = sum(amount for amount, _, _, _ in parts) or 1.0
    shown = [Part(round(100 * a / whole, 3), style, what, said) for a, style, what, said in parts if a]
    return FunnelStep(name, total, shown)


def _troubles(rows: Sequence[Mapping[str, Any]]) -> list[tuple[float, str, str, str]]:
    reasons = Counter(row["reason"] for row in rows).most_common()
    said = [
        (n, f"quarantined: {format_words([reason])}")
        for reason, n in sorted(reasons, key=lambda r: (-r[1], r[0]))
    ]
    return [(n, "quarantined", what, f"{n:,}") for n, what in said]


def _reasons(clips: Clips) -> list[tuple[float, str, str, str]]:
    """Rejected clips by reason, each clip once: under its only reason, or among those with several."""
    found = Counter(
        reasons[0] if len(reasons) == 1 else _SEVERAL
        for reasons, kept in zip(clips.column("reject_reasons"), clips.kept, strict=True)
        if not kept
    )
    copies, several = found.pop(DUPLICATE, 0), found.pop(_SEVERAL, 0)
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    shown, rest = ordered[:_MOST_REASONS], sum(n for _, n in ordered[_MOST_REASONS:])
    named = [(format_words([reason]), n) for reason, n in shown] + [
        ("other reasons", rest),
        (_SEVERAL, several),
    ]
    parts = [(n, "rejected", what) for what, n in named] + [(copies, "quiet", "copies of a better clip")]
    return [(n, style, what, f"{n:,}") for n, style, what in parts if n]
