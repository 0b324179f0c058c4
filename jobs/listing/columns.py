"""What can be told of a clip in a list: every column of the index as it is, and a few that are made for
reading.

In: names as typed. Out: columns, each with the columns of the index that it is made from, and how.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from jobs.cli.fields import near_miss
from jobs.listing.account import in_words
from jobs.listing.ids import short_length
from pipelines.dataset.schema import INDEX, Row

FOR_PEOPLE = ("clip", "source", "time", "picture", "bucket", "status", "about")
FOR_PROGRAMS = (
    *("clip_id", "source_uri", "start_s", "end_s", "num_frames", "fps", "width", "height"),
    *("bucket", "status", "reject_reasons", "caption_short"),
)


@dataclass(frozen=True, slots=True)
class TableContext:
    """What all rows of a list have in common: how many digits of an id are enough, and the folder that all
    sources are in."""

    digits: int
    folder: str


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a list, made from columns of the index."""

    name: str
    head: str
    of: tuple[str, ...]
    value: Callable[[Row, TableContext], Any]


def _why(row: Row, _: TableContext) -> str:
    return ", ".join(in_words(reason) for reason in row["reject_reasons"] or ())


_MADE = {
    column.name: column
    for column in (
        Column("clip", "clip", ("clip_id",), lambda row, shown: row["clip_id"][: shown.digits]),
        Column(
            "source",
            "source",
            ("source_uri",),
            lambda row, shown: row["source_uri"].removeprefix(shown.folder),
        ),
        Column(
            "time",
            "start–end, s",
            ("start_s", "end_s"),
            lambda row, _: f"{row['start_s']:.2f}–{row['end_s']:.2f}",
        ),
        Column("picture", "picture", ("width", "height"), lambda row, _: f"{row['width']}×{row['height']}"),
        Column("why", "why", ("reject_reasons",), _why),
        Column("caption", "caption", ("caption_short",), lambda row, _: row["caption_short"]),
        Column(
            "about",
            "caption, or why rejected",
            ("reject_reasons", "caption_short"),
            lambda row, shown: _why(row, shown) or row["caption_short"],
        ),
    )
}


def table_context(all_ids: Sequence[str], uris: Sequence[str]) -> TableContext:
    """What is common to a list.

    Args:
        all_ids: of the dataset, not of the list only.
        uris: of the sources of the list.
    """
    return TableContext(short_length(all_ids), _folder_of(uris))


def _folder_of(uris: Sequence[str]) -> str:
    """The folder that all of them are in, with its `/`; empty if there is none."""
    if not uris:
        return ""
    one, other = min(uris), max(uris)  # the two that share the least
    folder = one[: one.rfind("/") + 1]
    while not other.startswith(folder):
        folder = folder[: folder.rfind("/", 0, -1) + 1]
    return folder


def columns_of(typed: str) -> list[Column]:
    """Columns by their names, with commas between; a pattern means all columns of the index that match.

    Raises:
        ValueError: a column is not known; names the near miss.
    """
    names: dict[str, None] = {}
    for one in (part.strip() for part in typed.strip("[]").split(",")):
        found = (
            [one] if one in _MADE or one in INDEX.names else [n for n in INDEX.names if fnmatchcase(n, one)]
        )
        if not found:
            guess = near_miss(one, [*INDEX.names, *_MADE])
            raise ValueError(
                f"columns={typed}: no column is called "
                f"'{one}'{guess or '; columns=* with format=json has them all'}"
            )
        names |= dict.fromkeys(found)
    return [column(name) for name in names]


def column(name: str) -> Column:
    """One column by its name: one that is made for reading, or the index's."""
    return _MADE.get(name) or Column(name, name, (name,), lambda row, _: row[name])
