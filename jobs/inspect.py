"""`rushes inspect`: what a dataset holds, counted from its newest manifest.

In: a dataset. Out: videos, sources, ignored, clips kept and rejected, duplicates among the rejected, quarantined, buckets,
shards, bytes, hours.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from jobs.curation.config import InspectConfig
from jobs.run_folder import Run, scratch_run_folder
from pipelines.dataset import open_dataset
from pipelines.schema import KEPT, REJECTED


def check(cfg: InspectConfig) -> None:
    """There is a dataset."""
    open_dataset(cfg.dataset)


def run_folder(cfg: InspectConfig) -> Path:
    return scratch_run_folder("inspect")


def run(cfg: InspectConfig, run: Run) -> dict[str, Any]:
    """Print and return the counts."""
    holds = describe(cfg.dataset)
    print(json.dumps(holds, indent=2) if cfg.format == "json" else as_text(holds))
    return holds


def describe(uri: str) -> dict[str, Any]:
    """The counts of a dataset: hours are of kept clips, bytes of shards."""
    dataset = open_dataset(uri)
    sources = Counter(dataset.sources()["status"].to_pylist())
    clips = dataset.index().select(["status", "bucket", "duration_s", "duplicate_of"]).to_pylist()
    status = Counter(clip["status"] for clip in clips)
    buckets: dict[str, dict[str, float]] = {}
    for clip in sorted((c for c in clips if c["status"] == KEPT), key=lambda c: c["bucket"]):
        bucket = buckets.setdefault(clip["bucket"], {"clips": 0, "hours": 0.0})
        bucket["clips"] += 1
        bucket["hours"] += clip["duration_s"] / 3600
    return {
        "videos": sources["video"],
        "sources": sum(sources.values()),
        "ignored": sources["ignored"],
        "clips_kept": status[KEPT],
        "clips_rejected": status[REJECTED],
        "clips_duplicate": sum(clip["duplicate_of"] is not None for clip in clips),
        "quarantined": len(dataset.quarantine()),
        "buckets": buckets,
        "shards": len(dataset.shards()),
        "bytes": sum(shard.bytes for shard in dataset.shards()),
        "hours": sum(bucket["hours"] for bucket in buckets.values()),
    }


def as_text(holds: dict[str, Any]) -> str:
    """The same for people: a line per key, a line per bucket."""
    lines = []
    for key, value in holds.items():
        if key == "buckets":
            lines.append("buckets")
            lines += [f"  {name:<20} {b['clips']:>8} clips {b['hours']:>12.6f} hours" for name, b in value.items()]
        else:
            lines.append(f"{key:<16} {value:.6f}" if isinstance(value, float) else f"{key:<16} {value}")
    return "\n".join(lines)
