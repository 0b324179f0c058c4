"""What a video of the tiny world shows, as anyone would say who looks at it: how many objects, of which
colour, going where.

In: uint8 frames of any size, from wherever they come. Out: what is seen in them, and whether that is what was
told. Knows nothing of how footage is rendered but the names of colours and directions and the one area of all
shapes. A judge that never says no proves nothing: what it can't tell (no object, two of them, one that stands
still or goes astray) is None, which no prompt asks for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from benchmarks.footage.tinyworld_footage import AREA, RGB, STEP_XY

_APART = (
    # levels between an object and the ground, in the channel that differs most: about half of what they are
    # apart
    80
)
_SIDE_PX = 128  # frames are looked at about this large
_SPECK = 0.05  # of the true area: what is smaller is no object
_FAR = 100.0  # from the nearest colour, in RGB: beyond it, it has no name
_MOST = 0.9  # of the frames must agree on a colour
_ENOUGH = 0.75  # of the frames must show one object, and of the steps go one way
_TRAVEL = 0.009  # of the frame's side per frame, 60% of the slowest: less is standing still
_STRAIGHT = 2.0  # times as far along its direction as across
_FILLS = {"circle": np.pi / 4, "square": 1.0, "triangle": 0.5}  # of the box around it


@dataclass(frozen=True, slots=True)
class Thing:
    """An object in a frame: its share of the frame, its middle as shares of the sides, its mean colour and
    what it fills of its box."""

    area: float
    middle_xy: tuple[float, float]
    rgb: tuple[float, float, float]
    fill: float


@dataclass(frozen=True, slots=True)
class Seen:
    """A video in words; `area_ok` says of each frame whether it shows exactly one object of 50 to 150% of the
    true area."""

    colour: str | None
    direction: str | None
    shape: str | None
    area_ok: tuple[bool, ...]


def look(frames_THWC: np.ndarray, colours: Sequence[str]) -> Seen:
    """Say what a video shows, in words of this vocabulary."""
    found = [things(_enlarged(frame)) for frame in frames_THWC]
    return Seen(
        _colour(found, colours),
        _direction(found),
        _shape(found),
        tuple(len(frame) == 1 and 0.5 * AREA <= frame[0].area <= 1.5 * AREA for frame in found),
    )


def _enlarged(frame_HWC: np.ndarray) -> np.ndarray:
    """Small frames enlarged, so that half a pixel of motion is seen: where an edge lies is in its pixels'
    values."""
    factor = max(1, _SIDE_PX // min(frame_HWC.shape[:2]))
    return (
        cv2.resize(frame_HWC, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        if factor > 1
        else frame_HWC
    )


def things(frame_HWC: np.ndarray) -> list[Thing]:
    """All objects of a frame, the largest first: connected pixels that stand out from the ground."""
    height, width = frame_HWC.shape[:2]
    ground = np.median(frame_HWC.reshape(-1, 3), axis=0)
    apart = np.abs(frame_HWC - ground).max(axis=2)
    count, labels, stats, middles = cv2.connectedComponentsWithStats(
        (apart > _APART).astype(np.uint8), connectivity=8
    )
    found = []
    for label in range(1, count):
        pixels = int(stats[label, cv2.CC_STAT_AREA])
        if pixels < _SPECK * AREA * height * width:
            continue
        x, y = middles[label]
        box = int(stats[label, cv2.CC_STAT_WIDTH] * stats[label, cv2.CC_STAT_HEIGHT])
        inside = labels == label
        core = cv2.erode(inside.astype(np.uint8), np.ones((3, 3))) > 0  # its edge is half ground
        rgb = frame_HWC[core if core.any() else inside].mean(axis=0)
        middle = ((x + 0.5) / width, (y + 0.5) / height)
        found.append(Thing(pixels / (height * width), middle, tuple(rgb.tolist()), pixels / box))
    return sorted(found, key=lambda thing: -thing.area)


def _colour(found: Sequence[Sequence[Thing]], colours: Sequence[str]) -> str | None:
    """The colour that nearly all frames agree on, of all objects in them."""
    named = Counter(_name(thing.rgb, colours) for frame in found for thing in frame)
    if not named or sum(bool(frame) for frame in found) < _ENOUGH * len(found):
        return None
    name, times = named.most_common(1)[0]
    return name if times >= _MOST * named.total() else None


def _name(rgb: Sequence[float], colours: Sequence[str]) -> str | None:
    distance, name = min((float(np.linalg.norm(np.subtract(rgb, RGB[colour]))), colour) for colour in colours)
    return name if distance <= _FAR else None


def _direction(found: Sequence[Sequence[Thing]]) -> str | None:
    """Where the one object goes over the whole video, if it goes there all along."""
    alone = [(number, frame[0].middle_xy) for number, frame in enumerate(found) if len(frame) == 1]
    if len(alone) < max(2, _ENOUGH * len(found)):
        return None
    at = np.array([middle for _, middle in alone])
    moved = at[-1] - at[0]
    needed = _TRAVEL * (alone[-1][0] - alone[0][0])
    for direction, step in STEP_XY.items():
        along, across = float(moved @ step), float(np.abs(moved @ (step[1], step[0])))
        steps = [float((b - a) @ step) > 0 for a, b in pairwise(at)]
        if along >= needed and along >= _STRAIGHT * across and np.mean(steps) >= _ENOUGH:
            return direction
    return None


def _shape(found: Sequence[Sequence[Thing]]) -> str | None:
    fills = [frame[0].fill for frame in found if len(frame) == 1]
    if len(fills) < _ENOUGH * len(found):
        return None
    return min(_FILLS, key=lambda shape: abs(_FILLS[shape] - float(np.median(fills))))
