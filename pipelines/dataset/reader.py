"""The one door to a dataset: the newest manifest, and nothing that it does not name.

In: a URI. Out: its tables (index, sources, quarantine, looks, captions) as streams of record batches with the
columns that are asked for, and the bytes of any clip by one range read. Nobody else opens a file of these
tables, so how they are divided into files is this module's matter alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.dataset.manifest import Manifest, Shard, newest
from pipelines.dataset.schema import CAPTION_COLUMNS, INDEX, KEPT, QUARANTINE, SOURCES
from pipelines.dataset.shards import shard_key
from pipelines.dataset.table_stream import Batches, TableStream, batches_of, selected
from pipelines.dedup.looks import LOOKS
from pipelines.naming import closest_match
from pipelines.scores.registry import SCORES
from pipelines.storage import s3
from pipelines.storage.base import Store
from pipelines.storage.open_store import open_store

_MAKE_ONE = "; `rushes curate footage=… dataset=…` makes one"
_NEW_SCORE = "measured before this score existed: curate its footage again"
_COLUMNS = {
    "mp4": ("offset", "size"),
    "json": ("json_offset", "json_size"),
    "txt": ("txt_offset", "txt_size"),
}


class Dataset:
    """One manifest of a dataset. It never changes: open again to see what was committed since.

    Of every table only the columns that are named are read, which for a few of them is far less; all of them
    if none is named.
    """

    def __init__(self, store: Store, number: int, manifest: Manifest):
        self.store = store
        self.number = number
        self.manifest = manifest

    def index(self, columns: Sequence[str] = ()) -> TableStream:
        """A row per clip, kept and rejected alike."""
        schema = selected(INDEX, columns)
        fill = _with_new_scores if "score_gaps" in schema.names else None
        return TableStream(self.store, self.manifest.index, schema, fill)

    def kept(self, columns: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """The index rows of kept clips, in the order of the index."""
        names = list(columns) or INDEX.names
        for batch in self.index(list(dict.fromkeys([*names, "status"]))):
            yield from batch.filter(pc.equal(batch["status"], KEPT)).select(names).to_pylist()

    def captions(self) -> Iterator[dict[str, Any]]:
        """What captioners wrote of kept clips: their ids and the index's columns of captions and tags."""
        return self.kept(["clip_id", *CAPTION_COLUMNS])

    def looks(self, columns: Sequence[str] = ()) -> TableStream:
        """A row per clip: what it looks like, for finding copies and neighbours."""
        return TableStream(self.store, self.manifest.looks, selected(LOOKS, columns))

    def sources(self, columns: Sequence[str] = ()) -> TableStream:
        """A row per source: its video, or why there is none."""
        return TableStream(self.store, self.manifest.sources, selected(SOURCES, columns))

    def quarantine(self, columns: Sequence[str] = ()) -> TableStream:
        """A row per source or clip that could not be processed."""
        return TableStream(self.store, self.manifest.quarantine, selected(QUARANTINE, columns))

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


def _with_new_scores(data: bytes, batches: Batches) -> Batches:
    """The index, in which scores that nobody knew of when a file of it was written say so: those that are
    null in every row of the file."""
    rows, nulls = 0, dict.fromkeys(SCORES, 0)
    for batch in batches_of(data, selected(INDEX, list(SCORES))):
        rows += batch.num_rows
        for name in SCORES:
            nulls[name] += batch[name].null_count
    new = [name for name in SCORES if rows and nulls[name] == rows]
    for batch in batches:
        if not new and not batch["score_gaps"].null_count:
            yield batch
            continue
        gaps = [row or [] for row in batch["score_gaps"].to_pylist()]
        for row in gaps:
            explained = {gap["score"] for gap in row}
            row += [{"score": name, "why": _NEW_SCORE} for name in new if name not in explained]
        place = batch.schema.get_field_index("score_gaps")
        field = batch.schema.field(place)
        yield batch.set_column(place, field, pa.array(gaps, field.type))


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
        siblings = [child.rstrip("/") for child in s3.list_children(bucket, prefix) if child.endswith("/")]
        near = closest_match(name, siblings)
        return f"; did you mean 's3://{bucket}/{prefix}{near}'?" if near else _MAKE_ONE
    path = Path(uri)
    siblings = (
        [p.name for p in path.parent.iterdir() if (p / "manifests").is_dir()] if path.parent.is_dir() else []
    )
    near = closest_match(path.name, siblings)
    if near:
        return f"; did you mean '{path.parent / near}'?"
    return _MAKE_ONE
