"""`rushes inspect`: what a dataset holds, counted from its newest manifest.

In: a dataset. Out: its footage, clips and why some were rejected, quarantine, gaps (stretches lost to
damage), recipe, buckets, shards, and the manifest that says so.
"""

from collections.abc import Iterable
from typing import Any

import pyarrow.compute as pc

from jobs.cli.run_folder import Run, Scratch, scratch_run_folder
from jobs.cli.terminal_text import dump_escaped_json
from jobs.curation.config import InspectConfig
from pipelines.dataset.manifest import manifest_key
from pipelines.dataset.reader import Dataset, open_dataset
from pipelines.dataset.schema import KEPT, REJECTED, is_gap
from pipelines.even_sample import even_sample

_MOST_TOLD = 10  # of the quarantine, spread over all of it
_TOLD = ("source_uri", "clip_id", "stage", "reason", "message")


def check(cfg: InspectConfig) -> None:
    """There is a dataset."""
    open_dataset(cfg.dataset)


def run_folder(cfg: InspectConfig) -> Scratch:
    return scratch_run_folder("inspect")


def run(cfg: InspectConfig, run: Run) -> dict[str, Any]:
    """Print and return what there is."""
    from jobs.listing.dataset_text import as_text

    holds = describe(cfg.dataset)
    print(dump_escaped_json(holds, indent=2) if cfg.format == "json" else as_text(holds))
    return holds


def describe(uri: str) -> dict[str, Any]:
    """What a dataset holds: `hours` are of kept clips, `bytes` of shards; reasons are counted by clip, so a
    clip that is rejected for two is counted under both.
    """
    from jobs.listing.account import account_of, sort_by_count

    dataset = open_dataset(uri)
    account = account_of(dataset)
    buckets, duplicates = _buckets(dataset)
    rows, gaps = 0, 0
    for row in dataset.quarantine(["start_s"]).rows():
        rows += 1
        gaps += is_gap(row)
    return {
        "videos": account.sources.get("video", 0),
        "sources": sum(account.sources.values()),
        "ignored": account.sources.get("ignored", 0),
        "clips_kept": account.clips.get(KEPT, 0),
        "clips_rejected": account.clips.get(REJECTED, 0),
        "clips_duplicate": duplicates,
        "quarantined": rows - gaps,
        "buckets": buckets,
        "shards": len(dataset.shards()),
        "bytes": sum(shard.bytes for shard in dataset.shards()),
        "hours": sum(bucket["hours"] for bucket in buckets.values()),
        "gaps": gaps,
        "lost_s": sum(row["lost_s"] or 0.0 for row in dataset.sources(["lost_s"]).rows()),
        "sources_duplicate": account.sources.get("duplicate", 0),
        "sources_quarantined": account.sources.get("quarantined", 0),
        "footage_s": account.footage_s,
        "kept_s": account.seconds[KEPT],
        "rejected_s": account.seconds[REJECTED],
        "between_clips_s": account.between_s,
        "reject_reasons": sort_by_count(account.reasons),
        "reject_reasons_s": {reason: account.reasons_s[reason] for reason in sort_by_count(account.reasons)},
        "quarantine_reasons": {
            "sources": sort_by_count(account.quarantined_sources),
            "clips": sort_by_count(account.quarantined_clips),
            "stretches": sort_by_count(account.lost_stretches),
        },
        "quarantine_some": _some(dataset.quarantine(_TOLD).rows(), rows),
        "recipe": {"rules": []} | dataset.manifest.recipe,
        "captioner": dataset.manifest.captions.get("captioner"),
        "manifest": _manifest(dataset),
        "dataset": uri,
    }


def _some(rows: Iterable[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """A few of so many rows, spread over all of them."""
    shown = set(even_sample(range(number), _MOST_TOLD))
    return [row for place, row in enumerate(rows) if place in shown]


def _buckets(dataset: Dataset) -> tuple[dict[str, dict[str, float]], int]:
    """Kept clips and shards by bucket; and how many clips are copies."""
    buckets: dict[str, dict[str, float]] = {}
    duplicates = 0
    for batch in dataset.index(["status", "bucket", "duration_s", "duplicate_of"]):
        duplicates += batch.num_rows - batch["duplicate_of"].null_count
        for clip in batch.filter(pc.equal(batch["status"], KEPT)).to_pylist():
            bucket = buckets.setdefault(clip["bucket"], {"clips": 0, "hours": 0.0, "shards": 0, "bytes": 0})
            bucket["clips"] += 1
            bucket["hours"] += clip["duration_s"] / 3600
    buckets = dict(sorted(buckets.items()))
    for shard in dataset.shards():
        bucket = buckets.setdefault(shard.bucket, {"clips": 0, "hours": 0.0, "shards": 0, "bytes": 0})
        bucket["shards"] += 1
        bucket["bytes"] += shard.bytes
    return buckets, duplicates


def _manifest(dataset: Dataset) -> dict[str, Any]:
    """Which one, and when it was published: the store knows, the manifest itself holds no times.

    `after` is the number of the one that it followed; `after_there` whether that is still there.
    """
    there = {entry.key: entry for entry in dataset.store.entries("manifests/")}
    key, before = manifest_key(dataset.number), dataset.number - 1
    return {
        "number": dataset.number,
        "key": key,
        "written_s": there[key].modified_s,
        "after": before or None,
        "after_there": manifest_key(before) in there,
    }
