"""How much moves inside the safe rectangle: optical flow, a twelfth of a second at a time; and how often
nothing does."""

from collections.abc import Callable

import numpy as np

from pipelines.scores.base import (
    SIGNALS,
    ClipMeasurements,
    Score,
    percentile,
    reduce_finite,
    time_weighted_mean,
)
from pipelines.scores.time_weights import STILL_PICTURE_S

_UNIT = "share of the frame diagonal per s"
_MOSTLY = 90  # percentile over time: what moves for a tenth of the clip is enough, a single jolt is not
_FROZEN = 0.6  # luma levels: coding a frame again hardly changes any cell by more, what moves does


def _inside(
    name: str, reduce: Callable[[np.ndarray], float] = np.mean
) -> Callable[[ClipMeasurements], float | None]:
    """Mean flow over the frame → over the safe rectangle: around that nothing moves; in the course of
    time."""

    def compute(clip: ClipMeasurements) -> float | None:
        share = clip.safe.width * clip.safe.height / (clip.width * clip.height)
        value = reduce_finite(reduce, clip.signals[name])
        return None if value is None else value / share

    return compute


def _peak(clip: ClipMeasurements) -> float | None:
    """The largest of both: what is quick has left its place after half a second, what is slow has hardly
    moved after a twelfth. Grain moves neither farther.
    """
    found = [reduce_finite(percentile(_MOSTLY), clip.signals[name]) for name in ("moved", "drifted")]
    return max((far for far in found if far is not None), default=None)


def _static_ratio(clip: ClipMeasurements) -> float | None:
    """A frame repeats the one before if no part of the picture differs from it. Things that move in front of
    a camera on a tripod are not static; a frozen picture is, and so are the repeated frames of footage that
    was given a higher rate, and a picture that stands.
    """
    stands = clip.shown_s > STILL_PICTURE_S
    still = stands.astype(float)
    # whether it repeats the one before the clip is not the clip's matter
    still[0] = 1.0 if stands[0] else np.nan
    still[1:] = np.maximum(still[1:], clip.signals["change"] <= _FROZEN)
    return time_weighted_mean(still, clip.shown_s)


SCORES = {
    "motion_mean": Score(
        _inside("motion"),
        "mean optical flow inside the safe rectangle",
        _UNIT,
        SIGNALS,
        low="static",
        high="frantic",
    ),
    "motion_p95": Score(
        _inside("motion", percentile(95)),
        "95th percentile over time of the mean optical flow inside the safe rectangle",
        _UNIT,
        SIGNALS,
        low="static",
        high="frantic",
    ),
    "motion_peak": Score(
        _peak,
        "how far that part of the picture moves which moves farthest, between frames a twelfth of a second "
        "apart or half a second, whichever is more; 90th percentile over time",
        "share of the frame diagonal",
        SIGNALS,
        low="static",
        high="frantic",
    ),
    "object_motion": Score(
        _inside("object_motion"),
        "mean optical flow inside the safe rectangle that the camera does not explain",
        _UNIT,
        SIGNALS,
        low="static",
        high="frantic",
    ),
    "static_ratio": Score(
        _static_ratio,
        "frames that repeat the one before, and pictures that are shown for more than "
        f"{STILL_PICTURE_S:.0f} s",
        "share of the time",
        SIGNALS,
        high="frozen",
    ),
}
