"""The interfaces of scores and meters, and their inputs.

A *meter* looks at native frames, once, while a video is decoded, and leaves a row per frame; it is loaded
once per process. A *score* is a pure function of a clip's rows: the dense signals, and what the meters left.
So a score's thresholds and aggregates can change without touching footage, and a changed meter looks at
native frames again and at nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.scores.config import ScoreConfig

if TYPE_CHECKING:
    from av import VideoFrame

CONTAINER = "container"
SIGNALS = "signals"
MATCH = "match"  # of captions with clips
MeterRow = dict[str, Any]


class NativeFrame:
    """One frame as displayed, at native size; converted at most once, however many meters look at it."""

    def __init__(self, picture: "VideoFrame"):
        self._picture = picture

    @cached_property
    def rgb(self) -> np.ndarray:
        """uint8 (H, W, 3)."""
        from pipelines.media.picture import upright

        return upright(self._picture)

    @cached_property
    def gray(self) -> np.ndarray:
        """Luma of `rgb`, full range: uint8 (H, W)."""
        import cv2

        return cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY)


@dataclass(frozen=True, slots=True)
class Meter:
    """What looks at native frames.

    Attributes:
        name: of its stage, and of its rows in `Measured.native`.
        columns: of a row; the frame's `pts` is added.
        load: its model, ready to look: a function from a frame to a row. Runs once per process; must start no
            thread, as the process forks afterwards. Given the config and the run's precision, bf16 or fp32.
        settings: plain values that its rows depend on, for the fingerprint: version, keys of the config, hash
            of weights, and the precision if its numbers follow it.
        model: what people call what measures, with its version.
        missing: returns why the meter can't run with this config and which key to set, or None if it can. A
        meter that can't run is not loaded.
    """

    name: str
    columns: tuple[pa.Field, ...]
    load: Callable[[ScoreConfig, str], Callable[[NativeFrame], MeterRow]]
    settings: Callable[[ScoreConfig, str], Any]
    model: Callable[[ScoreConfig], str]
    missing: Callable[[ScoreConfig], str | None] = lambda cfg: None

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field("pts", pa.int64(), nullable=False), *self.columns])


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A part of the frame as displayed, px."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ClipMeasurements:
    """The measurements of a clip that scores are computed from.

    Attributes:
        signals: columns of the dense signals, float arrays with a value per frame; of what is measured from
            the frame before only what lies between frames of the clip; of what is measured on a grid in time
            a value for each of its steps.
        native: by meter, a row for each native frame inside the clip, or several if it is shown for longer
            than from one to the next; a meter that is not configured is not in it.
        width, height: as displayed, px.
        safe: the picture without bars around it.
        duration_s: of the clip.
        shown_s: how long each frame is shown.
    """

    signals: Mapping[str, np.ndarray]
    native: Mapping[str, pa.Table]
    width: int
    height: int
    safe: Rectangle
    duration_s: float
    cfg: ScoreConfig
    shown_s: np.ndarray


@dataclass(frozen=True, slots=True)
class Score:
    """How one property of a clip is computed, and what it is called when a recipe rejects for it.

    Attributes:
        compute: the value, None where there is none. A score that needs more than measurements of frames (a
            caption, a second look) has no `compute`: a stage of its own fills it in.
        doc, unit: for people.
        source: what it is made from: `CONTAINER`, `SIGNALS`, the name of a meter, or of its own stage.
        low, high: the reason for a value under a recipe's minimum, or over its maximum; a score that is no
            number, or has no such side, leaves them empty.
        kind: Arrow type of its column.
        missing: what it needs besides its meter, if that is not configured, and which key to set.
    """

    compute: Callable[[ClipMeasurements], Any] | None
    doc: str
    unit: str
    source: str
    low: str = ""
    high: str = ""
    kind: pa.DataType = pa.float64()
    missing: Callable[[ScoreConfig], str | None] = lambda cfg: None

    @property
    def is_label(self) -> bool:
        """One of few words; other strings say what was found."""
        return self.kind == pa.string() and self.unit == "label"

    @property
    def is_number(self) -> bool:
        return self.kind == pa.float64()


def reduce_finite(reduce: Callable[[np.ndarray], float], values: np.ndarray) -> float | None:
    """Reduce the finite values; None if there are none."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return float(reduce(values)) if len(values) else None


def time_weighted_mean(values: np.ndarray, lasts_s: np.ndarray) -> float | None:
    """Mean of what was measured, each for as long as it lasts; None if nothing was.

    Args:
        values, lasts_s: (n,), the first NaN where nothing was measured.
    """
    seen = np.isfinite(values)
    return float(np.average(values[seen], weights=lasts_s[seen])) if seen.any() else None


def signal_mean(name: str) -> Callable[[ClipMeasurements], float | None]:
    """The mean of a dense signal over the clip's time."""
    return lambda clip: time_weighted_mean(clip.signals[name], clip.shown_s)


def reduce_native(
    meter: str, column: str, reduce: Callable[[np.ndarray], float] = np.median
) -> Callable[[ClipMeasurements], float | None]:
    """A reduction over the native frames of a meter's column."""

    def compute(clip: ClipMeasurements) -> float | None:
        if meter not in clip.native:
            return None
        return reduce_finite(reduce, clip.native[meter][column].to_numpy(zero_copy_only=False))

    return compute


def percentile(percent: float) -> Callable[[np.ndarray], float]:
    return lambda values: float(np.percentile(values, percent))
