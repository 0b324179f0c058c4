"""What a captioner is: frames and measurements of one clip in, a caption out; and where captioners are found by name.

In: a `View` of a clip. Out: a `Caption` with a short text, a dense one and tags, signed by the model that made it. A
captioner knows neither Ray nor datasets; every request and answer carries the clip's id.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from recaption.config import CaptionConfig


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a captioner is shown of one clip.

    `frames` are RGB, uint8 (T, H, W, 3), native size, spread evenly over the clip: as many as the captioner wants, so there may
    be none; `scores` are those of the index (camera, motion, tags …); `text` is what the footage's own list says, if anything.
    """

    clip_id: str
    frames: np.ndarray
    scores: Mapping[str, Any]
    duration_s: float
    text: str | None = None


NO_FRAMES = np.empty((0, 0, 0, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Tags:
    """Structured words about a clip; each may be empty."""

    subject: tuple[str, ...] = ()
    setting: tuple[str, ...] = ()
    camera: tuple[str, ...] = ()
    light: tuple[str, ...] = ()
    motion: tuple[str, ...] = ()
    style: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caption:
    """Text of one clip: `short` is one sentence of at most 25 words, `dense` two to four sentences."""

    clip_id: str
    short: str
    dense: str
    tags: Tags
    model: str


class Captioner(Protocol):
    """Writes captions. `fingerprint` covers its version, settings and weights."""

    name: str
    fingerprint: str

    def frames_wanted(self, scores: Mapping[str, Any]) -> int:
        """How many frames it must see of a clip with these scores; 0 if what was measured is enough. Then no footage is
        opened for the clip, and no model is needed.
        """

    def caption(self, view: View) -> Caption: ...


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


def scores_read(cfg: CaptionConfig) -> tuple[str, ...]:
    """Names of the scores that captions depend on. Raises ValueError if there is no such captioner."""
    return _entry(cfg.name).scores


def _entry(name: str) -> _Entry:
    if name in CAPTIONERS:
        return CAPTIONERS[name]
    near = difflib.get_close_matches(name, CAPTIONERS, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(CAPTIONERS)}"
    raise ValueError(f"captioner.name={name}: captioner '{name}' is not known; {hint}")
