"""The settings that a dataset was curated with, as far as a user gives its models again.

In: a dataset. Out: a configuration of curation; without footage and recipe.
"""

from dataclasses import asdict, replace
from pathlib import Path

from jobs.cli.build_config import build_config
from jobs.cli.fields import check_values
from jobs.curation.config import NO_SETTINGS, CurateConfig, UserModels
from pipelines.dataset.reader import open_dataset
from pipelines.precision import AUTO, decide
from pipelines.scores.config import ScoreConfig


def dataset_config(dataset: str, models: UserModels | None = None) -> CurateConfig:
    """The configuration that a dataset was curated with, without footage and recipe; its precision is
    decided.

    Args:
        models: what the user gave again of the models that it names. Without it they are left out, for who
        needs none of them.

    Raises:
        ValueError: it has keys that this version does not know, or values out of their limits; or it names a
            model that was not given again.
    """
    settings = {
        name: value
        for name, value in open_dataset(dataset).manifest.settings.items()
        if name not in NO_SETTINGS
    }
    try:
        curated = build_config(CurateConfig, {**settings, "dataset": dataset, "footage": ""})
        check_values(curated)
    except ValueError as error:
        raise ValueError(
            f"dataset={dataset} was curated with settings that this version does not know ({error}); run "
            "rushes curate on its footage again"
        ) from error
    if models is None:
        curated.scores = replace(curated.scores, **dict.fromkeys(asdict(UserModels())))
    else:
        _check_given(curated.scores, models, dataset)
    if curated.precision == AUTO:  # of a time that knew no choice
        curated.precision = decide(AUTO).name
    return curated


def _check_given(scores: ScoreConfig, models: UserModels, dataset: str) -> None:
    """Raises ValueError for a model that the dataset names and the user does not, or names otherwise."""
    named = {name: getattr(scores, name) for name in asdict(models)}
    again = " ".join(f"scores.{name}={value}" for name, value in named.items() if value is not None)
    for name, given in asdict(models).items():
        if given is None and named[name] is not None:
            raise ValueError(
                f"dataset={dataset} says that it was curated with {again}; nothing is opened or loaded "
                "because a dataset says so: if it is yours, or you know what that is, give it again"
            )
        if given is not None and (named[name] is None or _place(given) != _place(named[name])):
            raise ValueError(
                f"scores.{name}={given} is not what dataset={dataset} was curated with ({named[name]}); "
                "leave it out, or curate again"
            )


def _place(name: str) -> str:
    """A file or folder, however it was typed; a name of a model as it is."""
    return str(Path(name.removeprefix("local-dir:")).absolute())
