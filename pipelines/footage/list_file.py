"""A footage list → its rows. Supports text, CSV, TSV, JSON lines and parquet, with or without a byte order
mark.

In: the name and the bytes of a `.txt .csv .tsv .jsonl .parquet`. Out: a row for each file that it names, with
what it says of it; and a row for each that names none, with its line and what is wrong. A bad row ends
nothing.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pipelines.naming import closest_match

if TYPE_CHECKING:
    import pyarrow as pa

LIST_SUFFIXES = frozenset((".txt", ".csv", ".tsv", ".jsonl", ".parquet"))
FIELDS = ("text", "license", "dataset")
URI = "uri"

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, which is its beginning
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LINE_END = re.compile(r"\r\n|\n|\r")
_SEPARATORS = (",", ";", "\t")
_AT_ONCE = 10_000  # rows of a parquet
_LONGEST_FIELD = 1 << 30  # bytes; Python's own 128 KiB are less than some captions
_LONGEST_URI = 8192  # characters; paths have at most 4,096 bytes, keys of objects 1,024


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file that a list names, and what the list says of it."""

    uri: str
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that names no file. `where` is the list with the line, or the row of a table, counted from 1."""

    where: str
    why: str


def is_list(name: str) -> bool:
    """Whether a file of this name is a list of footage."""
    return PurePosixPath(name).suffix.lower() in LIST_SUFFIXES


def read_list(
    name: str, content: bytes, column: str = URI, exists: Callable[[str], bool] = lambda uri: False
) -> Iterator[ListedFile | BadRow]:
    """The rows of a list, in order.

    Args:
        name: as the user gave it; its suffix says what it is.
        column: of a table, that names the files.
        exists: whether a line that looks like a comment is a file after all.

    Raises:
        ValueError: a table has no such column, or several of one name, or can't be read at all.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".parquet":
        yield from _parquet(name, content, column)
        return
    text = _decoded(content)
    if suffix == ".txt":
        yield from _lines(name, text, exists)
    elif suffix == ".jsonl":
        yield from _json_lines(name, text, column)
    else:
        yield from _table(name, text, column, _SEPARATORS if suffix == ".csv" else ("\t",))


def _decoded(content: bytes) -> str:
    """Text without its mark; bytes that are none become lone surrogates, for which a row is refused."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(
                encoding, errors="surrogateescape" if encoding == "utf-8" else "replace"
            )
    return content.decode(errors="surrogateescape")


def _why_no_text(value: str) -> str | None:
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        return "it is not UTF-8; save the list as UTF-8"
    return "it holds a byte of zero" if "\0" in value else None


def _checked(where: str, uri: str, about: Mapping[str, str]) -> ListedFile | BadRow:
    if len(uri) > _LONGEST_URI:
        return BadRow(where, f"it names a file in {len(uri):,} characters, which no path and no address has")
    for value in (uri, *about.values()):
        if why := _why_no_text(value):
            return BadRow(where, why)
    return ListedFile(uri, about)


def _lines(name: str, text: str, exists: Callable[[str], bool]) -> Iterator[ListedFile | BadRow]:
    # Not `splitlines`: it divides at characters, such as U+2028, that names of files may have.
    for number, line in enumerate(_LINE_END.split(text), start=1):
        uri = line.strip()
        comment = uri.startswith("#") and (
            len(uri) > _LONGEST_URI or _why_no_text(uri) is not None or not exists(uri)
        )
        if not uri or comment:
            continue
        yield _checked(f"{name}, line {number}", uri, {})


def _json_lines(name: str, text: str, column: str) -> Iterator[ListedFile | BadRow]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield BadRow(where, f"it is no JSON ({error})")
            continue
        if isinstance(value, str):
            value = {column: value}
        yield (
            _row(where, value, column)
            if isinstance(value, dict)
            else BadRow(where, "it is no object with names")
        )


def _table(name: str, text: str, column: str, separators: Sequence[str]) -> Iterator[ListedFile | BadRow]:
    csv.field_size_limit(_LONGEST_FIELD)
    separator = next((one for one in separators if _find(column, _titles(text, one))), separators[0])
    names = _titles(text, separator)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    with contextlib.suppress(csv.Error):  # then it has no titles, which is said
        next(reader, None)
    own = _need(name, column, names)
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(f"{name}, line {reader.line_num}", str(error))
            continue
        if not any(values):
            continue
        where = f"{name}, line {reader.line_num}"
        if len(values) > len(names):
            yield BadRow(
                where,
                f"it has {len(values)} fields, and the list {len(names)} columns; quote what holds a "
                f"'{separator}'",
            )
            continue
        yield _row(where, dict(zip(names, values, strict=False)), own)


def _titles(text: str, separator: str) -> list[str]:
    try:
        return [
            title.strip()
            for title in next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
        ]
    except csv.Error:
        return []


def _parquet(name: str, content: bytes, column: str) -> Iterator[ListedFile | BadRow]:
    import pyarrow as pa

    from pipelines.storage.parquet import read_parquet, schema_of_parquet

    @contextlib.contextmanager
    def as_parquet() -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ValueError(f"footage={name}: it can't be read as parquet ({_first_line(error)})") from error

    with as_parquet():
        titles = schema_of_parquet(content).names
    own = _need(name, column, titles)
    with as_parquet():
        table = read_parquet(content, [title for title in titles if title == own or title in FIELDS])
    for start in range(0, len(table), _AT_ONCE):
        yield from _parquet_rows(name, table.slice(start, _AT_ONCE), start + 1, own)


def _parquet_rows(name: str, rows: pa.Table, first: int, own: str) -> Iterator[ListedFile | BadRow]:
    """Rows of a table, of which the first is counted as `first`; if Python can't hold a value, each alone."""
    try:
        values = rows.to_pylist()
    except (ValueError, OverflowError, NotImplementedError) as error:
        if len(rows) == 1:
            yield BadRow(f"{name}, row {first}", f"it can't be read ({_first_line(error)})")
            return
        for k in range(len(rows)):
            yield from _parquet_rows(name, rows.slice(k, 1), first + k, own)
        return
    for number, row in enumerate(values, start=first):
        yield _row(f"{name}, row {number}", row, own)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _row(where: str, row: Mapping[str, Any], column: str) -> ListedFile | BadRow:
    uri = row.get(column)
    if uri is None or uri == "":
        return BadRow(where, f"it has no {column}")
    if not isinstance(uri, str):
        return BadRow(where, f"its {column} is {str(uri)[:80]}, which is no text")
    about = {key: str(row[key]) for key in FIELDS if row.get(key) not in (None, "")}
    return _checked(where, uri, about)


def _find(column: str, names: Iterable[str]) -> str | None:
    """The name of the column as the list spells it: Excel and people differ in capitals."""
    names = list(names)
    exact = [one for one in names if one.strip() == column]
    return next(iter(exact or [one for one in names if one.strip().lower() == column.lower()]), None)


def _need(name: str, column: str, names: Sequence[str]) -> str:
    found = _find(column, names)
    if found is None:
        near = closest_match(column, list(names), cutoff=0.3)
        hint = f"; did you mean {near!r} to be it? Then give uri_column={near}" if near else ""
        shown = ", ".join(map(repr, names)) or "nothing"
        raise ValueError(f"footage={name}: the list has no column '{column}', only {shown}{hint}")
    for title in (found, *FIELDS):
        if list(names).count(title) > 1:
            raise ValueError(
                f"footage={name}: the list has more than one column '{title}'; leave one of them"
            )
    return found
