"""Rows → what is printed: a table as wide as the terminal, CSV, or JSON.

In: heads and values. Out: text. In CSV a null is an empty field and an empty text is "", as PostgreSQL and
Arrow write it; lists are JSON. In JSON every key is there, and null if nothing is known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from jobs.cli.terminal_text import dump_escaped_json
from jobs.listing.single_line import single_line

_GAP = "  "
_NARROWEST = 12  # that a column of text is shortened to
_OF_FIGURES = ("time", "picture")
_SHORTENED = ("about", "caption", "why", "source")  # the first gives way first


def as_csv(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Lines with a header."""
    yield ",".join(heads)
    for row in rows:
        yield ",".join(_csv(value) for value in row)


def _csv(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return '"' + text.replace('"', '""') + '"'


def as_json(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """One list, an object a line."""
    before = None
    yield "["
    for row in rows:
        if before is not None:
            yield f"{before},"
        before = dump_escaped_json(dict(zip(heads, row, strict=True)))
    yield from [] if before is None else [before]
    yield "]"


def as_table(
    names: Sequence[str], heads: Sequence[str], rows: Sequence[Sequence[Any]], width: int | None
) -> list[str]:
    """Aligned columns: numbers to the right, text to the left.

    Args:
        names: of the columns, by which it is known what may be shortened.
        width: of the terminal, in cells; None shortens nothing.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    right = [names[k] in _OF_FIGURES or _is_number([row[k] for row in rows]) for k in range(len(heads))]
    wide = [max([cell_len(heads[k]), *(cell_len(row[k]) for row in cells)]) for k in range(len(heads))]
    if width is not None:
        _narrow(wide, names, right, width)
    return [_line(list(heads), wide, right), *(_line(row, wide, right) for row in cells)]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return " ".join(_cell(part) for part in value.values() if part is not None)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "; ".join(_cell(part) for part in value)
    return single_line(str(value))


def _is_number(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in known
    )


def _narrow(wide: list[int], names: Sequence[str], right: Sequence[bool], width: int) -> None:
    """Take from columns of text what is too much: first from those that are read, then from the widest."""
    first = [names.index(name) for name in _SHORTENED if name in names]
    others = sorted((k for k in range(len(wide)) if k not in first and not right[k]), key=lambda k: -wide[k])
    for at in (*first, *others):
        over = sum(wide) + len(_GAP) * (len(wide) - 1) - width
        wide[at] = max(min(wide[at], _NARROWEST), wide[at] - max(0, over))


def _line(cells: Sequence[str], wide: Sequence[int], right: Sequence[bool]) -> str:
    fitted = [_fit(cell, size, to_right) for cell, size, to_right in zip(cells, wide, right, strict=True)]
    return _GAP.join(fitted).rstrip()


def _fit(cell: str, size: int, to_right: bool) -> str:
    if cell_len(cell) > size:
        return set_cell_size(cell, size - 1).rstrip() + "…" if size > 1 else cell[:size]
    return (" " * (size - cell_len(cell)) + cell) if to_right else cell + " " * (size - cell_len(cell))
