"""What a captioner is: frames and measurements of one clip in, a caption out; and where captioners are found
by name.

In: a `ClipView` of a clip. Out: a `Caption` with a short text, a dense one and tags, signed by the model that
made it. A captioner knows neither Ray nor datasets; every request and answer carries the clip's id.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class ClipView:
    """The input of a captioner for one clip.

    `frames` are RGB, uint8 (T, H, W, 3), native size, spread evenly over the clip: as many as the captioner
    wants, so there may be none; `scores` are those of the index (camera, motion, tags …); `text` is what the
    footage's own list says, if anything.
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

    def num_frames_needed(self, scores: Mapping[str, Any]) -> int:
        """Number of frames that the captioner needs of a clip with these scores. 0 if the scores are enough:
        then no footage is opened and no model is loaded.
        """

    def caption(self, view: ClipView) -> Caption: ...
