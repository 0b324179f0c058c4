"""`rushes clean`: lists, then removes, what no manifest of a dataset refers to.

In: a dataset, and how much is to go. Out: clean.json and listed.txt in the run's folder; with `remove=true`, a smaller
dataset that holds the same. Manifests go first and the newest never, so what remains is whole at every moment.
"""

from collections.abc import Mapping
from typing import Any

from jobs.run_folder import Run, new_run_folder
from jobs.select import as_curated
from jobs.upkeep.config import CleanConfig
from pipelines.dataset import open_dataset

_EXAMPLES = 3
_MIB = 1024**2


def check(cfg: CleanConfig) -> None:
    """There is a dataset; for its finished work, its settings are known to this version."""
    open_dataset(cfg.dataset)
    if cfg.stages:
        as_curated(cfg.dataset)


def run_folder(cfg: CleanConfig) -> str:
    return new_run_folder(cfg.dataset, "clean")


def run(cfg: CleanConfig, run: Run) -> dict[str, Any]:
    """List, and remove if that is wanted. Returns count, bytes and examples by kind, which are also in clean.json.

    Raises:
        RuntimeError: another run committed in the meantime; what has not been removed by then stays.
    """
    from jobs.upkeep.reachable import KINDS, SCRATCH, Reachable, Wanted
    from pipelines.store import open_store

    store = open_store(cfg.dataset)
    wanted = Wanted(cfg.old_manifests, _used(cfg) if cfg.stages else None, cfg.min_age_h * 3600)
    reachable = Reachable(store, wanted)
    listed: dict[str, dict[str, Any]] = {}
    with (run.folder / "listed.txt").open("w") as file:
        for kind in KINDS:
            told = listed[kind] = {"count": 0, "bytes": 0, "examples": []}
            for entry in reachable.going(kind):
                told["count"] += 1
                told["bytes"] += entry.size_bytes
                told["examples"] += [entry.key] if len(told["examples"]) < _EXAMPLES else []
                file.write(f"{kind}\t{entry.size_bytes}\t{entry.key}\n")
    _say(listed, KINDS, run)
    removed = 0
    for kind in KINDS if cfg.remove else ():
        if not reachable.still_newest():
            raise RuntimeError(
                f"another run committed to {cfg.dataset} in the meantime; {removed} objects were removed, the rest stays: "
                "run rushes clean again when none is at work"
            )
        for entry in reachable.going(kind):
            if kind == SCRATCH:
                store.discard(entry)
            else:
                store.delete(entry.key)
            removed += 1
    result = {"listed": listed, "removed": removed}
    run.write_json("clean.json", result)
    count = sum(told["count"] for told in listed.values())
    if cfg.remove:
        run.say(f"removed {removed} objects")
    elif count:
        run.say(f"{count} objects can go: remove=true removes them; each is in {run.folder / 'listed.txt'}")
    return result


def _say(listed: Mapping[str, Mapping[str, Any]], kinds: Mapping[str, str], run: Run) -> None:
    for kind, told in listed.items():
        if told["count"]:
            more = " …" if told["count"] > len(told["examples"]) else ""
            examples = ", ".join(told["examples"])
            run.say(f"  {told['count']} {kinds[kind]}, {told['bytes'] / _MIB:.1f} MiB: {examples}{more}")
    if not any(told["count"] for told in listed.values()):
        run.say("nothing can go")


def _used(cfg: CleanConfig) -> dict[str, frozenset[str]]:
    """The fingerprints that curation goes on with, by stage; those that are not configured have none."""
    from jobs.curation.fingerprints import fingerprints
    from pipelines.scores.registry import METERS

    prints = fingerprints(as_curated(cfg.dataset))
    used = {name: {prints.measured[name]} if name in prints.measured else set() for name in METERS}
    used |= {name: {value} for name, value in prints.measured.items()}
    used |= {name: {getattr(prints, name)} for name in ("identify", "probe", "clips", "captions", "cut", "shards")}
    used |= {"looks": {prints.clips}, "dover": {prints.dover} - {None}, "match": {prints.match} - {None}}
    return {name: frozenset(values) for name, values in used.items()}
