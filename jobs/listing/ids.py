"""Ids of clips, short enough to type: as many digits as tell all clips of a dataset apart.

In: ids. Out: how many of their digits are enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipelines.dataset.reader import Dataset

_FEWEST = 8


def ids_of(dataset: Dataset) -> Iterator[str]:
    """Ids of all clips, in the order of the index."""
    for batch in dataset.index(["clip_id"]):
        yield from batch["clip_id"].to_pylist()


def short_length(clip_ids: Iterable[str]) -> int:
    """How many digits tell these ids apart: at least 8, so that it seldom changes as a dataset grows."""
    ids, digits = set(clip_ids), _FEWEST
    while len({clip_id[:digits] for clip_id in ids}) < len(ids):
        digits += 1
    return digits
