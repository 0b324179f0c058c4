"""A table of a dataset as a stream: one record batch after another, with the columns that were asked for.

In: the parquet files of the table in their store, and a schema. Out: record batches or rows. At any moment
one file (compressed) and one batch of it are in memory.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.dataset.schema import check_names, conform_to_schema
from pipelines.storage.base import Store
from pipelines.storage.parquet import parquet_batches, schema_of_parquet
from pipelines.untrusted import TABLE_BYTES

Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True, slots=True)
class TableFile:
    """One file of a table as it lies in the store, for whoever doubts it. Methods raise ValueError or
    `pa.ArrowException` if it can't be read."""

    key: str
    data: bytes

    def schema(self) -> pa.Schema:
        """The columns that it has."""
        return schema_of_parquet(self.data)

    def batches(self) -> Batches:
        """Its rows, as they are."""
        return parquet_batches(self.data)


@dataclass(frozen=True, slots=True)
class TableStream:
    """The rows of a table. Every iteration reads them anew, so a stream can be passed over more than once.

    Attributes:
        store: where the files are.
        keys: of the files, in the order of their rows.
        schema: of the batches. Columns that a file lacks are null.
        fill: what is done to each file's batches besides: (bytes of the file, its batches) → batches.
    """

    store: Store
    keys: Sequence[str]
    schema: pa.Schema
    fill: Callable[[bytes, Batches], Batches] | None = None

    def __iter__(self) -> Batches:
        """Record batches.

        Raises:
            FileNotFoundError: a file is not there.
            ValueError: a file can't be read; says which, and why.
        """
        for key in self.keys:
            data = self.file(key).data
            try:
                batches = batches_of(data, self.schema)
                yield from self.fill(data, batches) if self.fill else batches
            except (pa.ArrowException, OSError, ValueError) as error:
                why = str(error).splitlines()[0]
                raise ValueError(f"{key} of {self.store.uri} can't be read: {why}") from error

    def file(self, key: str) -> TableFile:
        """One of the files.

        Raises:
            FileNotFoundError: it is not there.
            PermissionError: a link that leads out of the store is there in its place.
            ValueError: it is larger than any table, no plain file, or its key is none.
        """
        return TableFile(key, self.store.read(key, TABLE_BYTES))

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row after another."""
        for batch in self:
            yield from batch.to_pylist()

    def where(self, keep: Callable[[pa.RecordBatch], pa.Array]) -> pa.Table:
        """The rows for which `keep` gives true, in memory.

        Args:
            keep: a batch → bool (rows of the batch,); null counts as false.
        """
        return as_table((batch.filter(keep(batch)) for batch in self), self.schema)

    def table(self) -> pa.Table:
        """All rows at once: for work that compares every clip with every other. All else reads batches."""
        return as_table(self, self.schema)


def batches_of(data: bytes, schema: pa.Schema) -> Batches:
    """The rows of one file in the columns of a schema, whose ids and names are checked.

    Raises:
        ValueError: as `parquet_batches`, `check_names` and `conform_to_schema`.
    """
    for batch in parquet_batches(data, schema.names):
        check_names(batch)
        yield conform_to_schema(batch, schema)


def as_table(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """Batches as one table of one chunk."""
    return pa.Table.from_batches(batches, schema).combine_chunks()


def selected(schema: pa.Schema, columns: Sequence[str]) -> pa.Schema:
    """The part of a schema with these columns, in their order; all of it if none is named."""
    return pa.schema([schema.field(name) for name in columns]) if columns else schema
