"""Looks and index rows of clips → which pictures are copies of each other, perceptually or semantically.

In: a table of `LOOKS`, and the clips' rows of the index, both in any order. Out: pairs of contents, sorted.
Clips with the same frames have one `content`: exact copies need no pairs, and however many there are, one of
them is compared for all. Whether two contents are a pair depends on those two only (but see
`propose.MOST_CANDIDATES`), so footage that is added later finds the pairs that it would have found at once,
and what is stored of a clip never grows with the others.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.dedup import looks as stored
from pipelines.dedup.candidates import candidate_pairs
from pipelines.dedup.compare import compare
from pipelines.dedup.config import DedupConfig
from pipelines.media.picture_format import from_text, placement

EXACT, PERCEPTUAL, SEMANTIC = KINDS = ("exact", "perceptual", "semantic")

_Groups = Mapping[str, Sequence[Mapping[str, Any]]]  # clips by content


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """Two contents, a < b, of whose clips one would do; `kind` is the stronger of PERCEPTUAL and SEMANTIC
    that holds; similarity 0 … 1.
    """

    a: str
    b: str
    kind: str
    similarity: float


def content(clip: Mapping[str, Any]) -> str:
    """What exact copies share and others do not: the hash of all frames, of a row of the index, and how they
    are turned and cropped to be shown.
    """
    if not clip["frames_hash"]:
        return clip["clip_id"]
    shown = clip.get("picture_format") and from_text(clip["picture_format"])
    return f"{clip['frames_hash']}{placement(shown)}" if shown else clip["frames_hash"]


def find_pairs(looks: pa.Table, clips: Sequence[Mapping[str, Any]], cfg: DedupConfig) -> list[Pair]:
    """All pairs among the clips' contents, sorted.

    Args:
        looks: rows of `LOOKS`; a clip without one can only have exact copies.
        clips: rows of the index: `clip_id`, `frames_hash`, and `video_id` for what stands still.

    Raises:
        ValueError: a clip is there twice.
    """
    if twice := len(clips) - len({clip["clip_id"] for clip in clips}):
        raise ValueError(f"{twice} clips are listed twice; give each clip_id once")
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for clip in clips:
        groups[content(clip)].append(clip)
    found: dict[tuple[str, str], Pair] = {}
    for pair in _pairs(looks, groups, cfg):
        found.setdefault((pair.a, pair.b), pair)
    return sorted(found.values())


def _pairs(looks: pa.Table, groups: _Groups, cfg: DedupConfig) -> Iterator[Pair]:
    """The stronger kind first."""
    if cfg.perceptual:
        yield from _perceptual(looks, groups, cfg)
    if cfg.semantic is not None:
        yield from _semantic(looks, groups, cfg.semantic)


def _perceptual(looks: pa.Table, groups: _Groups, cfg: DedupConfig) -> Iterator[Pair]:
    names, rows = _representatives(looks, groups, "thumbs")
    views = stored.Looks(looks, rows)
    for i, j in candidate_pairs(views):
        likeness = compare(views[i], views[j], cfg)
        if likeness and not (likeness.still and _of_one_video(groups[names[i]], groups[names[j]])):
            yield Pair(names[i], names[j], PERCEPTUAL, likeness.similarity)


def _representatives(looks: pa.Table, groups: _Groups, column: str) -> tuple[list[str], list[int]]:
    """Contents, sorted, and of each the row of the look that stands for it: of the first clip_id that has the
    column."""
    contents = {clip["clip_id"]: name for name, group in groups.items() for clip in group}
    has = looks[column].is_valid().to_pylist()
    first: dict[str, tuple[str, int]] = {}
    for row, clip_id in enumerate(looks["clip_id"].to_pylist()):
        if clip_id in contents and has[row]:
            name = contents[clip_id]
            first[name] = min(first.get(name, (clip_id, row)), (clip_id, row))
    return sorted(first), [first[name][1] for name in sorted(first)]


def _of_one_video(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all are moments of one video, which look the same where nothing moves."""
    return all(clip["video_id"] == a[0]["video_id"] for group in (b, a) for clip in group)


def _semantic(looks: pa.Table, groups: _Groups, least: float) -> Iterator[Pair]:
    import faiss

    names, rows = _representatives(looks, groups, "embedding")
    if not names:
        return  # no clips, or none that a native frame lies in
    vectors = np.stack([looks["embedding"][row].values.to_numpy().astype(np.float32) for row in rows])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        limits, _, others = index.range_search(vectors, least - 1e-3)
    finally:
        faiss.omp_set_num_threads(threads)
    for i, name in enumerate(names):
        for j in sorted(others[limits[i] : limits[i + 1]].tolist()):
            cosine = float(vectors[i].astype(np.float64) @ vectors[j].astype(np.float64))
            if i < j and cosine >= least:
                yield Pair(name, names[j], SEMANTIC, min(1.0, cosine))
