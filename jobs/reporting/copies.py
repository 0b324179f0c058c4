"""Clips that were found to be copies, beside the best copy that is kept for all of them.

In: the index. Out: a group per kept clip, with kind and similarity of each of its copies. Of many groups, a
sample spread over all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import pyarrow.compute as pc

from jobs.cli.formatting import format_number
from jobs.reporting.drawing.thumbs import Thumb, Thumbs
from jobs.reporting.index import Clips
from pipelines.even_sample import even_sample

_MOST_GROUPS = 12
_MOST_COPIES = 6
_COLUMNS = ("clip_id", "duplicate_of", "duplicate_kind", "duplicate_similarity")


@dataclass(frozen=True, slots=True)
class Copy:
    """A clip that another one stands for."""

    thumb: Thumb
    kind: str
    similarity: str


@dataclass(frozen=True, slots=True)
class Group:
    """The kept copy and those it stands for; `best` is None if the index no longer has it."""

    best_id: str
    best: Thumb | None
    copies: list[Copy]
    all_copies: int


@dataclass(frozen=True, slots=True)
class CopiesView:
    """The groups that are shown, how many there are, and how many copies of each kind."""

    groups: list[Group]
    all_groups: int
    kinds: list[tuple[str, int]]


def copies_view(clips: Clips, thumbs: Thumbs) -> CopiesView:
    """Groups of copies, the most similar of each group first."""
    if not clips.has("duplicate_of"):
        return CopiesView([], 0, [])
    held = defaultdict(list)
    for copy in clips.table.filter(pc.is_valid(clips.table["duplicate_of"])).select(_COLUMNS).to_pylist():
        held[copy["duplicate_of"]].append(copy)
    groups = []
    for best_id in even_sample(sorted(held), _MOST_GROUPS):
        best = clips.row(best_id)
        ordered = sorted(held[best_id], key=lambda c: (-(c["duplicate_similarity"] or 0.0), c["clip_id"]))
        copies = [
            Copy(
                thumbs.get(row),
                c["duplicate_kind"] or "",
                format_number(c["duplicate_similarity"]),
            )
            for c in ordered[:_MOST_COPIES]
            if (row := clips.row(c["clip_id"])) is not None
        ]
        groups.append(Group(best_id, thumbs.get(best) if best else None, copies, len(ordered)))
    kinds = Counter(copy["duplicate_kind"] or "" for group in held.values() for copy in group)
    return CopiesView(groups, len(held), sorted(kinds.items(), key=lambda item: (-item[1], item[0])))
