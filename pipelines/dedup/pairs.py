"""Looks and index rows of clips → which of them are copies of each other: exact, perceptual and semantic pairs.

In: a table of `LOOKS`, and the clips' rows of the index, both in any order. Out: pairs, sorted. Whether two clips are
a pair depends on those two only (but see `propose.MOST_CANDIDATES`), so footage that is added later finds the pairs that it
would have found at once, and what is stored of a clip never grows with the others.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.config import DedupConfig
from pipelines.dedup import looks as stored
from pipelines.dedup.compare import compare
from pipelines.dedup.propose import look_alikes

VERSION = 1
EXACT, PERCEPTUAL, SEMANTIC = KINDS = ("exact", "perceptual", "semantic")


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """Two clips of which one would do: clip_ids a < b; `kind` is the strongest of `KINDS` that holds; similarity 0 … 1."""

    a: str
    b: str
    kind: str
    similarity: float


def find_pairs(looks: pa.Table, clips: Sequence[Mapping[str, Any]], cfg: DedupConfig) -> list[Pair]:
    """All pairs among the clips, sorted.

    Args:
        looks: rows of `LOOKS`; a clip without one can only have exact copies.
        clips: rows of the index: `clip_id`, `frames_hash`, and `video_id`, `start_pts`, `end_pts` for what stands still.

    Raises:
        ValueError: a clip is there twice, or `cfg.semantic` is set but no clip has an embedding.
    """
    rows = {clip["clip_id"]: clip for clip in clips}
    if len(rows) < len(clips):
        raise ValueError(f"{len(clips) - len(rows)} clips are listed twice; give each clip_id once")
    found: dict[tuple[str, str], Pair] = {}
    for pair in _pairs(looks, rows, cfg):
        found.setdefault((pair.a, pair.b), pair)
    return sorted(found.values())


def _pairs(looks: pa.Table, rows: Mapping[str, Mapping[str, Any]], cfg: DedupConfig) -> Iterator[Pair]:
    """The strongest kind first."""
    yield from _exact(rows)
    if cfg.perceptual:
        yield from _perceptual(looks, rows, cfg)
    if cfg.semantic is not None:
        yield from _semantic(looks, rows, cfg.semantic)


def _exact(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[Pair]:
    same: dict[str, list[str]] = defaultdict(list)
    for clip_id, clip in rows.items():
        if clip["frames_hash"]:
            same[clip["frames_hash"]].append(clip_id)
    for group in same.values():
        for a, b in combinations(sorted(group), 2):
            yield Pair(a, b, EXACT, 1.0)


def _perceptual(looks: pa.Table, rows: Mapping[str, Mapping[str, Any]], cfg: DedupConfig) -> Iterator[Pair]:
    names, views = _known(looks, rows)
    for i, j in look_alikes(views):
        likeness = compare(views[i], views[j], cfg)
        if likeness and not (likeness.still and _two_moments(rows[names[i]], rows[names[j]])):
            yield Pair(names[i], names[j], PERCEPTUAL, likeness.similarity)


def _known(looks: pa.Table, wanted: Collection[str]) -> tuple[list[str], stored.Looks]:
    """The wanted clips that have a look, in order of their names, whatever the order of the table."""
    named = sorted((name, row) for row, name in enumerate(looks["clip_id"].to_pylist()) if name in wanted)
    return [name for name, _ in named], stored.Looks(looks, [row for _, row in named])


def _two_moments(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether these are different times of one video, which look the same where nothing moves."""
    apart = a["end_pts"] <= b["start_pts"] or b["end_pts"] <= a["start_pts"]
    return a["video_id"] == b["video_id"] and apart


def _semantic(looks: pa.Table, wanted: Collection[str], least: float) -> Iterator[Pair]:
    import faiss

    columns = (looks["clip_id"].to_pylist(), looks["embedding"])
    known = sorted((name, row) for row, name in enumerate(columns[0]) if name in wanted and columns[1][row].is_valid)
    if not known:
        raise ValueError(
            f"dedup.semantic={least} compares embeddings, but no clip has one; set scores.tags=true, or dedup.semantic=null"
        )
    names = [name for name, _ in known]
    vectors = np.stack([columns[1][row].values.to_numpy().astype(np.float32) for _, row in known])
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
