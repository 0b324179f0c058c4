"""Tables as parquet bytes: written the same every time, read only as far as they are bounded.

In: a table, or bytes. Out: the other. See `table_bounds` for how much a file may take.
"""

import io
from collections.abc import Collection, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.storage.table_bounds import MAX_ENTRIES, check_texts, texts_to_measure

_BATCH_BYTES = 8 * 2**20
_BATCH_ROWS = 256, 16_384  # at least and at most


def parquet_bytes(content: pa.Table) -> bytes:
    """The table as parquet: the same bytes for the same rows, with one version of the library."""
    out = io.BytesIO()
    pq.write_table(content, out, compression="zstd", write_statistics=True)
    return out.getvalue()


def parquet_batches(data: bytes, columns: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows in parquet bytes, in batches of some 8 MiB.

    Args:
        columns: the only ones that are read, of those that it has; all of them if None.

    Raises:
        ValueError: it can't be read (Arrow's own `ArrowInvalid` is one), or would take far more memory than
            its size allows; for texts that repeat, only the batch that has them tells.
    """
    texts = texts_to_measure(data, columns)
    schema = _selected(_opened(data).schema_arrow, columns)
    file, taken = _opened(data, texts), 0
    for group in range(file.num_row_groups):  # one by one: Arrow joins no records with dictionaries
        rows = _rows_of_a_batch(file.metadata.row_group(group))
        for batch in file.iter_batches(rows, [group], schema.names, use_threads=False):
            if texts:
                taken = check_texts(batch, len(data), taken)
            yield batch.cast(schema) if texts else batch


def read_parquet(data: bytes, columns: Collection[str] | None = None) -> pa.Table:
    """All rows in parquet bytes. Arguments and errors as of `parquet_batches`."""
    batches = list(parquet_batches(data, columns))
    return pa.Table.from_batches(batches, _selected(_opened(data).schema_arrow, columns)).combine_chunks()


def schema_of_parquet(data: bytes) -> pa.Schema:
    """The columns in parquet bytes, in order. Raises as `parquet_batches`."""
    texts_to_measure(data, ())
    return _opened(data).schema_arrow


def _selected(schema: pa.Schema, columns: Collection[str] | None) -> pa.Schema:
    if columns is None:
        return schema
    return pa.schema([field for field in schema if field.name in columns], schema.metadata)


def _rows_of_a_batch(group: pq.RowGroupMetaData) -> int:
    """By what the file says of its size: that only says how many rows are decoded at a time."""
    row_bytes = max(1, group.total_byte_size) / max(1, group.num_rows)
    fewest, most = _BATCH_ROWS
    return int(min(max(_BATCH_BYTES / row_bytes, fewest), most))


def _opened(data: bytes, as_dictionaries: list[str] | None = None) -> pq.ParquetFile:
    # pq.read_table reads through a scanner whose threads outlive it, and now and then abort Python as it
    # exits.
    return pq.ParquetFile(
        pa.BufferReader(data),
        read_dictionary=as_dictionaries,
        pre_buffer=False,
        thrift_container_size_limit=MAX_ENTRIES,
    )
