"""Which clips of a dataset are meant: filters, an order and a limit over its index.

In: a dataset and a `ClipFilter`. Out: rows of the index, with the columns that are wanted; of the index
nothing else is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import pyarrow as pa
import pyarrow.compute as pc

from jobs.cli.fields import near_miss
from jobs.cli.formatting import format_count, format_duration
from jobs.listing.sources import videos_of
from pipelines.dataset.reader import Dataset
from pipelines.dataset.schema import INDEX
from pipelines.dataset.table_stream import as_table
from pipelines.scores.registry import REASONS

_ALWAYS = ("clip_id", "source_uri", "status", "reject_reasons", "bucket", "duration_s")
_NULL = "is null"  # no column of the index is called so


@dataclass(frozen=True, slots=True)
class ClipFilter:
    """What a user asks for, as typed; None where nothing is asked."""

    status: str | None = None
    reason: str | None = None
    source: str | None = None
    bucket: str | None = None
    clip: str | None = None
    sort: str | None = None


@dataclass(frozen=True, slots=True)
class SelectedClips:
    """Rows of the index in the order asked for, and the ids of all clips that there are."""

    rows: pa.Table
    all_ids: Sequence[str]

    def summary(self, shown: int) -> str:
        """How many of these are shown, of how many there are: one line."""
        found, whole = len(self.rows), len(self.all_ids)
        if not found:
            return f"no clip matches, of {format_count(whole, 'clip')} in the dataset"
        seconds = format_duration(pc.sum(self.rows["duration_s"]).as_py())
        match = (
            format_count(found, "clip") if found == whole else f"{format_count(found, 'clip')} of {whole:,}"
        )
        if shown < found:
            return f"{shown:,} shown of {match}, {seconds}; limit={found} shows all"
        return f"{match}, {seconds}"


def select_clips(dataset: Dataset, choice: ClipFilter, columns: Sequence[str]) -> SelectedClips:
    """The clips that are meant.

    Args:
        columns: of the index, that the rows are to have.

    Raises:
        ValueError: there is no such reason, bucket, source or column to sort by; names the near miss.
    """
    if choice.reason is not None and choice.reason not in REASONS:
        guess = near_miss(choice.reason, REASONS) or f"; it is one of {', '.join(REASONS)}"
        raise ValueError(f"reason={choice.reason} is not known{guess}")
    by, order = _order(choice.sort)
    wanted = list(dict.fromkeys([*_ALWAYS, *columns, *([by] if by else [])]))
    sources = None if choice.source is None else pa.array(videos_of(dataset, choice.source), pa.string())
    buckets = None if choice.bucket is None else pa.array(_buckets(dataset, choice.bucket), pa.string())
    all_ids: list[str] = []
    matches: list[pa.RecordBatch] = []
    index = dataset.index(wanted)
    for batch in index:
        all_ids += batch["clip_id"].to_pylist()
        if choice.status is not None:
            batch = batch.filter(pc.equal(batch["status"], choice.status))
        if choice.reason is not None:
            has = [choice.reason in reasons for reasons in batch["reject_reasons"].to_pylist()]
            batch = batch.filter(pa.array(has, pa.bool_()))
        if sources is not None:
            batch = batch.filter(pc.is_in(batch["source_uri"], sources))
        if buckets is not None:
            batch = batch.filter(pc.is_in(batch["bucket"], buckets))
        if choice.clip is not None:
            batch = batch.filter(pc.starts_with(batch["clip_id"], choice.clip))
        matches.append(batch)
    rows = as_table(matches, index.schema)
    if by:
        nulls_last = rows.append_column(_NULL, pc.is_null(rows[by]))
        rows = rows.take(pc.sort_indices(nulls_last, [(_NULL, "ascending"), (by, order)]))
    return SelectedClips(rows, all_ids)


def sortable() -> list[str]:
    """Columns that have an order."""
    return [field.name for field in INDEX if not pa.types.is_nested(field.type)]


def _order(sort: str | None) -> tuple[str | None, str]:
    if sort is None:
        return None, "ascending"
    name = sort.removeprefix("-")
    if name not in sortable():
        known = INDEX.names
        why = (
            "has no order: it is a list"
            if name in known
            else f"is no column of the index{near_miss(name, sortable())}"
        )
        raise ValueError(f"sort={sort}: {name} {why}")
    return name, "descending" if sort.startswith("-") else "ascending"


def _buckets(dataset: Dataset, bucket: str) -> list[str]:
    """Those of a name, or of a pattern."""
    names: set[str | None] = set()
    for batch in dataset.index(["bucket"]):
        names.update(batch["bucket"].unique().to_pylist())
    there = sorted(name for name in names if name is not None)
    found = [name for name in there if name == bucket or fnmatchcase(name, bucket)]
    if not found:
        guess = near_miss(bucket, there) or f"; there are {', '.join(there) or 'none'}"
        raise ValueError(f"bucket={bucket}: no clip is in it{guess}")
    return found
