"""Pairs of copies → which clip is kept and which are duplicates of it.

In: index rows of the clips that pass every other rule, and pairs of contents. Out: for each duplicate, the
better copy that is kept. A pure function of the two sets: clips are taken from the best to the worst, and one
is kept unless a kept one is directly its copy: has its content, or one that is a pair with it. There are no
chains: what a duplicate names is kept, and similar to it. Work grows with clips times the pairs of a content,
not with how many clips have the same content.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.dedup.pairs import EXACT, KINDS, Pair, content


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The kept clip that a duplicate refers to, the kind of duplicate, and the similarity, 0 … 1."""

    kept_clip_id: str
    kind: str
    similarity: float


def duplicates(clips_that_pass: Sequence[Mapping[str, Any]], pairs: Sequence[Pair]) -> dict[str, Duplicate]:
    """Duplicates among the clips, by clip_id; all others are kept.

    Args:
        clips_that_pass: rows of the index: `clip_id`, `frames_hash`, the safe rectangle, `width`, `height`,
        `start_s`, `end_s`, `sharpness`.
        pairs: of the contents of these and of other clips, which don't count: a clip that is rejected anyway
            stands for no other.
    """
    copies: dict[str, list[tuple[str, Pair]]] = defaultdict(list)
    for pair in pairs:
        copies[pair.a].append((pair.b, pair))
        copies[pair.b].append((pair.a, pair))
    # of exact copies one only: by content, how many are better, and its clip_id
    kept: dict[str, tuple[int, str]] = {}
    found: dict[str, Duplicate] = {}
    for clip in sorted(clips_that_pass, key=_worth):
        clip_id, shown = clip["clip_id"], content(clip)
        if shown in kept:
            found[clip_id] = Duplicate(kept[shown][1], EXACT, 1.0)
            continue
        mine = [(other, pair) for other, pair in copies.get(shown, ()) if other in kept]
        if mine:
            of, pair = min(mine, key=lambda m: (KINDS.index(m[1].kind), -m[1].similarity, kept[m[0]]))
            found[clip_id] = Duplicate(kept[of][1], pair.kind, pair.similarity)
        else:
            kept[shown] = (len(kept), clip_id)
    return found


def _worth(clip: Mapping[str, Any]) -> tuple[float, float, float, str]:
    """Best first: more pixels of picture, then longer, then sharper; the clip_id settles the rest. Where bars
    were not looked for, as in datasets of schema 1, all of it is picture.
    """
    safe = clip["safe_width"], clip["safe_height"]
    width, height = (clip["width"], clip["height"]) if None in safe else safe
    pixels = width * height
    return -pixels, -(clip["end_s"] - clip["start_s"]), -(clip.get("sharpness") or 0.0), clip["clip_id"]
