"""`rushes passport`: all that is known of one clip.

In: a dataset, and a clip: its id, the beginning of it, or a file of the footage and a time. Out: identity,
span, media, scores with their units and models, every rule that was asked, copies, captions, and where its
bytes lie.
"""

from typing import Any

from jobs.cli.run_folder import Run, Scratch, scratch_run_folder
from jobs.cli.terminal_text import dump_escaped_json
from jobs.curation.config import PassportConfig
from jobs.listing.ids import ids_of
from pipelines.dataset.reader import Dataset, open_dataset


def check(cfg: PassportConfig) -> None:
    """There is a dataset, and it has just one such clip."""
    if (cfg.clip is None) == (cfg.source is None):
        given = "neither is given" if cfg.clip is None else "both are given"
        raise ValueError(f"passport needs clip=<id> or source=<file> at_s=<seconds>, and {given}")
    if cfg.clip is not None and cfg.at_s is not None:
        raise ValueError("at_s is a time in a source: give source=<file> with it, in place of clip")
    dataset = open_dataset(cfg.dataset)
    if cfg.clip is None:
        _clip(dataset, cfg)
    elif sum(clip_id.startswith(cfg.clip) for clip_id in ids_of(dataset)) != 1:
        _passport(dataset, cfg)  # raises, as it knows why


def run_folder(cfg: PassportConfig) -> Scratch:
    return scratch_run_folder("passport")


def run(cfg: PassportConfig, run: Run) -> dict[str, Any]:
    """Print and return the passport.

    Raises:
        ValueError: no clip, or more than one, is meant.
    """
    from jobs.listing.passport_text import as_text

    told = _passport(open_dataset(cfg.dataset), cfg)
    print(dump_escaped_json(told, indent=2) if cfg.format == "json" else as_text(told))
    return told


def _passport(dataset: Dataset, cfg: PassportConfig) -> dict[str, Any]:
    from jobs.listing.passport_text import passport

    return passport(dataset, _clip(dataset, cfg))


def _clip(dataset: Dataset, cfg: PassportConfig) -> str:
    """Its id, or the beginning of it, as far as it was asked for so."""
    from jobs.listing.clip_at import clip_at

    return cfg.clip if cfg.clip is not None else clip_at(dataset, str(cfg.source), cfg.at_s)
