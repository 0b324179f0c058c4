"""Pictures of a stretch of a video → its signals: dense measurements on small frames, by PTS.

In: decoded pictures in order, each with its number, and the clock that says which frames they are. Out: a
table of a row per frame. Shots, scores and labels are decided from these numbers alone, so thresholds can
change without touching footage. Frames live and die in here. A row depends on a fixed neighbourhood of its
frame, so the rows of a video are the same in however many stretches it is measured. Frames that are lost to
damage have no row; what lies beyond such a gap is no neighbour: the frames beside it are as the first and the
last of a video.

Columns of every frame: `pts`; `picture_hash` of all samples as coded; `picture_format` how they are shown, as
text, and whether they are of two `interlaced` fields; `delta_hue, delta_sat, delta_lum` mean absolute change
from the frame before on OpenCV's 8-bit HSV, as PySceneDetect's ContentDetector measures it (0 for the first);
`luma_mean, luma_std` of 8-bit luma; `dark` share of pixels of luma at most 25; `change` mean absolute change
of luma from the frame before in that cell of about 16 px where it is largest, and `brighter` the median of
the cells' signed change (null for the first frame).

On a grid in time (`MOTION_PER_S`), from the frame before on that grid, null between: `motion` mean optical
flow, share of the frame diagonal per second, black around the picture counted as still; `object_motion` what
of it the camera does not explain, `pan_x, pan_y` (right, down positive: what the picture does), same unit;
`zoom` share of the size per second (positive: grows); `roll` radians per second (positive: clockwise). Not
between neighbours, as at 60 frames a second things move by less than grain and coding do, and coders hold
pictures for a frame or two. `moved` how far that cell of about 16 px moved which moved farthest, share of the
frame diagonal; `drifted` the same on a coarser grid (`DRIFT_PER_S`): what moves slowly has moved farther by
then, and grain no farther.

`thumb` what copies are found by, on a grid in time (`thumbs_per_s`), null between; and what the detector asks
for, null where it does not: `alike_…`, `contrast` and `transition`, see `pipelines.shot_detection`.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pyarrow as pa

from pipelines.dedup import thumb
from pipelines.grid import DRIFT_PER_S, MOTION_PER_S, on_grid
from pipelines.measure.config import SignalConfig
from pipelines.media.clock import Clock
from pipelines.media.picture import picture_hash, upright_small
from pipelines.media.picture_format import format_of
from pipelines.shots import observation, transnet
from pipelines.shots.config import ShotConfig
from pipelines.shots.find_shots import inference_plan
from pipelines.vision.flow import motion_between

if TYPE_CHECKING:
    from av import VideoFrame

VERSION = 8
STAGE = "signals"

_BACK = 8  # frames that motion looks back at most: beyond 96 frames a second, a twelfth of a second is more
_FAR_BACK = 32  # that drift does: beyond 64 frames a second, half a second is more
_DARK = 25  # luma; FFmpeg's blackdetect: a tenth of the range
_CELL = 16  # px

_MEASURED = (
    "delta_hue",
    "delta_sat",
    "delta_lum",
    "luma_mean",
    "luma_std",
    "dark",
    "change",
    "brighter",
    "motion",
    "object_motion",
    "pan_x",
    "pan_y",
    "zoom",
    "roll",
    "moved",
    "drifted",
)
SCHEMA = pa.schema(
    [
        pa.field("pts", pa.int64(), nullable=False),
        pa.field("picture_hash", pa.uint64(), nullable=False),
        pa.field("picture_format", pa.string(), nullable=False),
        pa.field("interlaced", pa.bool_(), nullable=False),
    ]
    + [pa.field(name, pa.float32()) for name in (*_MEASURED, *observation.COLUMNS)]
    + [pa.field("thumb", pa.binary(thumb.BYTES))]
)


@dataclass(frozen=True, slots=True)
class _Small:
    """What is kept of a frame for those after it."""

    pts: int
    hsv: np.ndarray
    gray: np.ndarray


def signals_settings(cfg: SignalConfig, shots: ShotConfig, precision: str) -> dict[str, Any]:
    """What the signals depend on, for their fingerprint: plain values. Thresholds of `shots` are none of it,
    and precision only where a network looks.
    """
    look = inference_plan(shots)
    settings = asdict(cfg) | {"look": look and asdict(look), "weights": look and transnet.weights_id()}
    return settings | ({"precision": precision} if look else {})


def preload(shots: ShotConfig, precision: str) -> None:
    """Load the network that the detector looks with, if it does."""
    if inference_plan(shots):
        transnet.load(precision)


def context_frames(cfg: SignalConfig, shots: ShotConfig) -> int:
    """Frames needed on either side of a stretch for its rows to be right."""
    return max(_FAR_BACK, observation.context_frames(inference_plan(shots)))


def measure(
    pictures: Iterable[tuple[int, "VideoFrame"]],
    clock: Clock,
    unit: tuple[int, int],
    cfg: SignalConfig,
    shots: ShotConfig,
    precision: str,
) -> pa.Table:
    """Signals of a range of a video's frames.

    Args:
        pictures: frames [max(0, first − context), min(n, last + context)) of the clock's n, in order, as
            coded, numbered; those that are lost are left out.
        clock: of the whole video.
        unit: (first, last), numbers of frames in `clock.pts`; `last` is behind the last one.
        precision: of the detector's network, bf16 or fp32.

    Returns:
        A table of `SCHEMA`, one row per frame that is not lost.
    """
    first, last = unit
    cv2.setNumThreads(1)  # Ray counts cores; and a sum over threads may round differently from run to run
    total, context, look = len(clock.pts), context_frames(cfg, shots), inference_plan(shots)
    look = look and look.for_fps(total / clock.duration_s)
    begin, end = max(0, first - context), min(total, last + context)
    earlier, far_earlier = _earlier(clock, MOTION_PER_S, _BACK), _earlier(clock, DRIFT_PER_S, _FAR_BACK)
    tiny = np.empty((end - begin, transnet.HEIGHT, transnet.WIDTH, 3), np.uint8)
    keeps_thumb = on_grid(clock.pts, clock.time_base, 1 / Fraction(str(cfg.thumbs_per_s)))
    rows: list[dict[str, Any]] = []
    seen: dict[int, _Small] = {}  # the last few
    resumed = set(clock.frames_after_gaps)
    runs: list[list[int]] = []  # frames [a, b) without a gap
    for number, picture in pictures:
        if not runs or number != runs[-1][1] or number in resumed:
            runs.append([number, number])
            seen.clear()
        runs[-1][1] = number + 1
        small = upright_small(picture, cfg.small_side)
        tiny[number - begin] = cv2.resize(
            small, (transnet.WIDTH, transnet.HEIGHT), interpolation=cv2.INTER_AREA
        )
        if not first - _FAR_BACK <= number < last:
            continue
        now = seen[number] = _Small(
            int(clock.pts[number]),
            cv2.cvtColor(small, cv2.COLOR_RGB2HSV),
            cv2.cvtColor(small, cv2.COLOR_RGB2GRAY),
        )
        seen.pop(number - _FAR_BACK - 1, None)
        if number < first:
            continue
        row: dict[str, Any] = {"pts": now.pts, "picture_hash": picture_hash(picture)} | _light(now.gray)
        row |= {"picture_format": format_of(picture).to_text(), "interlaced": bool(picture.interlaced_frame)}
        row |= _changes(_as_large(seen[number - 1], now) if number - 1 in seen else None, now)
        if earlier[number] in seen:
            row |= _motion(_as_large(seen[earlier[number]], now), now, clock.time_base)
        if far_earlier[number] in seen:
            row["drifted"] = motion_between(_as_large(seen[far_earlier[number]], now).gray, now.gray).peak
        if keeps_thumb[number]:
            row["thumb"] = thumb.thumb(now.gray)
        rows.append(row)
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    observed = [
        observation.evidence_columns(tiny, begin, (max(first, a), min(last, b)), (a, b), look, precision)
        for a, b in runs
        if a < last and b > first
    ]
    for name in observation.COLUMNS if observed else ():
        column = pa.array(np.concatenate([columns[name] for columns in observed]), from_pandas=True)
        table = table.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), column)
    return table


def _earlier(clock: Clock, per_s: int, most_back: int) -> np.ndarray:
    """The number of the frame that each is compared with on a grid, (n,); −1 where it is with none."""
    numbers = np.flatnonzero(on_grid(clock.pts, clock.time_base, Fraction(1, per_s)))
    earlier = np.full(len(clock.pts), -1)
    earlier[numbers[1:]] = np.maximum(numbers[:-1], numbers[1:] - most_back)
    return earlier


def _as_large(before: _Small, now: _Small) -> _Small:
    """An earlier frame, in the size of a later one: a broadcast may change it between two programmes."""
    if before.gray.shape == now.gray.shape:
        return before
    size = now.gray.shape[::-1]
    return _Small(
        before.pts,
        *(cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (before.hsv, before.gray)),
    )


def _light(gray: np.ndarray) -> dict[str, float]:
    mean, deviation = cv2.meanStdDev(gray)
    dark = 1 - np.count_nonzero(gray > _DARK) / gray.size
    return {"luma_mean": float(mean[0, 0]), "luma_std": float(deviation[0, 0]), "dark": dark}


def _changes(before: _Small | None, now: _Small) -> dict[str, float]:
    names = ("delta_hue", "delta_sat", "delta_lum")
    if before is None:
        return dict.fromkeys(names, 0.0)
    changed = dict(zip(names, cv2.mean(cv2.absdiff(now.hsv, before.hsv))[:3], strict=True))
    difference = cv2.subtract(now.gray, before.gray, dtype=cv2.CV_32F)
    cells = tuple(max(1, round(length / _CELL)) for length in reversed(difference.shape))
    size, signed = (
        cv2.resize(d, cells, interpolation=cv2.INTER_AREA) for d in (np.abs(difference), difference)
    )
    return changed | {"change": float(size.max()), "brighter": float(np.median(signed))}


def _motion(before: _Small, now: _Small, time_base: Fraction) -> dict[str, float]:
    elapsed_s = float((now.pts - before.pts) * time_base)
    moved = motion_between(before.gray, now.gray)
    camera = moved.camera
    measured = {"motion": moved.mean, "object_motion": moved.objects}
    measured |= {"pan_x": camera.pan_x, "pan_y": camera.pan_y, "zoom": camera.zoom, "roll": camera.roll_rad}
    return {name: value / elapsed_s for name, value in measured.items()} | {"moved": moved.peak}
