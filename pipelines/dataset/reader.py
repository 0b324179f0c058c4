"""A dataset as readers see it: the newest manifest, and nothing that it does not name.

In: a URI. Out: the index of clips, the sources, the quarantine, and the bytes of any clip by one range read.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.dataset.manifest import Manifest, Shard, newest
from pipelines.dataset.schema import INDEX, KEPT, QUARANTINE, SOURCES, check_names, completed
from pipelines.dataset.shards import shard_key
from pipelines.dedup.looks import LOOKS
from pipelines.foreign import TABLE_BYTES
from pipelines.naming import nearest
from pipelines.scores.registry import SCORES
from pipelines.storage import s3
from pipelines.storage.base import Store
from pipelines.storage.open_store import open_store
from pipelines.storage.parquet import read_parquet

_MAKE_ONE = "; `rushes curate footage=… dataset=…` makes one"
_NEW_SCORE = "measured before this score existed: curate its footage again"
_COLUMNS = {
    "mp4": ("offset", "size"),
    "json": ("json_offset", "json_size"),
    "txt": ("txt_offset", "txt_size"),
}


class Dataset:
    """One manifest of a dataset. It never changes: open again to see what was committed since."""

    def __init__(self, store: Store, number: int, manifest: Manifest):
        self.store = store
        self.number = number
        self.manifest = manifest

    def index(self, columns: Collection[str] = ()) -> pa.Table:
        """A row per clip, kept and rejected alike.

        Args:
            columns: the only ones that are read, which for a few of them is far less; all of them if none is
            named.
        """
        if columns and "score_gaps" not in columns:
            return self._tables(self.manifest.index, pa.schema([INDEX.field(name) for name in columns]))
        index = _with_new_scores(self._tables(self.manifest.index, INDEX))
        return index.select(list(columns)) if columns else index

    def kept(self) -> list[dict[str, Any]]:
        """The index rows of kept clips, in the order of the index."""
        return [row for row in self.index().to_pylist() if row["status"] == KEPT]

    def looks(self) -> pa.Table:
        """A row per clip: what it looks like, for finding copies and neighbours."""
        return self._tables(self.manifest.looks, LOOKS)

    def sources(self) -> pa.Table:
        """A row per source: its video, or why there is none."""
        return self._tables(self.manifest.sources, SOURCES)

    def quarantine(self) -> pa.Table:
        """A row per source or clip that could not be processed."""
        return self._tables(self.manifest.quarantine, QUARANTINE)

    def read(self, row: Mapping[str, Any], suffix: str = "mp4") -> bytes:
        """The bytes of a kept clip's file in its shard, by one range read.

        Args:
            row: of the index.
            suffix: mp4, json or txt.

        Raises:
            ValueError: the clip is in no shard, or there is no such file of it.
            FileNotFoundError, EOFError: the shard is not what the manifest says.
        """
        if suffix not in _COLUMNS:
            raise ValueError(f"a clip has no .{suffix}; known are {', '.join(_COLUMNS)}")
        if not row["shard"]:
            raise ValueError(
                f"clip {row['clip_id']} is in no shard: it was {row.get('status') or 'not kept'}"
            )
        offset, size = _COLUMNS[suffix]
        if not isinstance(row[offset], int) or not isinstance(row[size], int):
            raise ValueError(f"clip {row['clip_id']} has no place in its shard")
        return self.store.read_range(shard_key(row["bucket"], row["shard"]), row[offset], row[size])

    def shards(self) -> tuple[Shard, ...]:
        return self.manifest.shards

    def _tables(self, keys: tuple[str, ...], schema: pa.Schema) -> pa.Table:
        tables = []
        for key in keys:
            data = self.store.read(key, TABLE_BYTES)
            try:
                rows = read_parquet(data, schema.names)
                check_names(rows)
                rows = completed(rows, schema)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise ValueError(
                    f"{key} of {self.store.uri} can't be read: {str(error).splitlines()[0]}"
                ) from error
            tables.append(rows)
        return pa.concat_tables([schema.empty_table(), *tables])


def _with_new_scores(index: pa.Table) -> pa.Table:
    """The index, in which scores that nobody knew of when it was written say so."""
    new = [name for name in SCORES if (index[name].null_count == len(index) and len(index))]
    if not new and not index["score_gaps"].null_count:
        return index
    gaps = [row or [] for row in index["score_gaps"].to_pylist()]
    for row in gaps:
        explained = {gap["score"] for gap in row}
        row += [{"score": name, "why": _NEW_SCORE} for name in new if name not in explained]
    place = index.schema.get_field_index("score_gaps")
    return index.set_column(place, index.schema.field(place), pa.array(gaps, index.schema.field(place).type))


def open_dataset(uri: str) -> Dataset:
    """The newest state of a dataset.

    Raises:
        FileNotFoundError: there is none at this URI.
        ValueError: an unknown scheme, or a later version made it.
    """
    store = open_store(uri)
    number, manifest = newest(store)
    if manifest is None:
        raise FileNotFoundError(f"dataset={uri}: no dataset is there{_near(uri)}")
    return Dataset(store, number, manifest)


def _near(uri: str) -> str:
    if s3.is_s3(uri):
        bucket, key = s3.split(uri.rstrip("/"))
        parent, _, name = key.rpartition("/")
        prefix = f"{parent}/" if parent else ""
        siblings = [child.rstrip("/") for child in s3.children(bucket, prefix) if child.endswith("/")]
        near = nearest(name, siblings)
        return f"; did you mean 's3://{bucket}/{prefix}{near}'?" if near else _MAKE_ONE
    path = Path(uri)
    siblings = (
        [p.name for p in path.parent.iterdir() if (p / "manifests").is_dir()] if path.parent.is_dir() else []
    )
    near = nearest(path.name, siblings)
    if near:
        return f"; did you mean '{path.parent / near}'?"
    return _MAKE_ONE
