"""What a parquet file says of its columns, in its footer and in the headers of their pages, in Thrift's
compact protocol.

In: the file's bytes. Out: a `Column` for each group of rows. Arrow reads the same, but tells of the footer
only, which may say less than the pages hold; and asked for a column's part of a damaged one, it ends the
process. Nothing is unpacked here. Source: Apache Parquet's parquet.thrift (FileMetaData, PageHeader), and
Thrift's specification of the compact protocol.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

BYTE_ARRAY = 6
# of a value in memory, by physical type: BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLE
_WIDTHS = (1, 4, 8, 8, 4, 8)
_FIXED = 7
_MAGIC = b"PAR1"

_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)
_MOST_DEPTH, _MOST_TEXT = 12, 4096
_FLOOR_PAGES, _BYTES_A_PAGE = (
    50_000,
    1024,
)  # the header of one is looked at in some ten microseconds, as often as a column names it


@dataclass(frozen=True, slots=True)
class Column:
    """Of a column in a group of rows, by footer and pages, whichever says more.

    Attributes:
        path: of names, with dots between.
        text: whether its values have lengths of their own.
        width: of a value in memory; 0 of a text.
        values: nulls among them.
        unpacked_bytes: of all pages, a dictionary's among them.
    """

    path: str
    text: bool
    width: int
    values: int
    unpacked_bytes: int


def footer_bytes(data: bytes) -> int:
    """How long the footer is. 0 for what is no parquet file, or has none."""
    return int.from_bytes(data[-8:-4], "little") if len(data) > 12 and data.endswith(_MAGIC) else 0


def columns_of(data: bytes, most: int) -> Iterator[Column]:
    """Every column in every group of rows.

    Args:
        most: of them that are looked at.

    Raises:
        ValueError: there are more, or more pages than its size allows, or it is damaged.
    """
    left = _FLOOR_PAGES + len(data) // _BYTES_A_PAGE
    try:
        about, _ = _struct(data, len(data) - 8 - footer_bytes(data), 0)
        leaves = [one for one in about[2] if not one.get(5)]  # in the order in which the groups have them
        if len(leaves) * len(about[4]) > most:
            raise ValueError(
                f"it has {len(leaves) * len(about[4]):,} groups of values, and at most {most:,} are read"
            )
        for group in about[4]:
            if len(group[1]) != len(leaves):
                raise ValueError("its groups of rows have other columns than the file")
            for leaf, chunk in zip(leaves, group[1], strict=True):
                column, pages = _column(data, leaf, chunk[3], group[3], left)
                left -= pages
                yield column
    except (IndexError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"its footer or its pages are damaged ({type(error).__name__})") from error


def _column(
    data: bytes, leaf: dict[int, Any], chunk: dict[int, Any], rows: int, most_pages: int
) -> tuple[Column, int]:
    """A column in a group, and how many pages it has."""
    kind = chunk[1]
    width = 0 if kind == BYTE_ARRAY else max(leaf[2], 1) if kind == _FIXED else _WIDTHS[kind]
    values, unpacked, pages = max(chunk[5], rows), max(chunk[6], 0), 0
    if values > 0:  # else there are no pages of data, and none is read
        start, dictionary = chunk[9], chunk.get(11, 0)
        held, packed, pages = _pages(
            data, dictionary if 0 < dictionary < start else start, chunk[7], most_pages
        )
        values, unpacked = max(values, held), max(unpacked, packed)
    path = ".".join(part.decode() for part in chunk[3])
    return Column(path, kind == BYTE_ARRAY, width, values, unpacked), pages


def _pages(data: bytes, start: int, size: int, most: int) -> tuple[int, int, int]:
    """(values, bytes unpacked, pages) between two places, by the headers of pages."""
    end, place, values, unpacked, pages = start + size, start, 0, 0, 0
    if start < 0 or size < 0 or end > len(data):
        raise ValueError("its columns lie outside of it")
    while place < end:
        pages += 1
        if pages > most:
            raise ValueError(
                f"its {len(data):,} bytes are divided into more pages than are looked at in a file of that "
                "size"
            )
        header, place = _struct(data, place, 0)
        if min(header[2], header[3]) < 0:
            raise ValueError("a page of it has less than no bytes")
        held = header.get(5) or header.get(8) or {}  # of a page of data, of either version
        values, unpacked, place = values + held.get(1, 0), unpacked + header[2], place + header[3]
    return values, unpacked, pages


def _struct(data: bytes, place: int, depth: int) -> tuple[dict[int, Any], int]:
    """A struct's fields by number, and where it ends."""
    if depth > _MOST_DEPTH:
        raise ValueError("its footer is nested deeper than any is")
    fields: dict[int, Any] = {}
    field = 0
    while True:
        head = data[place]
        place += 1
        if head == _STOP:
            return fields, place
        kind, step = head & 15, head >> 4
        if step:
            field += step
        else:
            field, place = _integer(data, place)
        if kind in (_TRUE, _FALSE):
            fields[field] = kind == _TRUE
        else:
            fields[field], place = _value(data, place, kind, depth)


def _value(data: bytes, place: int, kind: int, depth: int) -> tuple[Any, int]:
    """None for what nobody here needs: long texts, and numbers that are not whole."""
    if kind in _INTEGERS:
        return _integer(data, place)
    if kind == _BINARY:
        length, place = _varint(data, place)
        return (bytes(data[place : place + length]) if length <= _MOST_TEXT else None), place + length
    if kind == _STRUCT:
        return _struct(data, place, depth + 1)
    if kind in (_LIST, _SET):
        head, place = data[place], place + 1
        count, kind = head >> 4, head & 15
        if count == 15:
            count, place = _varint(data, place)
        if count > len(data) - place:
            raise ValueError("its footer has a list that is longer than the file")
        values = []
        for _ in range(count):
            value, place = (
                (None, place + 1) if kind in (_TRUE, _FALSE) else _value(data, place, kind, depth + 1)
            )
            values.append(value)
        return values, place
    if kind in (_TRUE, _FALSE, _BYTE, _DOUBLE):
        return None, place + (8 if kind == _DOUBLE else 1)
    raise ValueError("its footer has what none has")


def _integer(data: bytes, place: int) -> tuple[int, int]:
    raw, place = _varint(data, place)
    return (raw >> 1) ^ -(raw & 1), place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    byte = data[place]
    if byte < 128:
        return byte, place + 1
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("its footer has a number of more than 64 bits")
