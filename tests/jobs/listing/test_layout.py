"""Lists are as wide as they may be, whole where programs read them, and harmless in a terminal."""

import csv
import io
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from jobs.listing.ids import short_length
from jobs.listing.layout import as_csv, as_json, as_table

NAMES = ("clip", "source", "num", "about")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
VALUES = st.tuples(
    st.none() | TEXT, TEXT, st.none() | st.integers() | st.floats(allow_nan=False), st.none() | TEXT
)
ROWS = st.lists(VALUES, max_size=6)


@settings(deadline=None)
@given(ROWS)
def test_json_gives_back_every_value_and_says_null(rows):
    read = json.loads("\n".join(as_json(NAMES, rows)))
    assert [tuple(row.values()) for row in read] == rows
    assert all(tuple(row) == NAMES for row in read)


@settings(deadline=None)
@given(ROWS)
def test_csv_gives_back_every_text_and_tells_null_from_empty(rows):
    text = "\r\n".join(as_csv(NAMES, rows)) + "\r\n"
    head, *read = csv.reader(io.StringIO(text, newline=""))
    assert tuple(head) == NAMES
    for row, got in zip(rows, read, strict=True):
        assert [cell if value is not None else "" for cell, value in zip(got, row, strict=True)] == got
        assert [cell for cell, value in zip(got, row, strict=True) if isinstance(value, str)] == [
            value for value in row if isinstance(value, str)
        ]
    assert list(as_csv(("a", "b"), [(None, "")])) == ["a,b", ',""']


@settings(deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=6), st.integers(60, 200))
def test_a_table_is_no_wider_than_the_terminal_and_has_a_line_for_each_row(rows, width):
    rows = [(row[0], row[1], 7, row[3]) for row in rows]
    lines = as_table(NAMES, NAMES, rows, width)
    assert len(lines) == len(rows) + 1
    assert all(cell_len(line) <= width for line in lines)


def test_what_a_terminal_would_obey_is_not_printed():
    lines = as_table(("about",), ("about",), [("a \x1b[31mred\x07 \u202ename\nof two lines",)], None)
    assert lines == ["about", "a \\x1b[31mred\\x07 \\u202ename / of two lines"]


def test_nothing_is_shortened_where_nobody_looks():
    (_, line) = as_table(("about",), ("about",), [("word " * 100,)], None)
    assert line == ("word " * 100).rstrip()


@settings(deadline=None)
@given(st.sets(st.text("01", min_size=12, max_size=12), min_size=1, max_size=40))
def test_a_short_id_tells_all_clips_apart(ids):
    digits = short_length(ids)
    assert len({one[:digits] for one in ids}) == len(ids)
    assert digits == 8 or len({one[: digits - 1] for one in ids}) < len(ids)
