"""Signals → shots: what a detector found between them is left out, and each end says what it is. Where
pictures begin to be of another format (size, pixels, turn, colours), a shot begins: a clip is of one.

In: the signals table of a video. Out: its shots in order. Pure: the same signals and settings give the same
shots.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import pyarrow as pa

from pipelines.naming import did_you_mean
from pipelines.records import Shot, Span
from pipelines.shots import cascade, thresholds
from pipelines.shots.config import ShotConfig
from pipelines.shots.observation import InferencePlan
from pipelines.shots.transition import Transition

VERSION = 5


@dataclass(frozen=True, slots=True)
class Detector:
    """A shot detector: `find_export` computes transitions from signals; `look` is how TransNetV2 must have
    been run for it, or None."""

    find: Callable[[pa.Table, Fraction, ShotConfig], list[Transition]]
    inference_plan: InferencePlan | None


DETECTORS: dict[str, Detector] = {
    # Every second frame shows a gradual transition as well; hard cuts are found without the network, in every
    # frame.
    "cascade": Detector(
        cascade.find_transitions, InferencePlan(stride=2, core=30, margin=15, everywhere=False)
    ),
    "transnet": Detector(cascade.network_alone, InferencePlan(stride=1, core=50, margin=25, everywhere=True)),
    "content": Detector(thresholds.content, None),
    "adaptive": Detector(thresholds.adaptive, None),
}


def find_shots(
    signals: pa.Table,
    end_pts: int,
    time_base: Fraction,
    cfg: ShotConfig,
    stretches: Sequence[tuple[int, int, int]] | None = None,
) -> list[Shot]:
    """Shots of a video, without the frames of the fades and dissolves between them.

    Args:
        signals: of the whole video, at least one frame.
        end_pts: where its last frame ends.
        time_base: of all PTS, seconds.
        stretches: (first, last, end_pts): rows first … last − 1 without a gap, and where the last one ends;
            if some frames are lost. No shot goes on beyond a gap.

    Raises:
        ValueError: the detector is not known.
    """
    shots: list[Shot] = []
    for first, last, end in stretches or [(0, len(signals), end_pts)]:
        shots += _shots_of(signals.slice(first, last - first), end, time_base, cfg)
    return shots


def _shots_of(signals: pa.Table, end_pts: int, time_base: Fraction, cfg: ShotConfig) -> list[Shot]:
    """Shots of a stretch without a gap."""
    pts = [*signals["pts"].to_pylist(), end_pts]
    edge = Transition("edge", 0, 0, 1.0)
    last = Transition("edge", len(pts) - 1, len(pts) - 1, 1.0)
    found = [edge, *_with_seams(_detector(cfg.detector).find(signals, time_base, cfg), signals), last]
    shots = []
    for before, after in pairwise(found):
        if before.end < after.start:
            span = Span(pts[before.end], pts[after.start], time_base)
            ends = (before.kind, after.kind, before.confidence, after.confidence)
            shots.append(Shot(span, after.start - before.end, *ends))
    return shots


def _with_seams(found: list[Transition], signals: pa.Table) -> list[Transition]:
    """What was found, and a hard cut wherever the format changes and nothing was found there."""
    formats = signals["picture_format"].to_pylist()
    seams = [i for i in range(1, len(formats)) if formats[i] != formats[i - 1]]
    here = [i for i in seams if not any(t.start <= i <= t.end for t in found)]
    return sorted([*found, *(Transition("hard", i, i, 1.0) for i in here)], key=lambda t: (t.start, t.end))


def inference_plan(cfg: ShotConfig) -> InferencePlan | None:
    """How the detector wants TransNetV2 to look at a video."""
    return _detector(cfg.detector).inference_plan


def _detector(name: str) -> Detector:
    if name in DETECTORS:
        return DETECTORS[name]
    hint = did_you_mean(name, DETECTORS)
    raise ValueError(f"shots.detector '{name}' is not known; {hint}")
