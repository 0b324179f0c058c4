"""Signals of a span → scores of a clip: a registry of pure aggregates, each with its unit and its model.

In: the rows of a clip's frames in the signals table, its geometry and length. Out: a value per score, None where it
could not be measured. A new score is one function and one line in `SCORES`.
"""

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.config import ScoreConfig

VERSION = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """What a score sees of a clip: columns of its signals (float arrays, a value per frame), and its geometry."""

    signals: dict[str, np.ndarray]
    width: int
    height: int
    duration_s: float
    cfg: ScoreConfig


@dataclass(frozen=True, slots=True)
class Score:
    """How one property of a clip is computed, and what it is called when a recipe rejects for it.

    `low` and `high` name the reason for a value under a recipe's minimum or over its maximum; a score that is a label,
    or has no such side, leaves them empty.
    """

    compute: Callable[[Measured], float | str | None]
    doc: str
    unit: str
    model: str
    low: str = ""
    high: str = ""
    is_label: bool = False


def _mean(name: str) -> Callable[[Measured], float | None]:
    return lambda clip: _finite(np.mean, clip.signals[name])


def _percentile(name: str, percent: float) -> Callable[[Measured], float | None]:
    return lambda clip: _finite(lambda values: np.percentile(values, percent), clip.signals[name])


def _finite(reduce: Callable[[np.ndarray], float], values: np.ndarray) -> float | None:
    """Reduce what was measured; None if nothing was."""
    values = values[np.isfinite(values)]
    return float(reduce(values)) if len(values) else None


def _camera(clip: Measured) -> tuple[str, float]:
    """The camera's strongest steady move and its speed in the unit of that move.

    A move is steady if its mean over the clip stands out from its spread: a shaking hand goes here and there, and where
    it ends up is no pan.
    """
    moves = {name: clip.signals[name] for name in ("pan_x", "pan_y", "zoom", "roll")}
    mean = {name: float(np.mean(values)) for name, values in moves.items()}
    spread = {name: float(np.std(values)) for name, values in moves.items()}
    cfg = clip.cfg
    least = {"pan_x": cfg.camera_pan, "pan_y": cfg.camera_pan, "zoom": cfg.camera_zoom, "roll": cfg.camera_roll}
    strongest = max(moves, key=lambda name: abs(mean[name]) / max(least[name], 1e-9))
    speed = abs(mean[strongest])
    if speed >= least[strongest] and speed >= _STEADY * spread[strongest]:
        # The picture moves against the camera: contents that go left are a pan to the right.
        return _MOVES[strongest][mean[strongest] > 0], speed
    shake = math.hypot(spread["pan_x"], spread["pan_y"])
    return ("handheld" if shake >= cfg.camera_pan else "static"), shake


_STEADY = 0.4
_MOVES = {
    "pan_x": ("pan right", "pan left"),
    "pan_y": ("tilt down", "tilt up"),
    "zoom": ("zoom out", "zoom in"),
    "roll": ("roll", "roll"),
}
_FLOW = "DIS optical flow"
_LUMA = "8-bit luma"

SCORES: dict[str, Score] = {
    "duration_s": Score(
        lambda clip: clip.duration_s, "length of the clip", "s", "container PTS", low="too_short", high="too_long"
    ),
    "short_side": Score(
        lambda clip: float(min(clip.width, clip.height)),
        "shorter side as displayed",
        "px",
        "container",
        low="too_small",
    ),
    "motion_mean": Score(
        _mean("motion"), "mean optical flow", "share of the frame diagonal per s", _FLOW, low="static", high="frantic"
    ),
    "motion_p95": Score(
        _percentile("motion", 95),
        "95th percentile over frames of the mean optical flow",
        "share of the frame diagonal per s",
        _FLOW,
        low="static",
        high="frantic",
    ),
    "object_motion": Score(
        _mean("object_motion"),
        "mean optical flow that the camera does not explain",
        "share of the frame diagonal per s",
        _FLOW,
        low="static",
        high="frantic",
    ),
    "luma_mean": Score(_mean("luma_mean"), "mean luma", "0–255", _LUMA, low="dark", high="bright"),
    "luma_std": Score(_mean("luma_std"), "mean spread of luma inside a frame", "0–255", _LUMA, low="flat"),
    "sharpness": Score(
        _percentile("sharpness", 50),
        "median over native frames of the variance of the Laplacian",
        "luma²",
        "Laplacian",
        low="blurry",
    ),
    "camera": Score(
        lambda clip: _camera(clip)[0],
        "static, handheld, pan left/right, tilt up/down, zoom in/out or roll",
        "label",
        _FLOW,
        is_label=True,
    ),
    "camera_magnitude": Score(
        lambda clip: _camera(clip)[1],
        "speed of that move; of handheld and static the spread of pan and tilt",
        "pan, tilt: share of the frame diagonal per s; zoom: share of the size per s; roll: rad per s",
        _FLOW,
    ),
}

NOT_MEASURED = "not_measured"
REASONS: tuple[str, ...] = tuple(sorted({r for s in SCORES.values() for r in (s.low, s.high) if r} | {NOT_MEASURED}))
"""The closed set of reasons for which a clip is rejected."""


def score_clip(
    signals: pa.Table, width: int, height: int, duration_s: float, cfg: ScoreConfig
) -> dict[str, float | str | None]:
    """All scores of a clip.

    Args:
        signals: rows of the clip's frames only; the change and motion of its first frame point outside the clip.
        width, height: as displayed, px.
        duration_s: of the clip.
    """
    columns = {name: signals[name].to_numpy(zero_copy_only=False).astype(float) for name in signals.column_names}
    across = ("motion", "object_motion", "pan_x", "pan_y", "zoom", "roll")  # measured from the frame before
    if len(signals) > 1:
        columns |= {name: columns[name][1:] for name in across}
    clip = Measured(columns, width, height, duration_s, cfg)
    return {name: score.compute(clip) for name, score in SCORES.items()}


def known_score(name: str) -> Score:
    """Raises ValueError with the near miss if there is no such score."""
    if name in SCORES:
        return SCORES[name]
    near = difflib.get_close_matches(name, SCORES, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(SCORES)}"
    raise ValueError(f"score '{name}' is not known; {hint}")


def score_fields() -> list[pa.Field]:
    """Columns of the scores, with unit, model and meaning as field metadata."""
    return [
        pa.field(
            name,
            pa.string() if score.is_label else pa.float64(),
            metadata={"doc": score.doc, "unit": score.unit, "model": score.model},
        )
        for name, score in SCORES.items()
    ]
