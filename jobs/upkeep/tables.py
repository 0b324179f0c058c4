"""The tables that a manifest names → their rows, as far as they are what they are named.

In: a dataset. Out: index, sources, quarantine and looks, or None for what can't be relied on; and what was
found.
"""

from dataclasses import dataclass

import pyarrow as pa

from jobs.upkeep.findings import Finding
from pipelines.dataset.reader import Dataset
from pipelines.dataset.schema import INDEX, QUARANTINE, SCHEMA_VERSION, SOURCES, check_names, completed
from pipelines.dedup.looks import LOOKS
from pipelines.foreign import TABLE_BYTES
from pipelines.ids import hash_bytes
from pipelines.scores.registry import SCORES
from pipelines.storage.parquet import read_parquet

_SCHEMAS = {"index": INDEX, "sources": SOURCES, "quarantine": QUARANTINE, "looks": LOOKS}


@dataclass(frozen=True, slots=True)
class Tables:
    """None: at least one file of it is not what it should be, so nothing can be said about its rows; or an
    early version made no such table.
    """

    index: pa.Table | None
    sources: pa.Table | None
    quarantine: pa.Table | None
    looks: pa.Table | None


def read_tables(dataset: Dataset) -> tuple[Tables, list[Finding]]:
    """All tables of a dataset, and what is wrong with their files."""
    found: list[Finding] = []
    read: dict[str, pa.Table | None] = {}
    older = dataset.manifest.schema < SCHEMA_VERSION
    for name, schema in _SCHEMAS.items():
        keys = getattr(dataset.manifest, name)
        parts = [_read(dataset, key, name, schema, older, found) for key in keys]
        sound = all(part is not None for part in parts)
        read[name] = pa.concat_tables([schema.empty_table(), *parts]) if sound else None
    if older and not dataset.manifest.looks:
        read["looks"] = None
    return Tables(**read), found


def _read(
    dataset: Dataset, key: str, name: str, schema: pa.Schema, older: bool, found: list[Finding]
) -> pa.Table | None:
    try:
        data = dataset.store.read(key, TABLE_BYTES)
    except FileNotFoundError:
        found.append(Finding("table", key, "the manifest names it, and it is not there"))
        return None
    except (PermissionError, ValueError) as error:  # a link that leads out, a FIFO, a name that is no key
        found.append(Finding("table", str(key), str(error)))
        return None
    if key != f"{name}/{hash_bytes(data)}.parquet":
        found.append(Finding("table", key, f"its bytes are those of {hash_bytes(data)}"))
        return None
    try:
        rows = read_parquet(data)
    except (pa.ArrowException, OSError, ValueError) as error:
        found.append(Finding("table", key, f"it can't be read as parquet ({str(error).splitlines()[0]})"))
        return None
    wrong = _wrong_columns(rows.schema, schema, older)
    try:
        check_names(rows)
    except (ValueError, pa.ArrowException) as error:
        wrong.append(str(error))
    found += [Finding("columns", key, what) for what in wrong]
    return None if wrong else completed(rows, schema)


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
