"""The index of a dataset as the page reads it: columns for what is counted of all, rows for what is shown.

In: the Arrow table of the index. Out: numbers, labels and decisions as arrays; of a clip a short row (where
it is, what became of it), and the full row of those few that are shown one by one. So a hundred thousand
clips never become a hundred thousand full rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.dataset.schema import KEPT

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


@dataclass(frozen=True)
class Clips:
    """All clips, kept and rejected, in the order of the index."""

    table: pa.Table

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The short row of every clip: place, decision, and how its frames are read."""
        return self.table.select([name for name in _SHORT if self.has(name)]).to_pylist()

    def full(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The full rows of clips given by their short ones."""
        places = [self._places[row["clip_id"]] for row in rows]
        return self.table.take(pa.array(places, pa.int64())).to_pylist()  # typed: none are of no type else

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
