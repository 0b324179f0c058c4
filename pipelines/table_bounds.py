"""How much memory a parquet file may take, told before it is read: a megabyte of it can hold a billion equal rows, or a text once
that every row repeats.

In: a file's metadata and bytes. Out: which columns must be read as dictionaries to know how long their texts are; or one line that
says which bound was passed. What its footer says of a column is held against the headers of its pages, which Arrow goes by.
"""

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.parquet_pages import pages_of

FLOOR_BYTES = 256 * 2**20
"""What any file may take."""
RATIO = 200
"""Bytes in memory for a byte of the file: an index has about ten, times of frames some sixty."""
FOOTER_BYTES = 64 * 2**20
"""Of what a file says about itself. A table of ten million clips has some MB."""
MOST_CHUNKS = 200_000
"""Columns times groups of rows: an index of ten million clips, written in groups of sixty thousand rows, has forty thousand."""
MOST_ENTRIES = 200_000
"""Of any list in the footer."""
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8}
_TEXT, _OFFSET = "BYTE_ARRAY", 4


def check_footer(data: bytes) -> None:
    """Raises ValueError if what the file says of itself is too much to be parsed."""
    footer = int.from_bytes(data[-8:-4], "little") if data.endswith(b"PAR1") else 0
    if footer > FOOTER_BYTES:
        raise ValueError(f"its footer has {footer:,} bytes, and at most {FOOTER_BYTES:,} are read")


def texts_to_measure(about: pq.FileMetaData, data: bytes, columns: Collection[str] | None) -> list[str]:
    """Paths of the columns whose texts could be far longer in memory than in the file; none where even then it is little.

    Args:
        data: the file.
        columns: those that are read; None for all.

    Raises:
        ValueError: the rest takes too much alone, there are too many parts to look at, or they are damaged.
    """
    chunks = about.num_columns * about.num_row_groups
    if chunks > MOST_CHUNKS:
        raise ValueError(f"it has {chunks:,} groups of values, and at most {MOST_CHUNKS:,} are read")
    known, repeated, texts = 0, 0, set()
    for group in range(about.num_row_groups):
        rows = about.row_group(group)
        for place in range(about.num_columns):
            chunk = rows.column(place)
            path = chunk.path_in_schema
            if columns is not None and path.partition(".")[0] not in columns:
                continue
            if not rows.num_rows and not chunk.num_values:
                continue  # then there are no pages of data, and none is read
            start = chunk.data_page_offset
            if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
                start = chunk.dictionary_page_offset
            pages = pages_of(data, start, chunk.total_compressed_size)
            values, unpacked = max(chunk.num_values, rows.num_rows, pages.values), pages.unpacked_bytes
            _check(unpacked, len(data))
            if chunk.physical_type == _TEXT:
                known += values * _OFFSET + unpacked
                repeated += values * unpacked
                texts.add(path)
            else:
                known += values * _WIDTHS.get(chunk.physical_type, max(about.schema.column(place).length, 1))
    _check(max(known, about.num_rows), len(data))
    return sorted(texts) if known + repeated > FLOOR_BYTES else []


def check_texts(table: pa.Table, size_bytes: int, taken_bytes: int) -> int:
    """Bytes of the texts of columns that were read as dictionaries, once each row has its own, and of those before.

    Args:
        size_bytes: of the file.
        taken_bytes: by what was read of it before.

    Raises:
        ValueError: they are too many.
    """
    taken_bytes += sum(_length(chunk) for column in table.columns for chunk in column.chunks)
    _check(taken_bytes, size_bytes)
    return taken_bytes


def _length(array: pa.Array) -> int:
    if pa.types.is_dictionary(array.type):
        if not len(array.dictionary):
            return 0
        return pc.sum(pc.take(pc.cast(pc.binary_length(array.dictionary), pa.int64()), array.indices)).as_py() or 0
    if pa.types.is_struct(array.type):
        return sum(_length(array.field(place)) for place in range(array.type.num_fields))
    if pa.types.is_map(array.type):
        return _length(array.keys) + _length(array.items)
    if pa.types.is_nested(array.type):
        return _length(array.values)
    return 0


def _check(bytes_in_memory: int, size_bytes: int) -> None:
    most = FLOOR_BYTES + RATIO * size_bytes
    if bytes_in_memory > most:
        raise ValueError(
            f"its {size_bytes:,} bytes would take {bytes_in_memory:,} in memory, and at most {most:,} are given to a file of that size"
        )
