"""`rushes select`: decide again which clips of a dataset are kept. Tightening touches no footage; loosening captions and
cuts only what is newly kept.

In: a dataset, and a recipe: its own, tightened or loosened, or another. Out: the next manifest, or none if nothing changed.
All else is as the dataset was curated.
"""

from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from time import monotonic
from typing import Any

from jobs.cli.fields import check_values
from jobs.cli.instances import instance_of
from jobs.cli.run_folder import Run, new_run_folder
from jobs.curation.config import NO_SETTINGS, CurateConfig, GivenModels, SelectConfig
from jobs.curation.remembered import given_to
from pipelines.config import ScoreConfig
from pipelines.dataset.reader import open_dataset
from pipelines.footage.listing import check_footage
from pipelines.precision import AUTO, decide
from pipelines.recipes.recipe import check_measurable, load_recipe


def check(cfg: SelectConfig) -> None:
    """There is a dataset, its settings are known to this version, it has the scores that the recipe needs, and the footage is there."""
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
    from jobs.curate import say_clips
    from jobs.curation.curation import Curation
    from pipelines.footage.listing import Footage

    started = monotonic()
    with ExitStack() as stack:
        selection = Curation(_as_curated(cfg), Footage((), (), ()), run, stack, given_to(cfg.footage, cfg.uri_column))
        result = selection.finish([])
    did = {name: selection.did[name] for name in ("clips_captioned", "clips_cut", "shards_written")}
    metrics = result | did | {"seconds": round(monotonic() - started, 2)}
    run.write_json("metrics.json", metrics)
    run.say(f"captioned {did['clips_captioned']} clips, cut {did['clips_cut']} in {metrics['seconds']:.1f} s")
    say_clips(cfg.dataset, run, selection.ledger, metrics, cfg.footage)
    return metrics


def as_curated(dataset: str, models: GivenModels | None = None) -> CurateConfig:
    """The configuration that a dataset was curated with, without footage and recipe; its precision is decided.

    Args:
        models: what the user gave again of the models that it names. Without it they are left out, for who needs none of them.

    Raises:
        ValueError: it has keys that this version does not know, or values out of their limits; or it names a model that was
            not given again.
    """
    settings = {
        name: value for name, value in open_dataset(dataset).manifest.settings.items() if name not in NO_SETTINGS
    }
    try:
        curated = instance_of(CurateConfig, {**settings, "dataset": dataset, "footage": ""})
        check_values(curated)
    except ValueError as error:
        raise ValueError(
            f"dataset={dataset} was curated with settings that this version does not know ({error}); run rushes curate "
            "on its footage again"
        ) from error
    if models is None:
        curated.scores = replace(curated.scores, **dict.fromkeys(asdict(GivenModels())))
    else:
        _check_given(curated.scores, models, dataset)
    if curated.precision == AUTO:  # of a time that knew no choice
        curated.precision = decide(AUTO).name
    return curated


def _check_given(scores: ScoreConfig, models: GivenModels, dataset: str) -> None:
    """Raises ValueError for a model that the dataset names and the user does not, or names otherwise."""
    named = {name: getattr(scores, name) for name in asdict(models)}
    again = " ".join(f"scores.{name}={value}" for name, value in named.items() if value is not None)
    for name, given in asdict(models).items():
        if given is None and named[name] is not None:
            raise ValueError(
                f"dataset={dataset} says that it was curated with {again}; nothing is opened or loaded because a dataset says so: "
                "if it is yours, or you know what that is, give it again"
            )
        if given is not None and (named[name] is None or _place(given) != _place(named[name])):
            raise ValueError(
                f"scores.{name}={given} is not what dataset={dataset} was curated with ({named[name]}); leave it out, or curate again"
            )


def _place(name: str) -> str:
    """A file or folder, however it was typed; a name of a model as it is."""
    return str(Path(name.removeprefix("local-dir:")).absolute())


def _as_curated(cfg: SelectConfig) -> CurateConfig:
    curated = as_curated(cfg.dataset, cfg.scores)
    curated.recipe, curated.ray = cfg.recipe, cfg.ray
    return curated
