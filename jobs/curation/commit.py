"""The rows of a run → tables and a manifest in the dataset, or nothing if they say nothing new.

In: rows, shards, and what they were made with. Out: the number of the manifest that holds it. Tables are
named by the hash of their bytes; the manifest is published last, create-if-absent, so readers see all of it
or none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from jobs.curation.assemble import BaseManifest
from jobs.curation.clip_records import PlacedClip
from jobs.curation.decide import Outcome
from pipelines.dataset.manifest import Manifest, Shard, newest, publish
from pipelines.dataset.reader import Dataset
from pipelines.dataset.schema import INDEX, QUARANTINE, SCHEMA_VERSION, SOURCES, Row, table
from pipelines.dataset.shards import shard_key
from pipelines.fault_injection import kill_point
from pipelines.ids import hash_bytes
from pipelines.recipes.recipe import Recipe
from pipelines.redact import redact
from pipelines.storage.base import Store
from pipelines.storage.parquet import parquet_bytes


def read_base(store: Store) -> BaseManifest:
    """The newest manifest, with all its rows: deciding compares every clip with every other."""
    number, manifest = newest(store)
    if manifest is None:
        return BaseManifest()
    dataset = Dataset(store, number, manifest)
    return BaseManifest(
        sources=list(dataset.sources().rows()),
        quarantine=list(dataset.quarantine().rows()),
        index=list(dataset.index().rows()),
        number=number,
        looks=dataset.looks().table(),
        recipe=manifest.recipe,
        shards={shard.id: shard for shard in manifest.shards},
    )


def shards_of(outcome: Outcome, existing: Mapping[str, Shard]) -> list[Shard]:
    """The shards that kept clips lie in. Raises KeyError if one is neither known nor written: a fault of
    ours."""
    held: dict[str, list[PlacedClip]] = {}
    for clip in outcome.clips:
        if clip.kept:
            held.setdefault(clip.stored["shard"], []).append(clip)
    shards = []
    for shard_id, clips in sorted(held.items()):
        if shard_id in existing:
            shards.append(existing[shard_id])
            continue
        first = clips[0].decided
        row, name = outcome.written[first.clip_id], first.bucket
        key = shard_key(name, shard_id)
        shards.append(Shard(shard_id, name, key, row["shard_sha256"], row["shard_bytes"], len(clips)))
    return sorted(shards, key=lambda shard: (shard.bucket, shard.id))


@dataclass(frozen=True, slots=True)
class ManifestContent:
    """What a manifest is made of. rows: of the index, the sources and the quarantine, in any order. captions:
    captioner and fingerprint. settings: what the dataset was curated with.
    """

    index: Sequence[Row]
    sources: Sequence[Row]
    quarantine: Sequence[Row]
    looks: pa.Table
    shards: Sequence[Shard]
    recipe: Recipe
    captions: Mapping[str, str]
    settings: Mapping[str, Any]


def commit(store: Store, base: int, content: ManifestContent) -> int:
    """Publish the manifest after `base`, unless that one says the same; the number of the one that says it.

    Raises:
        LostRaceError: another run was first.
    """
    index = sorted(content.index, key=lambda row: (row["source_uri"], row["start_pts"], row["clip_id"]))
    sources = sorted(content.sources, key=lambda row: row["uri"])
    quarantine = sorted(
        ({**row, "message": redact(row["message"])} for row in content.quarantine),
        key=lambda row: (
            row["source_uri"],
            row["stage"],
            row["clip_id"] or "",
            row["start_s"] or 0.0,
            row["reason"],
        ),
    )
    manifest = Manifest(
        schema=SCHEMA_VERSION,
        shards=tuple(content.shards),
        index=_put(store, "index", table(index, INDEX)),
        sources=_put(store, "sources", table(sources, SOURCES)),
        quarantine=_put(store, "quarantine", table(quarantine, QUARANTINE)),
        looks=_put(store, "looks", content.looks.sort_by("clip_id")),
        recipe={"name": content.recipe.name, "hash": content.recipe.hash, "rules": content.recipe.as_rows()},
        captions=dict(content.captions),
        settings=dict(content.settings),
    )
    return publish(store, base, manifest)


def _put(store: Store, folder: str, content: pa.Table) -> tuple[str, ...]:
    if not len(content):
        return ()
    data = parquet_bytes(content)
    key = f"{folder}/{hash_bytes(data)}.parquet"
    kill_point("tables:before")
    store.put_new(key, data)
    kill_point("tables:after")
    return (key,)
