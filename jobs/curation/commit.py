"""The rows of a run → tables and a manifest in the dataset, or nothing if they say nothing new.

In: an assembly whose clips are placed. Out: the number of the manifest that holds it. Tables are named by the hash of
their bytes; the manifest is published last, create-if-absent, so readers see all of it or none.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from jobs.curation.assemble import Assembly, Base, index_rows
from pipelines.dataset.manifest import Manifest, Shard, newest, publish
from pipelines.dataset.reader import Dataset
from pipelines.dataset.schema import INDEX, QUARANTINE, SCHEMA_VERSION, SOURCES, table
from pipelines.dataset.shards import shard_key
from pipelines.drill import boundary
from pipelines.ids import hash_bytes
from pipelines.recipes.recipe import Recipe
from pipelines.redact import redacted
from pipelines.storage.base import Store
from pipelines.storage.parquet import parquet_bytes


def read_base(store: Store) -> Base:
    """The newest manifest."""
    number, manifest = newest(store)
    if manifest is None:
        return Base()
    dataset = Dataset(store, number, manifest)
    rows = (dataset.sources(), dataset.quarantine(), dataset.index())
    shards = {shard.id: shard for shard in manifest.shards}
    return Base(*(part.to_pylist() for part in rows), number, dataset.looks(), manifest.recipe, shards)


def shards_of(assembly: Assembly, known: Mapping[str, Shard], written: Mapping[str, dict[str, Any]]) -> list[Shard]:
    """The shards that kept clips lie in. Raises KeyError if one is neither known nor written: a fault of ours."""
    held: dict[str, list[dict[str, Any]]] = {}
    for clip in assembly.kept():
        held.setdefault(clip["shard"], []).append(clip)
    shards = []
    for shard_id, clips in sorted(held.items()):
        if shard_id in known:
            shards.append(known[shard_id])
            continue
        row, name = written[clips[0]["clip_id"]], clips[0]["bucket"]
        key = shard_key(name, shard_id)
        shards.append(Shard(shard_id, name, key, row["shard_sha256"], row["shard_bytes"], len(clips)))
    return sorted(shards, key=lambda shard: (shard.bucket, shard.id))


def commit(
    store: Store,
    base: int,
    assembly: Assembly,
    looks: pa.Table,
    shards: Sequence[Shard],
    recipe: Recipe,
    captions: Mapping[str, str],
    settings: Mapping[str, Any],
) -> int:
    """Publish the next manifest, unless the newest one says the same.

    Raises:
        LostRaceError: another run was first.
    """
    sources = sorted(assembly.sources, key=lambda row: row["uri"])
    quarantine = sorted(
        (row | {"message": redacted(row["message"])} for row in assembly.quarantine),
        key=lambda row: (row["source_uri"], row["stage"], row["clip_id"] or "", row["start_s"] or 0.0, row["reason"]),
    )
    manifest = Manifest(
        schema=SCHEMA_VERSION,
        shards=tuple(shards),
        index=_put(store, "index", table(index_rows(assembly.clips), INDEX)),
        sources=_put(store, "sources", table(sources, SOURCES)),
        quarantine=_put(store, "quarantine", table(quarantine, QUARANTINE)),
        looks=_put(store, "looks", looks.sort_by("clip_id")),
        recipe={"name": recipe.name, "hash": recipe.hash, "rules": recipe.as_rows()},
        captions=dict(captions),
        settings=dict(settings),
    )
    return publish(store, base, manifest)


def _put(store: Store, folder: str, content: pa.Table) -> tuple[str, ...]:
    if not len(content):
        return ()
    data = parquet_bytes(content)
    key = f"{folder}/{hash_bytes(data)}.parquet"
    boundary("tables:before")
    store.put_new(key, data)
    boundary("tables:after")
    return (key,)
