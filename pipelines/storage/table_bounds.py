"""Memory limits of parquet files, checked before they are read: one megabyte can decode to a billion equal
rows, or to a string that every row repeats. Also limits the memory of the values as Python objects.

In: the file's bytes. Out: which columns must be read as dictionaries to know how long their texts are; or one
line that says which bound was passed. What its footer says of a column is held against the headers of its
pages, which Arrow goes by.
"""

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.storage.parquet_pages import columns_of, footer_bytes

FLOOR_BYTES = 256 * 2**20
"""What any file may take."""
RATIO = 200
"""Bytes in memory for a byte of the file: an index has about ten, times of frames some sixty."""
FLOOR_VALUES = 4_000_000
"""What any file may hold, nulls and the columns that it lacks among them: Python takes a second for as
many."""
VALUES_PER_BYTE = 8
"""Beyond that, for a byte of the file: a large index has about three, numbered names in the densest
compression some ten in all."""
FLOOR_ROWS = 100_000
"""What any file may have."""
ROWS_PER_BYTE = 16
"""Beyond that, for a byte of the file. A row of an index takes fifty bytes, a row of a list five, at times a
fifth of one."""
FOOTER_BYTES = 4 * 2**20
"""Of what a file says about itself: two hundred bytes for a column in a group of rows, and a second for all
to be looked at."""
MAX_CHUNKS = 40_000
"""Columns times groups of rows: an index of ten million clips, written in groups of a million rows, has two
thousand."""
MAX_ENTRIES = 200_000
"""Of any list in the footer."""
_OFFSET = 4  # of a text in memory, beside its bytes


def texts_to_measure(data: bytes, columns: Collection[str] | None = None) -> list[str]:
    """Paths of the columns whose texts could be far longer in memory than in the file; none where even then
    it is little.

    Args:
        data: the file.
        columns: those that are read; None for all.

    Raises:
        ValueError: the rest takes too much alone, there are too many rows, values or parts to look at, or
        they are damaged.
    """
    footer = footer_bytes(data)
    if not 0 < footer < len(data):
        raise ValueError("it is no parquet file, or was cut off")
    if footer > FOOTER_BYTES:
        raise ValueError(f"its footer has {footer:,} bytes, and at most {FOOTER_BYTES:,} are read")
    known, repeated, texts = 0, 0, set()
    read: dict[str, int] = {}
    rows: dict[str, int] = {}
    for column in columns_of(data, MAX_CHUNKS):
        name, _, inner = column.path.partition(".")
        if not inner:
            rows[name] = rows.get(name, 0) + column.values
        if columns is not None and name not in columns:
            continue
        read[name] = read.get(name, 0) + column.values
        known += column.values * (_OFFSET if column.text else column.width) + (
            column.unpacked_bytes if column.text else 0
        )
        _check(max(known, column.unpacked_bytes), len(data))
        if column.text:
            repeated += column.values * column.unpacked_bytes
            texts.add(column.path)
    lacking = 0 if columns is None else len(set(columns) - read.keys())
    most_rows = max((rows or read).values(), default=0)
    _check_count("rows", most_rows if rows else 0, FLOOR_ROWS + ROWS_PER_BYTE * len(data), len(data))
    _check_count(
        "values",
        sum(read.values()) + most_rows * lacking,
        FLOOR_VALUES + VALUES_PER_BYTE * len(data),
        len(data),
    )
    return sorted(texts) if known + repeated > FLOOR_BYTES else []


def check_texts(batch: pa.RecordBatch, size_bytes: int, used_bytes: int) -> int:
    """Bytes of the texts of columns that were read as dictionaries, once each row has its own, and of those
    before.

    Args:
        size_bytes: of the file.
        used_bytes: by what was read of it before.

    Raises:
        ValueError: they are too many.
    """
    used_bytes += sum(_length(column) for column in batch.columns)
    _check(used_bytes, size_bytes)
    return used_bytes


def _length(array: pa.Array) -> int:
    if pa.types.is_dictionary(array.type):
        if not len(array.dictionary):
            return 0
        return (
            pc.sum(pc.take(pc.cast(pc.binary_length(array.dictionary), pa.int64()), array.indices)).as_py()
            or 0
        )
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
            f"its {size_bytes:,} bytes would take {bytes_in_memory:,} in memory, and at most {most:,} are "
            "given to a file of that size"
        )


def _check_count(what: str, count: int, most: int, size_bytes: int) -> None:
    if count > most:
        raise ValueError(
            f"its {size_bytes:,} bytes would be {count:,} {what}, and at most {most:,} are read of a file "
            "of that size"
        )
