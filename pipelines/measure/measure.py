"""One decode of a range of frames → its measurements: dense signals, and meter rows of native frames.

In: pictures in order, and what is wanted. Out: a table for each. Frames live and die in here.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.grid import on_grid
from pipelines.measure import signals
from pipelines.measure.config import SignalConfig
from pipelines.media.clock import Clock
from pipelines.scores.base import MeterRow, NativeFrame
from pipelines.scores.config import ScoreConfig
from pipelines.scores.registry import METERS, load_meters
from pipelines.shots.config import ShotConfig

if TYPE_CHECKING:
    from av import VideoFrame


VERSION = 2  # of which frames are native


@dataclass(frozen=True, slots=True)
class Measurements:
    """What is measured of frames, and how.

    Attributes:
        signals, shots, scores: settings of the signals, of the network that the shot detector needs, and of
            the meters.
        outputs: `signals.STAGE`, and names of meters.
        precision: of the networks among them, bf16 or fp32.
    """

    signals: SignalConfig
    shots: ShotConfig
    scores: ScoreConfig
    outputs: tuple[str, ...]
    precision: str


def preload(what: Measurements) -> Callable[[], None]:
    """A function that loads the models once, before the process measures or forks."""
    return partial(_load, what.shots, what.scores, tuple(sorted(what.outputs)), what.precision)


def _load(shots: ShotConfig, scores: ScoreConfig, wanted: tuple[str, ...], precision: str) -> None:
    if signals.STAGE in wanted:
        signals.preload(shots, precision)
    load_meters(scores, tuple(name for name in wanted if name in METERS), precision)


def context_frames(what: Measurements) -> int:
    """Frames needed on either side of a stretch."""
    return signals.context_frames(what.signals, what.shots) if signals.STAGE in what.outputs else 0


def measure(
    pictures: Iterable[tuple[int, "VideoFrame"]],
    clock: Clock,
    unit: tuple[int, int],
    what: Measurements,
) -> dict[str, pa.Table]:
    """The requested measurements of a range of a video's frames.

    Args:
        pictures: those frames and `context_frames` on either side, as far as the video goes; in order,
            numbered, as coded. Those that are damaged are left out.
        clock: of the whole video.
        unit: (first, last), numbers of frames in `clock.pts`; `last` is behind the last one.

    Returns:
        A table per name: a row per frame for the signals, a row per native frame for a meter.
    """
    first, last = unit
    meters = tuple(name for name in what.outputs if name in METERS)
    looks = load_meters(what.scores, meters, what.precision)
    native_every_s = what.signals.native_every_s
    native = on_grid(clock.pts, clock.time_base, native_every_s)
    # A picture that stands through an interval is all that is shown in it.
    native |= np.diff(clock.pts, append=clock.end_pts) > math.floor(
        Fraction(str(native_every_s)) / clock.time_base
    )
    native[:first] = native[last:] = False
    rows: dict[str, list[MeterRow]] = {name: [] for name in looks}
    pairs = _looked_at(pictures, clock, native, looks, rows)
    tables: dict[str, pa.Table] = {}
    if signals.STAGE in what.outputs:
        tables[signals.STAGE] = signals.measure(pairs, clock, unit, what.signals, what.shots, what.precision)
    for _ in pairs:  # the rest, or all of it where no signals are wanted
        pass
    return tables | {name: pa.Table.from_pylist(rows[name], schema=METERS[name].schema) for name in looks}


def _looked_at(
    pairs: Iterable[tuple[int, "VideoFrame"]],
    clock: Clock,
    native: np.ndarray,
    looks: dict[str, Callable[[NativeFrame], MeterRow]],
    rows: dict[str, list[MeterRow]],
) -> Iterator[tuple[int, "VideoFrame"]]:
    """The same pictures, while meters look at the native ones among them."""
    for number, picture in pairs:
        if looks and native[number]:
            frame = NativeFrame(picture)
            at: dict[str, Any] = {"pts": int(clock.pts[number])}
            for name, look in looks.items():
                rows[name].append(at | look(frame))
        yield number, picture
