"""The tables that a manifest names → streams of their rows, as far as they are what they are named.

In: a dataset. Out: index, sources, quarantine and looks, or None for what can't be relied on; and what was
found.
"""

from dataclasses import dataclass

import pyarrow as pa

from jobs.upkeep.findings import Finding
from pipelines.dataset.reader import Dataset
from pipelines.dataset.schema import INDEX, QUARANTINE, SCHEMA_VERSION, SOURCES, check_names
from pipelines.dataset.table_stream import TableStream
from pipelines.dedup.looks import LOOKS
from pipelines.ids import hash_bytes
from pipelines.scores.registry import SCORES

_UNCHECKED = ("score_gaps", "score_models")  # lists that nothing is compared with


@dataclass(frozen=True, slots=True)
class Tables:
    """None: at least one file of it is not what it should be, so nothing can be said about its rows; or an
    early version made no such table. Of looks only the ids are read.
    """

    index: TableStream | None
    sources: TableStream | None
    quarantine: TableStream | None
    looks: TableStream | None


def read_tables(dataset: Dataset) -> tuple[Tables, list[Finding]]:
    """All tables of a dataset, and what is wrong with their files."""
    found: list[Finding] = []
    older = dataset.manifest.schema < SCHEMA_VERSION
    streams: dict[str, tuple[TableStream, pa.Schema]] = {
        "index": (dataset.index([name for name in INDEX.names if name not in _UNCHECKED]), INDEX),
        "sources": (dataset.sources(), SOURCES),
        "quarantine": (dataset.quarantine(), QUARANTINE),
        "looks": (dataset.looks(["clip_id"]), LOOKS),
    }
    sound: dict[str, TableStream | None] = {}
    for name, (stream, schema) in streams.items():
        files = [_is_sound(stream, key, name, schema, older, found) for key in stream.keys]
        sound[name] = stream if all(files) else None
    if older and not dataset.manifest.looks:
        sound["looks"] = None
    return Tables(**sound), found


def _is_sound(
    stream: TableStream, key: str, name: str, schema: pa.Schema, older: bool, found: list[Finding]
) -> bool:
    """Whether a file is what the manifest says; adds to `found` what it is instead."""
    try:
        file = stream.file(key)
    except FileNotFoundError:
        found.append(Finding("table", key, "the manifest names it, and it is not there"))
        return False
    except (PermissionError, ValueError) as error:  # a link that leads out, a FIFO, a name that is no key
        found.append(Finding("table", str(key), str(error)))
        return False
    if key != f"{name}/{hash_bytes(file.data)}.parquet":
        found.append(Finding("table", key, f"its bytes are those of {hash_bytes(file.data)}"))
        return False
    wrong: list[str] = []
    try:
        wrong += _wrong_columns(file.schema(), schema, older)
        for batch in file.batches():
            wrong += [why for why in [_wrong_names(batch)] if why and why not in wrong]
    except (pa.ArrowException, OSError, ValueError) as error:
        found.append(Finding("table", key, f"it can't be read as parquet ({str(error).splitlines()[0]})"))
        return False
    found += [Finding("columns", key, what) for what in wrong]
    return not wrong


def _wrong_names(batch: pa.RecordBatch) -> str | None:
    try:
        check_names(batch)
    except (ValueError, pa.ArrowException) as error:
        return str(error)
    return None


def _wrong_columns(have: pa.Schema, want: pa.Schema, older: bool) -> list[str]:
    """What was not known when a table was written may be missing: scores, and in a dataset of an older schema
    any column."""
    wrong = [f"it has a column {name}, which is none" for name in have.names if name not in want.names]
    for field in want:
        if field.name not in have.names:
            wrong += [] if older or field.name in SCORES else [f"it has no column {field.name}"]
        elif not _as_wanted(have.field(field.name).type, field.type, older):
            wrong.append(f"{field.name} is {have.field(field.name).type}, not {field.type}")
    return wrong


def _as_wanted(have: pa.DataType, want: pa.DataType, older: bool) -> bool:
    """Whether a column is of the kind that is wanted; in an older schema its records may lack fields."""
    if older and pa.types.is_list(have) and pa.types.is_list(want):
        return _as_wanted(have.value_type, want.value_type, older)
    if older and pa.types.is_struct(have) and pa.types.is_struct(want):
        wanted = {want.field(k).name: want.field(k).type for k in range(want.num_fields)}
        fields = [have.field(k) for k in range(have.num_fields)]
        return all(f.name in wanted and _as_wanted(f.type, wanted[f.name], older) for f in fields)
    return have == want
