"""`rushes clean`: lists, then removes, what no manifest of a dataset refers to.

In: a dataset, and how much is to go. Out: clean.json and listed.txt in the run's folder; with `remove=true`,
a smaller dataset that holds the same. What is not a dataset's own, by its name, is listed and left. Manifests
go first and the newest never, so what remains is whole at every moment.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jobs.cli.formatting import format_bytes, format_count
from jobs.cli.run_folder import Run, new_run_folder
from jobs.upkeep.config import CleanConfig
from jobs.upkeep.settings import dataset_config
from pipelines.dataset.reader import open_dataset
from pipelines.storage.base import Entry

_EXAMPLES = 3
_MOST_STRANGERS = 1000  # in clean.json


def check(cfg: CleanConfig) -> None:
    """There is a dataset; for its finished work, its settings are known to this version."""
    open_dataset(cfg.dataset)
    if cfg.stages:
        dataset_config(cfg.dataset, cfg.scores)


def run_folder(cfg: CleanConfig) -> str:
    return new_run_folder(cfg.dataset, "clean")


def run(cfg: CleanConfig, run: Run) -> dict[str, Any]:
    """List, and remove if that is wanted. Returns count, bytes and examples by kind, and the same of what
    would go but is too young; both are also in clean.json.

    Raises:
        RuntimeError: another run committed in the meantime; what has not been removed by then stays.
    """
    from jobs.upkeep.reachable import KINDS, SCRATCH, CleanRequest, Reachable
    from pipelines.storage.open_store import open_store

    store = open_store(cfg.dataset)
    wanted = CleanRequest(cfg.old_manifests, _used(cfg) if cfg.stages else None, cfg.min_age_h * 3600)
    reachable = Reachable(store, wanted)
    listed: dict[str, dict[str, Any]] = {}
    young: dict[str, dict[str, Any]] = {}
    with (run.folder / "listed.txt").open("w") as file:
        for kind in KINDS:
            listed[kind], young[kind] = _none_yet(), _none_yet() | {"newest_s": 0.0}
            for entry, now in reachable.candidates(kind):
                _count((listed if now else young)[kind], entry)
                if now:
                    file.write(f"{kind}\t{entry.size_bytes}\t{entry.key}\n")
                else:
                    young[kind]["newest_s"] = max(young[kind]["newest_s"], entry.modified_s)
    _say(listed, KINDS, run)
    strangers = list(reachable.unknown_files())
    removed = 0
    for kind in KINDS if cfg.remove else ():
        if not reachable.still_newest():
            raise RuntimeError(
                f"another run committed to {cfg.dataset} in the meantime; {removed} objects were removed, "
                "the rest stays: run rushes clean again when none is at work"
            )
        for entry in reachable.removable(kind):
            if kind == SCRATCH:
                store.discard(entry)
            else:
                store.delete(entry.key)
            removed += 1
    left = {
        "count": len(strangers),
        "examples": [{"key": key, "why": why} for key, why in strangers[:_MOST_STRANGERS]],
    }
    result = {"listed": listed, "young": young, "removed": removed, "not_ours": left}
    run.write_json("clean.json", result)
    number = sum(told["count"] for told in listed.values())
    if cfg.remove:
        run.say(f"removed {format_count(removed, 'object')}")
    elif number:
        run.say(
            f"{format_count(number, 'object')} can go: remove=true removes them; each is in "
            f"{run.folder / 'listed.txt'}"
        )
    else:
        run.say("nothing can go yet" if any(told["count"] for told in young.values()) else "nothing can go")
    _say_young(cfg, young, KINDS, run)
    _say_strangers(strangers, run)
    if reachable.older and not cfg.old_manifests:
        stays = ("the older manifest, and what only it names, stays", "it")
        stay = (f"{reachable.older:,} older manifests, and what only they name, stay", "them")
        said, whom = stays if reachable.older == 1 else stay
        run.say(f"{said}: old_manifests=true has {whom} go, too")
    return result


def _none_yet() -> dict[str, Any]:
    return {"count": 0, "bytes": 0, "examples": []}


def _count(told: dict[str, Any], entry: Entry) -> None:
    told["count"] += 1
    told["bytes"] += entry.size_bytes
    told["examples"] += [entry.key] if len(told["examples"]) < _EXAMPLES else []


def _say(listed: Mapping[str, Mapping[str, Any]], kinds: Mapping[str, str], run: Run) -> None:
    for kind, told in listed.items():
        if told["count"]:
            more = " …" if told["count"] > len(told["examples"]) else ""
            run.say(
                f"  {kinds[kind]}: {told['count']:,}, {format_bytes(told['bytes'])} "
                f"({', '.join(told['examples'])}{more})"
            )


def _say_young(
    cfg: CleanConfig, young: Mapping[str, Mapping[str, Any]], kinds: Mapping[str, str], run: Run
) -> None:
    """What would go but for its age, when it may, and how to have it go anyway."""
    there = {kind: told for kind, told in young.items() if told["count"]}
    if not there:
        return
    number, num_bytes = (sum(told[name] for told in there.values()) for name in ("count", "bytes"))
    may_go = datetime.fromtimestamp(
        max(told["newest_s"] for told in there.values()) + cfg.min_age_h * 3600, UTC
    )
    run.say(
        f"{format_count(number, 'object')}, {format_bytes(num_bytes)}, too young to go "
        f"(min_age_h={cfg.min_age_h:g}):"
    )
    _say(there, kinds, run)
    run.say(
        f"all of it may go after {may_go:%Y-%m-%d %H:%M} UTC; min_age_h=0 has it go now: only if nothing "
        "else runs on the dataset, whose work in progress would go with it"
    )


def _say_strangers(strangers: Sequence[tuple[str, str]], run: Run) -> None:
    if strangers:
        some = "; ".join(f"{key}: {why}" for key, why in strangers[:_EXAMPLES])
        run.say(f"not ours, left: {len(strangers):,} ({some}{' …' if len(strangers) > _EXAMPLES else ''})")


def _used(cfg: CleanConfig) -> dict[str, frozenset[str]]:
    """The fingerprints that curation goes on with, by stage; those that are not configured have none."""
    from jobs.curation.fingerprints import fingerprints
    from pipelines.scores.registry import METERS

    prints = fingerprints(dataset_config(cfg.dataset, cfg.scores))
    used: dict[str, set[str | None]]
    used = {name: {prints.measured[name]} if name in prints.measured else set() for name in METERS}
    used |= {name: {value} for name, value in prints.measured.items()}
    used |= {
        name: {getattr(prints, name)} for name in ("identify", "probe", "clips", "captions", "cut", "shards")
    }
    used |= {"looks": {prints.clips}, "dover": {prints.dover}, "match": {prints.match}}
    return {name: frozenset(v for v in values if v is not None) for name, values in used.items()}
