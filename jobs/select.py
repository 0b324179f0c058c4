"""`rushes select`: decide again which clips of a dataset are kept. Tightening touches no footage; loosening
captions and cuts only what is newly kept.

In: a dataset, and a recipe: its own, tightened or loosened, or another. Out: the next manifest, or none if
nothing changed. All else is as the dataset was curated.
"""

from contextlib import ExitStack
from time import monotonic
from typing import Any

from jobs.cli.footage_history import allowed_footage_for
from jobs.cli.run_folder import Run, new_run_folder
from jobs.curation.config import CurateConfig, SelectConfig
from jobs.upkeep.settings import dataset_config
from pipelines.dataset.reader import open_dataset
from pipelines.footage.listing import check_footage
from pipelines.recipes.recipe import check_measurable, load_recipe


def check(cfg: SelectConfig) -> None:
    """There is a dataset, its settings are known to this version, it has the scores that the recipe needs,
    and the footage is there."""
    if cfg.footage is not None:
        check_footage(cfg.footage, cfg.uri_column)
    curated = _as_curated(cfg)
    check_measurable(load_recipe(cfg.recipe, open_dataset(cfg.dataset).manifest.recipe), curated.scores)


def run_folder(cfg: SelectConfig) -> str:
    return new_run_folder(cfg.dataset, "select")


def run(cfg: SelectConfig, run: Run) -> dict[str, Any]:
    """Decide. Returns the run's metrics, which are also in metrics.json.

    Raises:
        LedgerError: a clip was lost or counted twice.
    """
    from jobs.curation.curation import Curation
    from jobs.listing.summary import say_clips
    from pipelines.footage.listing import Footage

    started = monotonic()
    with ExitStack() as stack:
        selection = Curation(
            _as_curated(cfg),
            Footage((), (), ()),
            run,
            stack,
            allowed_footage_for(cfg.footage, cfg.uri_column),
        )
        result = selection.finish([])
    did = {name: selection.did[name] for name in ("clips_captioned", "clips_cut", "shards_written")}
    metrics = result | did | {"seconds": round(monotonic() - started, 2)}
    run.write_json("metrics.json", metrics)
    run.say(f"captioned {did['clips_captioned']} clips, cut {did['clips_cut']} in {metrics['seconds']:.1f} s")
    say_clips(cfg.dataset, run, selection.ledger, metrics, cfg.footage)
    return metrics


def _as_curated(cfg: SelectConfig) -> CurateConfig:
    curated = dataset_config(cfg.dataset, cfg.scores)
    curated.recipe, curated.ray = cfg.recipe, cfg.ray
    return curated
