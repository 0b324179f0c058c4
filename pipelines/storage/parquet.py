"""Tables as parquet bytes: written the same every time, read only as far as they are bounded.

In: a table, or bytes. Out: the other. See `table_bounds` for how much a file may take.
"""

import io
from collections.abc import Collection

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.storage.table_bounds import MOST_ENTRIES, check_texts, texts_to_measure


def parquet_bytes(content: pa.Table) -> bytes:
    """The table as parquet: the same bytes for the same rows, with one version of the library."""
    out = io.BytesIO()
    pq.write_table(content, out, compression="zstd", write_statistics=True)
    return out.getvalue()


def read_parquet(data: bytes, columns: Collection[str] | None = None) -> pa.Table:
    """The table in parquet bytes.

    Args:
        columns: the only ones wanted, of those that it has; all of them if None.

    Raises:
        ValueError: it can't be read (Arrow's own `ArrowInvalid` is one), or would take far more memory than
        its size allows.
    """
    texts = texts_to_measure(data, columns)
    file = _opened(data)
    wanted = None if columns is None else [name for name in file.schema_arrow.names if name in columns]
    if not texts:
        return file.read(columns=wanted, use_threads=False)
    schema = pa.schema(
        [file.schema_arrow.field(name) for name in (file.schema_arrow.names if wanted is None else wanted)],
        file.schema_arrow.metadata,
    )
    measured, groups, taken = _opened(data, texts), [], 0
    for number in range(file.num_row_groups):  # one by one: Arrow joins no records with dictionaries
        group = measured.read_row_group(number, columns=wanted, use_threads=False)
        taken = check_texts(group, len(data), taken)
        groups.append(group.cast(schema))
    return pa.concat_tables([schema.empty_table(), *groups])


def columns_of_parquet(data: bytes) -> list[str]:
    """Names of the columns in parquet bytes, in order. Raises as `read_parquet`."""
    texts_to_measure(data, ())
    return list(_opened(data).schema_arrow.names)


def _opened(data: bytes, as_dictionaries: list[str] | None = None) -> pq.ParquetFile:
    # pq.read_table reads through a scanner whose threads outlive it, and now and then abort Python as it
    # exits.
    return pq.ParquetFile(
        pa.BufferReader(data),
        read_dictionary=as_dictionaries,
        pre_buffer=False,
        thrift_container_size_limit=MOST_ENTRIES,
    )
