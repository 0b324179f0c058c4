"""`rushes clips`: the clips of a dataset as a list, with what is asked of them.

In: a dataset, filters, columns. Out: a table for people; CSV or JSON on stdout, and nothing else there.
"""

import shutil
import sys
from collections.abc import Iterable
from typing import Any

from jobs.cli.run_folder import Run, Scratch, scratch_run_folder
from jobs.listing.columns import FOR_PEOPLE, FOR_PROGRAMS, Column, columns_of, table_context
from jobs.listing.config import ClipsConfig
from jobs.listing.layout import as_csv, as_json, as_table
from jobs.listing.select_clips import ClipFilter, SelectedClips, select_clips
from pipelines.dataset.reader import open_dataset

_MOST_LINES = 50


def check(cfg: ClipsConfig) -> None:
    """There is a dataset, and what is asked for is known in it."""
    _chosen(cfg)


def run_folder(cfg: ClipsConfig) -> Scratch:
    return scratch_run_folder("clips")


def run(cfg: ClipsConfig, run: Run) -> list[dict[str, Any]]:
    """Print the clips; returns what was told of each, by column."""
    columns, chosen = _chosen(cfg)
    limit = cfg.limit or (_MOST_LINES if cfg.format == "table" else None)
    rows = (chosen.rows if limit is None else chosen.rows.slice(0, limit)).to_pylist()
    shown = table_context(chosen.all_ids, [row["source_uri"] for row in rows])
    values = [[column.value(row, shown) for column in columns] for row in rows]
    names = [column.name for column in columns]
    if cfg.format == "table":
        heads = [column.head for column in columns]
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        lines: Iterable[str]
        lines = [*(as_table(names, heads, values, width) if rows else ()), chosen.summary(len(rows))]
    else:
        lines = (as_csv if cfg.format == "csv" else as_json)(names, values)
    for line in lines:
        print(line)
    return [dict(zip(names, row, strict=True)) for row in values]


def _chosen(cfg: ClipsConfig) -> tuple[list[Column], SelectedClips]:
    """What is told, and of which clips.

    Raises:
        FileNotFoundError: there is no dataset.
        ValueError: something that is asked for is not known; names the near miss.
    """
    typed = cfg.columns or ",".join(FOR_PEOPLE if cfg.format == "table" else FOR_PROGRAMS)
    columns = columns_of(typed)
    choice = ClipFilter(cfg.status, cfg.reason, cfg.source, cfg.bucket, cfg.clip, cfg.sort)
    return columns, select_clips(
        open_dataset(cfg.dataset), choice, [name for column in columns for name in column.of]
    )
