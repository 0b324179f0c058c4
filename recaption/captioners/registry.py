"""Captioners by name: what they read, what their captions depend on, and how they are loaded.

In: a configuration. Out: its captioner, or its fingerprint without loading it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.naming import did_you_mean
from recaption.base import Captioner
from recaption.config import CaptionConfig


def _tagger(cfg: CaptionConfig) -> Captioner:
    from recaption.captioners.tagger import Tagger

    return Tagger(cfg)


def _tagger_fingerprint(cfg: CaptionConfig) -> str:
    from recaption.captioners.tagger import tagger_fingerprint

    return tagger_fingerprint(cfg)


def _own_text(cfg: CaptionConfig) -> Captioner:
    from recaption.captioners.own_text import OwnText

    return OwnText(cfg)


def _own_text_fingerprint(cfg: CaptionConfig) -> str:
    from recaption.captioners.own_text import own_text_fingerprint

    return own_text_fingerprint(cfg)


@dataclass(frozen=True, slots=True)
class _Entry:
    load: Callable[[CaptionConfig], Captioner]
    fingerprint: Callable[[CaptionConfig], str]
    scores: tuple[str, ...] = ()
    """Those that it puts into words: where they are measured anew, its captions are written anew."""


CAPTIONERS: dict[str, _Entry] = {
    "tagger": _Entry(
        _tagger,
        _tagger_fingerprint,
        scores=("camera", "motion_mean", "luma_mean", "luma_std", "sharpness", "tags", "colours"),
    ),
    "own_text": _Entry(_own_text, _own_text_fingerprint),
}


def load_captioner(cfg: CaptionConfig) -> Captioner:
    """The captioner of a configuration. Raises ValueError if there is none of that name."""
    return _entry(cfg.name).load(cfg)


def check_captioner(cfg: CaptionConfig) -> None:
    """Raises ValueError, with the near miss, if there is no captioner of that name. Loads nothing."""
    _entry(cfg.name)


def captioner_fingerprint(cfg: CaptionConfig) -> str:
    """What captions depend on, without loading the model. Raises ValueError if there is no such captioner."""
    return _entry(cfg.name).fingerprint(cfg)


def required_scores(cfg: CaptionConfig) -> tuple[str, ...]:
    """Names of the scores that captions depend on. Raises ValueError if there is no such captioner."""
    return _entry(cfg.name).scores


def _entry(name: str) -> _Entry:
    if name in CAPTIONERS:
        return CAPTIONERS[name]
    hint = did_you_mean(name, CAPTIONERS)
    raise ValueError(f"captioner.name={name}: captioner '{name}' is not known; {hint}")
