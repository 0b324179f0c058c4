"""Pairs of copies → which clip is kept and which are duplicates of it.

In: index rows of the clips that pass every other rule, and pairs. Out: for each duplicate, the better copy that is kept. A
pure function of the two sets: clips are taken from the best to the worst, and one is kept unless a kept one is directly its
copy. There are no chains: what a duplicate names is kept, and similar to it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.dedup.pairs import KINDS, Pair


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The kept copy that stands for a clip, what kind of copy it is, and how similar, 0 … 1."""

    of: str
    kind: str
    similarity: float


def duplicates(clips_that_pass: Sequence[Mapping[str, Any]], pairs: Sequence[Pair]) -> dict[str, Duplicate]:
    """Duplicates among the clips, by clip_id; all others are kept.

    Args:
        clips_that_pass: rows of the index: `clip_id`, the safe rectangle, `start_s`, `end_s`, `sharpness`.
        pairs: of these and of other clips, which don't count: a clip that is rejected anyway stands for no other.
    """
    copies: dict[str, list[tuple[str, Pair]]] = defaultdict(list)
    for pair in pairs:
        copies[pair.a].append((pair.b, pair))
        copies[pair.b].append((pair.a, pair))
    kept: dict[str, int] = {}
    found: dict[str, Duplicate] = {}
    for clip in sorted(clips_that_pass, key=_worth):
        mine = [(other, pair) for other, pair in copies[clip["clip_id"]] if other in kept]
        if not mine:
            kept[clip["clip_id"]] = len(kept)
            continue
        of, pair = min(mine, key=lambda m: (KINDS.index(m[1].kind), -m[1].similarity, kept[m[0]]))
        found[clip["clip_id"]] = Duplicate(of, pair.kind, pair.similarity)
    return found


def _worth(clip: Mapping[str, Any]) -> tuple[float, float, float, str]:
    """Best first: more pixels of picture, then longer, then sharper; the clip_id settles the rest."""
    pixels = clip["safe_width"] * clip["safe_height"]
    return -pixels, -(clip["end_s"] - clip["start_s"]), -(clip.get("sharpness") or 0.0), clip["clip_id"]
