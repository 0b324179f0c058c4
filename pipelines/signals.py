"""Pictures of a stretch of a video → its signals: dense measurements on small frames, by PTS.

In: decoded pictures in order, each with its number, and the clock that says which frames they are. Out: a table of a row per frame. Shots,
scores and labels are decided from these numbers alone, so thresholds can change without touching footage. Frames live and
die in here. A row depends on a fixed neighbourhood of its frame, so the rows of a video are the same in however many
stretches it is measured.

Columns: `pts`; `picture_hash` of all samples as coded; `delta_hue, delta_sat, delta_lum` mean absolute change from the
frame before on OpenCV's 8-bit HSV, as PySceneDetect's ContentDetector measures it (0 for the first frame); `luma_mean,
luma_std` of 8-bit luma; `motion` mean optical flow, share of the frame diagonal per second; `object_motion` what of it
the camera does not explain, `pan_x, pan_y` (right, down positive: what the picture does), same unit; `zoom` share of the
size per second (positive: grows); `roll` radians per second (positive: clockwise); `thumb` what copies are found by, on
a grid in time (`thumbs_per_s`), null between; and what the detector asks for, null where it does not: `alike_…`, `contrast`
and `transition`, see `pipelines.shot_detection`.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pyarrow as pa

from pipelines.config import ShotConfig, SignalConfig
from pipelines.dedup import thumb
from pipelines.errors import MediaError, Reason
from pipelines.grid import on_grid
from pipelines.media.camera import Camera, camera_of
from pipelines.media.clock import Clock
from pipelines.media.picture import picture_hash, upright_small
from pipelines.shot_detection import observation, transnet
from pipelines.shots import look_of

if TYPE_CHECKING:
    from av import VideoFrame

VERSION = 3
STAGE = "signals"

_MEASURED = (
    "delta_hue",
    "delta_sat",
    "delta_lum",
    "luma_mean",
    "luma_std",
    "motion",
    "object_motion",
    "pan_x",
    "pan_y",
    "zoom",
    "roll",
)
SCHEMA = pa.schema(
    [pa.field("pts", pa.int64(), nullable=False), pa.field("picture_hash", pa.uint64(), nullable=False)]
    + [pa.field(name, pa.float32()) for name in (*_MEASURED, *observation.COLUMNS)]
    + [pa.field("thumb", pa.binary(thumb.BYTES))]
)


@dataclass(slots=True)
class _Before:
    """What is kept of the frame before."""

    pts: int
    hsv: np.ndarray
    gray: np.ndarray


def signals_settings(cfg: SignalConfig, shots: ShotConfig) -> dict[str, Any]:
    """What the signals depend on, for their fingerprint: plain values. Thresholds of `shots` are none of it."""
    look = look_of(shots)
    return asdict(cfg) | {"look": look and asdict(look), "weights": look and transnet.weights_id()}


def preload(shots: ShotConfig) -> None:
    """Load the network that the detector looks with, if it does."""
    if look_of(shots):
        transnet.load()


def context_frames(cfg: SignalConfig, shots: ShotConfig) -> int:
    """Frames needed on either side of a stretch for its rows to be right: at least one, for what changes in between."""
    return max(1, observation.context_frames(look_of(shots)))


def measure(
    pictures: Iterable[tuple[int, "VideoFrame"]],
    clock: Clock,
    first: int,
    last: int,
    cfg: SignalConfig,
    shots: ShotConfig,
) -> pa.Table:
    """Signals of frames first … last − 1 of a video.

    Args:
        pictures: frames [max(0, first − context), min(n, last + context)) of the clock's n, in order, as coded, numbered.
        clock: of the whole video.
        first, last: numbers of frames in `clock.pts`.

    Returns:
        A table of `SCHEMA`, one row per frame.
    """
    cv2.setNumThreads(1)  # Ray counts cores; and a sum over threads may round differently from run to run
    total, context, look = len(clock.pts), context_frames(cfg, shots), look_of(shots)
    look = look and look.at(total / clock.duration_s)
    begin, end = max(0, first - context), min(total, last + context)
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    tiny = np.empty((end - begin, transnet.HEIGHT, transnet.WIDTH, 3), np.uint8)
    keeps_thumb = on_grid(clock.pts, clock.time_base, 1 / Fraction(str(cfg.thumbs_per_s)))
    rows: list[dict[str, Any]] = []
    before: _Before | None = None
    for number, picture in pictures:
        small = upright_small(picture, cfg.small_side)
        tiny[number - begin] = cv2.resize(small, (transnet.WIDTH, transnet.HEIGHT), interpolation=cv2.INTER_AREA)
        if not first - 1 <= number < last:
            continue
        now = _Before(
            int(clock.pts[number]), cv2.cvtColor(small, cv2.COLOR_RGB2HSV), cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        )
        if number >= first:
            row = _row(now, before, clock.time_base, flow) | {"picture_hash": picture_hash(picture)}
            if keeps_thumb[number]:
                row["thumb"] = thumb.thumb(now.gray)
            rows.append(row)
        before = now
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    for name, column in observation.observe(tiny, begin, first, last, total, look).items():
        table = table.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), pa.array(column, from_pandas=True))
    return table


def numbered(
    pictures: Iterable["VideoFrame"], clock: Clock, begin: int, end: int
) -> Iterator[tuple[int, "VideoFrame"]]:
    """Each picture with its number, if they are exactly frames begin … end − 1 of those that the clock lists.

    Raises:
        MediaError: truncated, if a frame that the clock lists is missing; undecodable, if one is there that it does not
            list. A guess at what was lost could invent or hide a cut.
    """
    number = begin
    for picture in pictures:
        if number == end or picture.pts != clock.pts[number]:
            expected = "no more frames" if number == end else f"the frame at pts {clock.pts[number]}"
            missing = number < end and picture.pts > clock.pts[number]
            reason = Reason.TRUNCATED if missing else Reason.UNDECODABLE
            raise MediaError(reason, f"the index lists {expected}, but the one at {picture.pts} was decoded")
        yield number, picture
        number += 1
    if number < end:
        raise MediaError(
            Reason.TRUNCATED, f"the last {end - number} of {end - begin} frames that the index lists don't decode"
        )


def _row(now: _Before, before: _Before | None, time_base: Fraction, flow: "cv2.DISOpticalFlow") -> dict[str, Any]:
    row: dict[str, Any] = {"pts": now.pts, "luma_mean": float(now.gray.mean()), "luma_std": float(now.gray.std())}
    return row | _changes(before, now.hsv) | _motion(before, now.gray, now.pts, time_base, flow)


def _changes(before: _Before | None, hsv: np.ndarray) -> dict[str, float]:
    names = ("delta_hue", "delta_sat", "delta_lum")
    if before is None:
        return dict.fromkeys(names, 0.0)
    difference = cv2.absdiff(hsv, before.hsv)
    return dict(zip(names, cv2.mean(difference)[:3], strict=True))


def _motion(
    before: _Before | None, gray: np.ndarray, pts: int, time_base: Fraction, flow: "cv2.DISOpticalFlow"
) -> dict[str, float]:
    if before is None:
        return _per_second(0.0, Camera.still(), 1.0)
    return _per_second(*_flow(flow, before.gray, gray), float((pts - before.pts) * time_base))


def _flow(flow: "cv2.DISOpticalFlow", before: np.ndarray, gray: np.ndarray) -> tuple[float, Camera]:
    """Mean length of the optical flow, and the camera's part of it; in shares of the frame diagonal."""
    if min(gray.shape) < 16:  # too small for the flow's 8-pixel patches
        return 0.0, Camera.still()
    field = flow.calc(before, gray, None) / math.hypot(*gray.shape)
    return float(np.linalg.norm(field, axis=-1).mean()), camera_of(field)


def _per_second(motion: float, camera: Camera, elapsed_s: float) -> dict[str, float]:
    return {
        "motion": motion / elapsed_s,
        "object_motion": camera.residual / elapsed_s,
        "pan_x": camera.pan_x / elapsed_s,
        "pan_y": camera.pan_y / elapsed_s,
        "zoom": camera.zoom / elapsed_s,
        "roll": camera.roll_rad / elapsed_s,
    }
