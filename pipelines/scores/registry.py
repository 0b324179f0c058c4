"""All meters and scores by name. A new score is one file here, and its line in `_FILES`.

In: the rows of a clip. Out: a value per score, and why those are null that are.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.grid import DRIFT_PER_S, MOTION_PER_S
from pipelines.naming import did_you_mean
from pipelines.records import Span
from pipelines.scores import (
    bars,
    camera,
    clip,
    colours,
    dover,
    length,
    light,
    match,
    motion,
    nsfw,
    quality,
    tags,
    text,
    time_weights,
)
from pipelines.scores.base import (
    CONTAINER,
    MATCH,
    SIGNALS,
    ClipMeasurements,
    Meter,
    MeterRow,
    NativeFrame,
    Score,
)
from pipelines.scores.config import ScoreConfig

VERSION = 5  # of the aggregates, of all files
SIGNALS_MODEL = "dense signals (DIS optical flow, 8-bit luma)"

_FILES: tuple[ModuleType, ...] = (
    length,
    motion,
    camera,
    light,
    bars,
    quality,
    text,
    nsfw,
    tags,
    colours,
    clip,
    match,
    dover,
)

_LATER: dict[str, ModuleType] = {MATCH: match, dover.SOURCE: dover}  # what measures in a stage of its own
METERS: dict[str, Meter] = {file.METER.name: file.METER for file in _FILES if hasattr(file, "METER")}
SCORES: dict[str, Score] = {
    name: score for file in _FILES if hasattr(file, "SCORES") for name, score in file.SCORES.items()
}

NOT_MEASURED, DUPLICATE, UNAVAILABLE = "not_measured", "duplicate", "unavailable"
REASONS: tuple[str, ...] = tuple(
    sorted(
        {r for s in SCORES.values() for r in (s.low, s.high) if r} | {NOT_MEASURED, DUPLICATE, UNAVAILABLE}
    )
)
"""The closed set of reasons for which a clip is rejected."""

CAPTION_SCORES = frozenset(name for name, score in SCORES.items() if score.source == MATCH)
"""Scores that are measured only of clips that have captions."""

_NO_FRAME = "no native frame lies inside the clip: it is shorter than signals.native_every_s"
_NO_VALUE = "its frames allow no measurement"


def resolve_config(cfg: ScoreConfig) -> ScoreConfig:
    """Resolve optional scores for a run: `nsfw=null` becomes true if the package is installed on this
    machine. All workers then use the same scores, or fail.
    """
    return replace(cfg, nsfw=True) if cfg.nsfw is None and nsfw.is_installed() else cfg


def configured_meters(cfg: ScoreConfig) -> dict[str, Meter]:
    """The meters that measure with this config."""
    return {name: meter for name, meter in METERS.items() if meter.missing(cfg) is None}


def load_meters(
    cfg: ScoreConfig, names: tuple[str, ...], precision: str
) -> dict[str, Callable[[NativeFrame], MeterRow]]:
    """Ready to look; each model is loaded once per process."""
    return {name: _loaded(METERS[name], cfg, precision) for name in names}


def _loaded(meter: Meter, cfg: ScoreConfig, precision: str) -> Callable[[NativeFrame], MeterRow]:
    key = (meter.name, repr(cfg), precision)
    if key not in _ready:
        _ready[key] = meter.load(cfg, precision)
    return _ready[key]


_ready: dict[tuple[str, str, str], Callable[[NativeFrame], MeterRow]] = {}


def score_clip(
    signals: pa.Table, native: Mapping[str, pa.Table], width: int, height: int, span: Span, cfg: ScoreConfig
) -> dict[str, Any]:
    """All scores of a clip that measurements of frames decide; its safe rectangle, `score_gaps` and
    `score_models`.

    Args:
        signals: rows of the clip's frames only; the first change and motion in them point outside the clip.
        native: by meter, the rows of the native frames inside the clip, each as often as it counts; only
            meters that are configured.
        width, height: as displayed, px.
        span: of the clip.
    """
    columns = {
        name: signals[name].to_numpy(zero_copy_only=False).astype(float)
        for name in signals.column_names
        if pa.types.is_floating(signals[name].type) or pa.types.is_integer(signals[name].type)
    }
    columns |= {name: columns[name][1:] for name in _FROM_THE_FRAME_BEFORE}
    begins_s = (signals["pts"].to_numpy() - span.start_pts) * float(span.time_base)
    shown_s = np.diff(begins_s, append=span.duration_s)
    columns |= time_weights.expand_motion(
        {name: columns[name] for name in _FROM_AN_EARLIER_FRAME}, shown_s, 1 / MOTION_PER_S
    )
    columns |= time_weights.expand_motion({"drifted": columns["drifted"]}, shown_s, 1 / DRIFT_PER_S)
    safe = bars.safe_rectangle(native, width, height)
    measured = ClipMeasurements(columns, native, width, height, safe, span.duration_s, cfg, shown_s)
    values = {name: score.compute(measured) for name, score in SCORES.items() if score.compute is not None}
    gaps = [
        {"score": name, "why": why}
        for name in SCORES
        if values.get(name) is None and (why := _why(name, native, cfg)) is not None
    ]
    around = {"safe_x": safe.x, "safe_y": safe.y, "safe_width": safe.width, "safe_height": safe.height}
    return values | around | {"score_gaps": gaps, "score_models": model_names(cfg)}


_FROM_THE_FRAME_BEFORE = ("change", "brighter")
# on a grid in time
_FROM_AN_EARLIER_FRAME = ("motion", "object_motion", "pan_x", "pan_y", "zoom", "roll", "moved")


def _why(name: str, native: Mapping[str, pa.Table], cfg: ScoreConfig) -> str | None:
    """Why a score is null; None if a later stage measures it and records the reason."""
    score = SCORES[name]
    if (lacking := missing(name, cfg)) is not None or score.compute is None:
        return lacking
    if score.source in native and not len(native[score.source]):
        return _NO_FRAME
    return _NO_VALUE


def model_names(cfg: ScoreConfig) -> list[dict[str, str]]:
    """Who measures with this config, by source of scores."""
    known = {CONTAINER: "container", SIGNALS: SIGNALS_MODEL}
    known |= {name: meter.model(cfg) for name, meter in configured_meters(cfg).items()}
    known |= {source: file.model(cfg) for source, file in _LATER.items() if file.missing(cfg) is None}
    return [{"source": source, "model": model} for source, model in sorted(known.items())]


def missing(name: str, cfg: ScoreConfig) -> str | None:
    """Why a score can't be measured with this config, and which key to set; None if it can. Raises ValueError
    if unknown."""
    score = get_score(name)
    of_meter = METERS[score.source].missing(cfg) if score.source in METERS else None
    return "; ".join(why for why in (of_meter, score.missing(cfg)) if why is not None) or None


def check(cfg: ScoreConfig) -> None:
    """Whether the models that are configured can be there; loads none.

    Raises:
        ValueError: which key is wrong, and what to do.
    """
    for file in _FILES:
        if hasattr(file, "check"):
            file.check(cfg)


def get_score(name: str) -> Score:
    """Raises ValueError with the near miss if there is no such score."""
    if name in SCORES:
        return SCORES[name]
    hint = did_you_mean(name, SCORES)
    raise ValueError(f"score '{name}' is not known; {hint}")


def score_fields() -> list[pa.Field]:
    """Columns of the scores, with unit, source and meaning as field metadata; which model measured a clip is
    in its row."""
    return [
        pa.field(name, score.kind, metadata={"doc": score.doc, "unit": score.unit, "source": score.source})
        for name, score in SCORES.items()
    ]
