"""`rushes requeue`: try again what a dataset has in quarantine. What was a passing fault, or a limit too low,
is mended.

In: a dataset; which of its quarantine, and other limits, if wanted. Out: the next manifest, in which what
succeeded is as if it had never failed; what fails again is in the quarantine again, with its reason of today.
All else is as the dataset was curated.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from fnmatch import fnmatch
from time import monotonic
from typing import Any

from jobs.cli.footage_history import allowed_footage_for
from jobs.cli.run_folder import Run, new_run_folder
from jobs.curation.config import CurateConfig, RequeueConfig
from jobs.upkeep.settings import dataset_config
from pipelines.dataset.reader import open_dataset
from pipelines.dataset.schema import Row, is_gap
from pipelines.errors import Reason
from pipelines.footage.allowed_footage import AllowedFootage
from pipelines.footage.listing import check_footage
from pipelines.records import Missing, Source
from pipelines.scores.registry import check as check_models
from pipelines.storage import s3


def check(cfg: RequeueConfig) -> None:
    """There is a dataset, its settings are known, its models are there, the reasons are ones, and the footage
    is there."""
    open_dataset(cfg.dataset)
    check_models(_as_curated(cfg).scores)
    if cfg.footage is not None:
        check_footage(cfg.footage, cfg.uri_column)
    if unknown := set(cfg.reasons) - set(Reason):
        raise ValueError(f"reasons={sorted(unknown)}: not known; known are {', '.join(Reason)}")


def run_folder(cfg: RequeueConfig) -> str:
    return new_run_folder(cfg.dataset, "requeue")


def run(cfg: RequeueConfig, run: Run) -> dict[str, Any]:
    """Try again. Returns the run's metrics, which are also in metrics.json.

    Raises:
        LedgerError: something was lost or counted twice.
    """
    from jobs.curation.curation import Curation
    from jobs.curation.fingerprints import fingerprints
    from jobs.listing.summary import say_clips
    from jobs.upkeep.clear_failures import forget_clips, forget_source
    from pipelines.footage.listing import Footage

    started = monotonic()
    dataset = open_dataset(cfg.dataset)
    rows, number = _requested_rows(dataset.quarantine().rows, cfg)
    run.say(f"{len(rows)} of {number} rows of the quarantine are tried again")
    if not rows:
        return {"tried": 0, "still_quarantined": 0}
    given = allowed_footage_for(cfg.footage, cfg.uri_column)
    rows = _given_of(rows, given, run)
    curated = _as_curated(cfg)
    prints = fingerprints(curated)
    uris = {row["source_uri"] for row in rows}
    known = {row["uri"]: row for row in dataset.sources().rows() if row["uri"] in uris}
    sources, missing = _listed([known[uri] for uri in sorted(uris)])
    video_ids = {row["source_uri"]: row["video_id"] for row in rows}
    for source in sources:
        forget_source(source, video_ids[source.uri], dataset.store, prints)
    here = {source.uri for source in sources}
    forget_clips(
        [row["clip_id"] for row in rows if row["clip_id"] and row["source_uri"] in here],
        dataset.store,
        prints,
    )
    with ExitStack() as stack:
        curation = Curation(curated, Footage(tuple(sources), (), tuple(missing)), run, stack, given)
        result = curation.finish(curation.analyse())
    tried = {(row["source_uri"], row["clip_id"]) for row in rows}
    left = open_dataset(cfg.dataset).quarantine(["source_uri", "clip_id", "start_s"]).rows()
    still = sum((row["source_uri"], row["clip_id"]) in tried for row in left if not is_gap(row))
    metrics = result | curation.did | {"tried": len(rows), "still_quarantined": still}
    metrics |= {"seconds": round(monotonic() - started, 2)}
    run.write_json("ledger.json", curation.ledger)
    run.write_json("metrics.json", metrics)
    run.say(f"of {len(rows)} that were tried again, {still} are still in quarantine")
    say_clips(cfg.dataset, run, curation.ledger, metrics, cfg.footage)
    return metrics


def _requested_rows(quarantine: Callable[[], Iterable[Row]], cfg: RequeueConfig) -> tuple[list[Row], int]:
    """Rows to try again: those asked for, and copies of the same bytes that failed with them, since they
    succeed with them; and how many rows there are.

    A file whose name is no text can't be found again by the name that the quarantine has: it needs another
    name first. What damage has lost of a video stays lost: another decoder finds it, and `rushes curate`
    measures again then.
    """

    def requested(row: Row) -> bool:
        known = not cfg.reasons or row["reason"] in cfg.reasons
        return _can_be_found(row) and known and fnmatch(row["source_uri"], cfg.sources)

    number = 0
    videos: set[str | None] = set()
    for row in quarantine():
        number += 1
        videos |= {row["video_id"]} if requested(row) else set()
    videos -= {None}
    rows = [
        row
        for row in quarantine()
        if requested(row) or (row["video_id"] in videos and row["clip_id"] is None and _can_be_found(row))
    ]
    return rows, number


def _can_be_found(row: Row) -> bool:
    return (row["stage"], row["reason"]) != ("plan", Reason.UNREADABLE) and not is_gap(row)


def _given_of(rows: Sequence[Row], given: AllowedFootage, run: Run) -> list[Row]:
    """Rows of sources that were given: nothing else is opened.

    Raises:
        ValueError: there are none.
    """
    opens = {uri: given.allows(uri) for uri in {row["source_uri"] for row in rows}}
    refused = sorted(uri for uri, is_given in opens.items() if not is_given)
    if not refused:
        return list(rows)
    told = f"nobody gave {refused[0]} here" + (f" and {len(refused) - 1} more" if len(refused) > 1 else "")
    told += ", only the dataset names it; give the footage with footage="
    if len(refused) == len(opens):
        raise ValueError(told)
    run.say(f"left as they are: {told}")
    return [row for row in rows if opens[row["source_uri"]]]


def _as_curated(cfg: RequeueConfig) -> CurateConfig:
    """The configuration that the dataset was curated with; of the limits those that are given now."""
    curated = dataset_config(cfg.dataset, cfg.scores)
    given = {name: value for name, value in asdict(cfg.limits).items() if value is not None}
    curated.limits = replace(curated.limits, **given)
    curated.recipe.name, curated.ray = "current", cfg.ray
    return curated


def _listed(rows: Sequence[Row]) -> tuple[list[Source], list[Missing]]:
    """Sources of the sources table as they are now, with what their list said of them then; and who is not
    there."""
    from pipelines.footage.listing import find_footage

    sources, missing = [], []
    for row in rows:
        about = {name: row[f"source_{name}"] for name in ("text", "license", "dataset")}
        try:
            found = find_footage(row["uri"])
        except OSError as error:
            if s3.is_s3(row["uri"]) and not isinstance(error, s3.SINGLE_OBJECT_ERRORS):
                raise  # the store is away, or refuses everything: nobody is missing for that
            gone: Sequence[Missing] = [Missing(row["uri"], "plan", Reason.MISSING, str(error))]
        else:
            sources += [replace(source, **about) for source in found.sources if source.uri == row["uri"]]
            gone = found.missing
        if row["status"] == "quarantined":  # of a source with clips only one clip is: the others stay
            missing += [replace(one, **about) for one in gone]
    return sources, missing
