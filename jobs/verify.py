"""`rushes verify`: whether a dataset is what its newest manifest says: hashes, counts, ledger, every clip
decoded.

In: a dataset. Out: verify.json in the run's folder, with everything that was found; a failed job if that is
anything. Nothing of the dataset is changed.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import closing, nullcontext
from dataclasses import asdict
from time import monotonic
from typing import Any

from jobs.cli.run_folder import Run, new_run_folder
from jobs.upkeep.config import VerifyConfig
from jobs.upkeep.findings import Finding, UnsoundError
from jobs.upkeep.settings import dataset_config
from pipelines.dataset.manifest import BadManifestError
from pipelines.dataset.reader import Dataset, open_dataset
from pipelines.storage.base import Store

_SHOWN = 20  # findings on the console; all are in verify.json


def check(cfg: VerifyConfig) -> None:
    """There is a dataset, and its settings are known to this version. What is wrong with it is for the run to
    find."""
    try:
        dataset_config(cfg.dataset)
    except BadManifestError:  # a finding
        return


def run_folder(cfg: VerifyConfig) -> str:
    return new_run_folder(cfg.dataset, "verify")


def run(cfg: VerifyConfig, run: Run) -> dict[str, Any]:
    """Check everything. Returns the run's metrics, which are also in verify.json.

    Raises:
        UnsoundError: something is not as the manifest says.
    """
    started = monotonic()
    try:
        dataset = open_dataset(cfg.dataset)
    except BadManifestError as error:
        metrics: dict[str, Any] = {}
        found = [Finding("manifest", "the newest of manifests/", f"it can't be read ({error})")]
    else:
        metrics, found = _verify(dataset, cfg, run)
    metrics |= {"findings": len(found), "seconds": round(monotonic() - started, 2)}
    path = run.write_json("verify.json", metrics | {"found": [finding.as_row() for finding in found]})
    for finding in found[:_SHOWN]:
        run.say(f"  {finding}")
    if len(found) > _SHOWN:
        run.say(f"  and {len(found) - _SHOWN} more, see {path}")
    if found:
        counted = ", ".join(
            f"{count} {check}" for check, count in Counter(f.check for f in found).most_common()
        )
        raise UnsoundError(f"{len(found)} findings ({counted}); all of them: {path}")
    run.say(
        f"manifest {metrics['manifest']} is sound: {metrics['clips']} clips, {metrics['shards']} shards, "
        f"{metrics['clips_decoded']} clips decoded in {metrics['seconds']:.1f} s"
    )
    return metrics


def _verify(dataset: Dataset, cfg: VerifyConfig, run: Run) -> tuple[dict[str, Any], list[Finding]]:
    from jobs.upkeep.consistency import PROMISED, check_counts
    from jobs.upkeep.shard import COLUMNS
    from jobs.upkeep.tables import read_tables

    tables, found = read_tables(dataset)
    found += check_counts(tables, dataset.manifest.shards)
    run.say(f"manifest {dataset.number}: tables read, {len(found)} findings so far; now its shards")
    kept = () if tables.index is None else dataset.kept(list(dict.fromkeys([*COLUMNS, *PROMISED])))
    jobs = _jobs(dataset, kept, tables.index is not None, found)
    decoded = _check_shards(cfg, dataset, jobs, run, found)
    metrics = {"manifest": dataset.number, "shards": len(dataset.manifest.shards), "clips_decoded": decoded}
    metrics |= {"clips": sum(shard.clips for shard in dataset.manifest.shards)}
    metrics |= {"bytes": sum(shard.bytes for shard in dataset.manifest.shards)}
    return metrics, found


def _jobs(
    dataset: Dataset, kept: Iterable[dict[str, Any]], known: bool, found: list[Finding]
) -> list[dict[str, Any]]:
    """What is to be checked of each shard that is there; of the others that they are not.

    Args:
        known: whether the index can be relied on; else only the bytes of shards are checked.
    """
    from jobs.upkeep.consistency import comparable
    from jobs.upkeep.shard import COLUMNS

    named = {shard.key for shard in dataset.manifest.shards}
    sizes = {entry.key: entry.size_bytes for entry in dataset.store.entries("shards/") if entry.key in named}
    clips = defaultdict(list)
    for row in kept:
        if comparable(row):
            clips[row["shard"]].append({name: row[name] for name in COLUMNS})
    jobs = []
    for shard in dataset.manifest.shards:
        if shard.key not in sizes:
            found.append(Finding("shard", shard.key, _why_not(dataset.store, shard.key)))
            continue
        if sizes[shard.key] != shard.bytes:
            found.append(Finding("size", shard.key, f"it has {sizes[shard.key]} bytes, not {shard.bytes}"))
        rows = sorted(clips[shard.id], key=lambda row: row["offset"])
        jobs.append({"shard": asdict(shard), "size_bytes": sizes[shard.key], "clips": rows, "known": known})
    return jobs


def _why_not(store: Store, key: str) -> str:
    try:
        store.exists(key)
    except (PermissionError, ValueError) as error:  # a link that leads out, or no key
        return str(error)
    return "the manifest names it, and it is not there"


def _check_shards(
    cfg: VerifyConfig, dataset: Dataset, jobs: list[dict[str, Any]], run: Run, found: list[Finding]
) -> int:
    """How many clips were decoded."""
    from jobs.cli.progress import progress
    from jobs.cluster.connect import connect
    from jobs.cluster.in_process import footage_s, is_small
    from jobs.upkeep.graph import check_shards, check_shards_here
    from jobs.upkeep.shard import Settings

    if not jobs:
        return 0
    curated = dataset_config(cfg.dataset)
    sample = cfg.sample if cfg.decode else 0.0
    settings = Settings(dataset.store.uri, _prints(curated, dataset.store), curated.limits, sample)
    decoded, wrong = 0, 0
    clips_s = sample * sum(footage_s(job["clips"]) for job in jobs)
    small = is_small(cfg.ray, len(jobs), clips_s, sum(job["size_bytes"] for job in jobs))
    with (
        nullcontext() if small else connect(cfg.ray),
        progress("verify: shards", total=len(jobs), unit="shards") as bar,
        closing(
            check_shards_here(jobs, settings)
            if small
            else check_shards(jobs, settings, run.say, cfg.ray.stall_s)
        ) as checked,
    ):
        for told in checked:
            decoded += told["decoded"]
            wrong += len(told["found"])
            found += [Finding(*finding) for finding in told["found"]]
            bar.advance(1, note=f"{decoded} clips decoded, {wrong} findings")
    return decoded


def _prints(curated: Any, store: Store) -> Any:
    """What ids of shards are made of. None if this version makes other shards than the one that made these:
    where it has no finished work.
    """
    from jobs.curation.fingerprints import fingerprints

    prints = fingerprints(curated)
    return prints if next(iter(store.list(f"stages/shards/{prints.shards}/")), None) else None
