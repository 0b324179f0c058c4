"""A dataset made of rows alone: no footage, no shards, nothing decoded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.dataset.manifest import Manifest, publish
from pipelines.dataset.schema import INDEX, QUARANTINE, SCHEMA_VERSION, SOURCES, table
from pipelines.ids import hash_text
from pipelines.storage.open_store import open_store
from pipelines.storage.parquet import parquet_bytes

Row = dict[str, Any]
RULES = [{"score": "duration_s", "min": 2.0}, {"score": "luma_mean", "min": 16.0, "max": 240.0}]


def content_of(uri: str) -> str:
    """The video id of a source that was made up."""
    return hash_text(f"bytes of {uri}")


def clip(name: str, uri: str, start_s: float, end_s: float, *reasons: str, **more: Any) -> Row:
    """A row of the index; rejected if there are reasons."""
    return {
        "clip_id": name * (32 // len(name)),
        "source_uri": uri,
        "start_s": start_s,
        "end_s": end_s,
        "duration_s": end_s - start_s,
        "start_kind": "hard",
        "end_kind": "hard",
        "width": 64,
        "height": 48,
        "score_models": [],
        "score_gaps": [],
        "status": "rejected" if reasons else "kept",
        "reject_reasons": list(reasons),
        "bucket": "4x3_0_2s",
    } | more


def video(uri: str, duration_s: float, **more: Any) -> Row:
    """A row of the sources."""
    return {"uri": uri, "status": "video", "video_id": content_of(uri), "duration_s": duration_s} | more


def bad(uri: str, reason: str, clip_id: str | None = None, **more: Any) -> Row:
    """A row of the quarantine."""
    return {
        "source_uri": uri,
        "stage": "cut",
        "reason": reason,
        "message": "as it was",
        "clip_id": clip_id,
    } | more


def make(
    folder: Path,
    clips: Sequence[Row],
    sources: Sequence[Row],
    quarantine: Sequence[Row] = (),
    number: int = 1,
) -> str:
    """Publish it as the manifest of a number; its URI."""
    store = open_store(str(folder))
    tables = {"index": (clips, INDEX), "sources": (sources, SOURCES), "quarantine": (quarantine, QUARANTINE)}
    keys = {name: f"{name}/{number}.parquet" for name in tables}
    for name, (rows, schema) in tables.items():
        store.put_new(keys[name], parquet_bytes(table(rows, schema)))
    recipe = {"name": "test", "hash": "abc", "rules": RULES}
    manifest = Manifest(
        SCHEMA_VERSION,
        (),
        (keys["index"],),
        (),
        (keys["sources"],),
        (keys["quarantine"],),
        recipe,
        {},
        settings={},
    )
    publish(store, number - 1 if number > 1 else 0, manifest)
    return str(folder)
