"""The index of a dataset as the page reads it: columns for what is counted of all, rows for what is shown.

In: the index as record batches. Out: numbers, labels and decisions as arrays; of a clip a short row (where it
is, what became of it), and the full row of those few that are shown one by one. So a hundred thousand clips
never become a hundred thousand full rows, and no text is in memory but theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.dataset.reader import Dataset
from pipelines.dataset.schema import KEPT
from pipelines.scores.registry import SCORES

_SHORT = (
    "clip_id",
    "video_id",
    "source_uri",
    "shot_index",
    "start_kind",
    "start_pts",
    "start_s",
    "end_s",
    "num_frames",
    "fps",
    "width",
    "height",
    "codec",
    "status",
    "reject_reasons",
    "bucket",
    "shard",
    "offset",
    "size",
)


COLUMNS = tuple(dict.fromkeys((
    *_SHORT, *SCORES, "score_gaps", "score_models", "duplicate_of", "duplicate_kind", "duplicate_similarity",
)))  # fmt: skip
"""Of the index, that are held of every clip."""


@dataclass(frozen=True)
class Clips:
    """All clips, kept and rejected, in the order of the index.

    Attributes:
        table: its `COLUMNS`.
        index: all its columns, as often as it is iterated over.
    """

    table: pa.Table
    index: Iterable[pa.RecordBatch]

    @classmethod
    def of(cls, dataset: Dataset) -> Clips:
        return cls(dataset.index(COLUMNS).table(), dataset.index())

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The short row of every clip: place, decision, and how its frames are read."""
        return self.table.select([name for name in _SHORT if self.has(name)]).to_pylist()

    def full(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The full rows of clips given by their short ones."""
        clip_ids = pa.array([row["clip_id"] for row in rows], pa.string())
        found: dict[str, dict[str, Any]] = {}
        for batch in self.index if rows else ():
            these = batch.filter(pc.is_in(batch["clip_id"], clip_ids)).to_pylist()
            found |= {row["clip_id"]: row for row in these}
        return [found[row["clip_id"]] for row in rows]

    def row(self, clip_id: str) -> dict[str, Any] | None:
        """The short row of a clip, None if the index has no such clip."""
        place = self._places.get(clip_id)
        return None if place is None else self.rows[place]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {clip_id: place for place, clip_id in enumerate(self.table["clip_id"].to_pylist())}

    @cached_property
    def kept(self) -> np.ndarray:
        """bool (N)."""
        return pc.equal(self.table["status"], KEPT).to_numpy(zero_copy_only=False).astype(bool)

    @cached_property
    def duration_s(self) -> np.ndarray:
        """float64 (N)."""
        return self.numbers("end_s") - self.numbers("start_s")

    def has(self, name: str) -> bool:
        """Whether the index knows the column at all: an older one lacks newer scores."""
        return name in self.table.column_names

    def numbers(self, name: str) -> np.ndarray:
        """float64 (N), NaN where there is no value."""
        return self.table[name].cast(pa.float64()).to_numpy(zero_copy_only=False)

    def column(self, name: str) -> list[Any]:
        """Python values of a column, a None for each clip where the index lacks it."""
        return self.table[name].to_pylist() if self.has(name) else [None] * len(self)
