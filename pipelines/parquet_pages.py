"""What the pages of a parquet file say they hold, whatever its footer says: their values, and their bytes unpacked.

In: the file's bytes, and where a column's pages lie. Out: two sums. Only the headers of pages are read, a few dozen bytes each
in Thrift's compact protocol (Apache Parquet, parquet.thrift: PageHeader); Arrow reads what they say, and shows none of it.
"""

from dataclasses import dataclass

_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _STRUCT = 0, 1, 2, 3, 7, 8, 12
_INTEGERS = (4, 5, 6)
_UNPACKED, _PACKED = 2, 3  # fields of a page's header
_OF_KIND = (5, 8)  # the header of a page of data, of either version; its first field is the number of values
_MOST_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Pages:
    """Of a column in a group of rows. values: nulls among them. unpacked_bytes: a dictionary's with them."""

    values: int
    unpacked_bytes: int


def pages_of(data: bytes, start: int, size: int) -> Pages:
    """What the pages between two places of a file hold by their headers.

    Raises:
        ValueError: there are no pages there.
    """
    end, place, values, unpacked = start + size, start, 0, 0
    if start < 0 or size < 0 or end > len(data):
        raise ValueError("its columns lie outside of it")
    try:
        while place < end:
            header, place = _struct(data, place, 0)
            held = next((header[field] for field in _OF_KIND if isinstance(header.get(field), dict)), {})
            packed = header[_PACKED]
            if packed < 0 or header[_UNPACKED] < 0:
                raise ValueError("a page of it has less than no bytes")
            values += held.get(1, 0)
            unpacked += header[_UNPACKED]
            place += packed
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError("its pages can't be read") from error
    return Pages(values, unpacked)


def _struct(data: bytes, place: int, depth: int) -> tuple[dict[int, object], int]:
    """The fields of a struct that are whole numbers or structs, and where it ends."""
    if depth > _MOST_DEPTH:
        raise ValueError("a page's header is nested deeper than any is")
    fields: dict[int, object] = {}
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
            raw, place = _varint(data, place)
            field = (raw >> 1) ^ -(raw & 1)
        fields[field], place = _value(data, place, kind, depth)


def _value(data: bytes, place: int, kind: int, depth: int) -> tuple[object, int]:
    if kind in _INTEGERS:
        raw, place = _varint(data, place)
        return (raw >> 1) ^ -(raw & 1), place
    if kind in (_TRUE, _FALSE):
        return None, place
    if kind == _BINARY:
        length, place = _varint(data, place)
        return None, place + length
    if kind == _STRUCT:
        return _struct(data, place, depth + 1)
    if kind in (_BYTE, _DOUBLE):
        return None, place + (1 if kind == _BYTE else 8)
    raise ValueError("a page's header has what none has")  # lists and maps


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a page's header has a number of more than 64 bits")
