"""Looks → pairs that may be copies: faiss finds moments of one clip that look like a window of a moment of
another.

In: looks. Out: pairs of their numbers, each once. Whether a pair is proposed depends on its two clips only,
so adding others changes nothing: the index is searched by radius, not for the k nearest, and its cells are
drawn once from a fixed seed, not trained; for the same reason few clips are searched as many are.
`MAX_CANDIDATES` is the one exception: a clip with more look-alikes keeps the nearest, so that one set filmed
ten thousand times does not take for ever.

A clip is found by moments 0.25 s apart (108 bytes each), and looks for others by all windows of moments 1 s
apart; moments in which nothing is new count once. `python -m benchmarks.measure.score_duplicates clips=<n>`
tells what that takes.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pipelines.dedup.crop_windows import DIMENSIONS, coarse, describe
from pipelines.dedup.looks import Look
from pipelines.dedup.registration import step_s

MAX_CANDIDATES = 200  # of one clip
_CELLS, _VISITED = 4096, 4  # of the index; how many of them a query looks into
_RADIUS = 0.88  # least cosine of two moments
_KEY_S, _QUERY_S = 0.25, 1.0  # between a clip's moments that are found, and that are looked for
_SAME_KEY, _SAME_QUERY = 0.998, 0.99  # cosine to the moment before, from which on there is nothing new
_QUERIES_AT_ONCE = 1 << 18


def candidate_pairs(looks: Sequence[Look]) -> list[tuple[int, int]]:
    """Candidate pairs (i, j), i < j, in an order that depends only on the looks."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        return _search(looks, faiss)
    finally:
        faiss.omp_set_num_threads(threads)


def _search(looks: Sequence[Look], faiss: Any) -> list[tuple[int, int]]:
    quantizer = faiss.IndexFlatIP(DIMENSIONS)
    quantizer.add(_cells())
    index = faiss.IndexIVFFlat(quantizer, DIMENSIONS, _CELLS, faiss.METRIC_INNER_PRODUCT)
    assert index.is_trained, "the cells are given, nothing is left to train"
    index.nprobe = _VISITED
    owners = []
    for number, vectors in _moments(looks, _KEY_S, _SAME_KEY, whole_only=True):
        index.add(vectors)
        owners.append(np.full(len(vectors), number, np.int32))
    if not owners:
        return []
    owner = np.concatenate(owners)
    best: dict[int, dict[int, float]] = {}
    for askers, vectors in _batches(_moments(looks, _QUERY_S, _SAME_QUERY, whole_only=False)):
        limits, similar, found = index.range_search(vectors, _RADIUS)
        asker = np.repeat(askers, np.diff(limits).astype(np.int64))
        _keep_best(best, asker, owner[found], similar)
    pairs: set[tuple[int, int]] = set()
    for one, candidates in best.items():
        nearest = sorted(candidates, key=lambda other: (-candidates[other], other))[:MAX_CANDIDATES]
        pairs |= {(min(one, other), max(one, other)) for other in nearest}
    return sorted(pairs)


def _cells() -> np.ndarray:
    """Directions (cells, DIMENSIONS), spread evenly."""
    directions = np.random.default_rng(1).standard_normal((_CELLS, DIMENSIONS)).astype(np.float32)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _moments(
    looks: Iterable[Look], every_s: float, same: float, whole_only: bool
) -> Iterable[tuple[int, np.ndarray]]:
    """(number, descriptions) of each look: of its thumbnails `every_s` apart that show something new, in all
    windows."""
    for number, look in enumerate(looks):
        # shorter than the time between two thumbnails: only exact copies of it are found
        if not len(look.thumbs):
            continue
        every = max(1, round(every_s / (step_s(look) or every_s)))
        pictures = coarse(look.thumbs[::every], whole_only)
        news = [0]
        for k in range(1, pictures.shape[1]):
            if float(pictures[0, k] @ pictures[0, news[-1]]) < same:
                news.append(k)
        vectors = describe(pictures[:, news]).reshape(-1, DIMENSIONS)
        yield (
            number,
            np.ascontiguousarray(vectors[np.linalg.norm(vectors, axis=1) > 0.5]),
        )  # flat ones have no direction


def _batches(moments: Iterable[tuple[int, np.ndarray]]) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """(number of the look of each row, rows), many looks at once."""
    numbers: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    count = 0
    for number, vectors in moments:
        numbers.append(np.full(len(vectors), number, np.int32))
        rows.append(vectors)
        count += len(vectors)
        if count >= _QUERIES_AT_ONCE:
            yield np.concatenate(numbers), np.concatenate(rows)
            numbers, rows, count = [], [], 0
    if count:
        yield np.concatenate(numbers), np.concatenate(rows)


def _keep_best(
    best: dict[int, dict[int, float]], asker: np.ndarray, other: np.ndarray, similar: np.ndarray
) -> None:
    """Add what was found: of each pair of looks the highest cosine."""
    real = asker != other
    asker, other, similar = asker[real], other[real], similar[real]
    order = np.lexsort((-similar, other, asker))
    asker, other, similar = asker[order], other[order], similar[order]
    first = np.ones(len(asker), bool)
    first[1:] = (asker[1:] != asker[:-1]) | (other[1:] != other[:-1])
    for a, b, value in zip(
        asker[first].tolist(), other[first].tolist(), similar[first].tolist(), strict=True
    ):
        mine = best.setdefault(a, {})
        mine[b] = max(value, mine.get(b, -1.0))
