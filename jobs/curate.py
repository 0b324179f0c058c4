"""`rushes curate`: footage → dataset. Finds shots, scores and decides, captions, cuts, and commits one
manifest.

In: footage and a dataset (new, or one to add to). Out: the next manifest of the dataset, or none if nothing
changed. What was finished before, by this run or any other with the same settings, is not done again.
"""

from contextlib import ExitStack
from dataclasses import replace
from time import monotonic
from typing import Any

from jobs.cli.footage_history import allowed_footage_for, record_footage
from jobs.cli.run_folder import Run, new_run_folder
from jobs.curation.config import CurateConfig
from jobs.listing.summary import say_clips
from pipelines.dataset.manifest import current_recipe
from pipelines.footage.listing import check_footage, find_footage
from pipelines.recipes.recipe import check_measurable, load_recipe
from pipelines.scores.nsfw import INSTALL as INSTALL_NSFW
from pipelines.scores.registry import check as check_models
from pipelines.scores.registry import missing, resolve_config
from pipelines.storage.open_store import open_store


def check(cfg: CurateConfig) -> None:
    """The footage is there, the dataset's URI is one, models and captioner are known, what the recipe and the
    search for copies need is measured.
    """
    from recaption.captioners.registry import check_captioner

    check_footage(cfg.footage, cfg.uri_column)
    store = open_store(cfg.dataset)
    scores = resolve_config(cfg.scores)
    check_models(scores)
    check_measurable(load_recipe(cfg.recipe, current_recipe(store)), scores)
    check_captioner(cfg.captioner)
    if cfg.dedup.semantic is not None and (why := missing("tags", scores)) is not None:
        raise ValueError(
            f"dedup.semantic={cfg.dedup.semantic} compares embeddings, which are measured with tags: {why}, "
            "or dedup.semantic=null"
        )


def run_folder(cfg: CurateConfig) -> str:
    return new_run_folder(cfg.dataset, "curate")


def run(cfg: CurateConfig, run: Run) -> dict[str, Any]:
    """Curate. Returns the run's metrics, which are also in metrics.json beside ledger.json.

    Raises:
        LedgerError: something was lost or counted twice.
    """
    from jobs.curation.curation import Curation
    from pipelines.sandbox.child import isolation_support

    started = monotonic()
    have = isolation_support()
    if not have.is_complete:
        run.say(f"what opens footage is confined by {have} only: {have.missing_protection}")
    cfg = replace(cfg, scores=resolve_config(cfg.scores))
    if cfg.scores.nsfw is None:
        run.say(
            f"nsfw is not measured: NudeNet (AGPL-3.0) is not installed; {INSTALL_NSFW}, or scores.nsfw=false"
        )
    record_footage(cfg.footage, cfg.uri_column)
    with ExitStack() as stack:
        footage = find_footage(cfg.footage, cfg.limit, cfg.uri_column)
        curation = Curation(cfg, footage, run, stack, allowed_footage_for(None, cfg.uri_column))
        result = curation.finish(curation.analyse())
    metrics = result | curation.did | {"seconds": round(monotonic() - started, 2)}
    run.write_json("ledger.json", curation.ledger)
    run.write_json("metrics.json", metrics)
    _summary(run, curation.ledger, metrics)
    say_clips(cfg.dataset, run, curation.ledger, metrics, cfg.footage)
    return metrics


def _summary(run: Run, ledger: dict[str, int], metrics: dict[str, Any]) -> None:
    run.say(
        f"sources {ledger['sources']} = videos {ledger['videos']} + duplicates {ledger['duplicates']} + "
        f"ignored {ledger['ignored']} + quarantined {ledger['sources_quarantined']}"
    )
    run.say(
        f"decoded {metrics['videos_decoded']} videos, captioned {metrics['clips_captioned']} clips, "
        f"cut {metrics['clips_cut']} in {metrics['seconds']:.1f} s"
    )
