"""Signals → shots: what a detector found between them is left out, and each end says what it is.

In: the signals table of a video. Out: its shots in order. Pure: the same signals and settings give the same shots.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import pyarrow as pa

from pipelines.config import ShotConfig
from pipelines.records import Shot, Span
from pipelines.shot_detection import cascade, thresholds
from pipelines.shot_detection.transition import Transition

VERSION = 2


@dataclass(frozen=True, slots=True)
class Detector:
    """`find` tells transitions from signals; `looks` is where TransNetV2 must have looked for it: none, proposed, all."""

    find: Callable[[pa.Table, Fraction, ShotConfig], list[Transition]]
    looks: str


DETECTORS: dict[str, Detector] = {
    "content": Detector(thresholds.content, "none"),
    "adaptive": Detector(thresholds.adaptive, "none"),
    "transnet": Detector(cascade.transnet, "all"),
    "cascade": Detector(cascade.transnet, "proposed"),
}


def find_shots(signals: pa.Table, end_pts: int, time_base: Fraction, cfg: ShotConfig) -> list[Shot]:
    """Shots of a video, without the frames of the fades and dissolves between them.

    Args:
        signals: of the whole video, at least one frame.
        end_pts: where its last frame ends.
        time_base: of all PTS, seconds.

    Raises:
        ValueError: the detector is not known.
    """
    pts = [*signals["pts"].to_pylist(), end_pts]
    edge = Transition("edge", 0, 0, 1.0)
    last = Transition("edge", len(pts) - 1, len(pts) - 1, 1.0)
    found = [edge, *_detector(cfg.detector).find(signals, time_base, cfg), last]
    shots = []
    for before, after in pairwise(found):
        if before.end < after.start:
            span = Span(pts[before.end], pts[after.start], time_base)
            ends = (before.kind, after.kind, before.confidence, after.confidence)
            shots.append(Shot(span, after.start - before.end, *ends))
    return shots


def looks_of(cfg: ShotConfig) -> str:
    """Where the detector wants TransNetV2 to look: none, proposed, all."""
    return _detector(cfg.detector).looks


def _detector(name: str) -> Detector:
    if name in DETECTORS:
        return DETECTORS[name]
    near = difflib.get_close_matches(name, DETECTORS, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(DETECTORS)}"
    raise ValueError(f"shots.detector '{name}' is not known; {hint}")
