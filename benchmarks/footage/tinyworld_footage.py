"""A world small enough to learn in minutes: one coloured shape on a plain dark ground, moving left, right, up
or down.

In: a seed and a vocabulary. Out: videos with a list of their captions (`a red circle moves left`), and the
truth of every frame. Lengths are shares of the frame's side and areas shares of the frame, so that what is
true holds at whatever size it is looked at. All shapes have one area: what a caption leaves open (where, how
fast, how dark the ground) is not what anyone is judged by.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.naming import closest_match
from tests.support.footage import write

RGB = {
    "red": (220, 40, 40),
    "green": (40, 190, 60),
    "blue": (60, 90, 235),
    "yellow": (235, 205, 50),
    "purple": (175, 60, 210),
    "white": (235, 235, 235),
    "orange": (240, 130, 30),
    "cyan": (60, 200, 215),
}
SHAPES = ("circle", "square", "triangle")
STEP_XY = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
AREA = 0.1
SIDE_PX, FPS, CLIP_FRAMES = 64, 12, 24
_MARGIN = 0.036
# of the frame's side: how far an edge takes from the ground's colour to the shape's, as a lens does
_BLUR = 1 / 32
_TRAVEL = (0.36, 0.44)  # of the frame's side, over a clip
_SHADES = (20, 70)

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class World:
    """What there is, and which (colour, direction) pairs are never shown."""

    colours: tuple[str, ...] = ("red", "green", "blue", "yellow")
    shapes: tuple[str, ...] = SHAPES
    held_out: tuple[Pair, ...] = (("red", "left"), ("blue", "up"))

    def __post_init__(self) -> None:
        _all_known("colours", self.colours, RGB)
        _all_known("shapes", self.shapes, SHAPES)
        _all_known("heldout", (colour for colour, _ in self.held_out), self.colours)
        _all_known("heldout", (direction for _, direction in self.held_out), STEP_XY)
        shown = self.pairs()
        lonely = {c for c, _ in self.held_out} - {c for c, _ in shown} | {d for _, d in self.held_out} - {
            d for _, d in shown
        }
        if lonely:
            raise ValueError(
                f"heldout leaves nothing that shows {', '.join(sorted(lonely))}; hold out fewer pairs"
            )

    def pairs(self) -> tuple[Pair, ...]:
        """The pairs that are shown, in a fixed order."""
        return tuple((c, d) for c in self.colours for d in STEP_XY if (c, d) not in self.held_out)


@dataclass(frozen=True, slots=True)
class Scene:
    """What one clip shows. The middle of the shape's area is at `start_xy` + frame number × `speed` along the
    direction."""

    colour: str
    shape: str
    direction: str
    start_xy: tuple[float, float]
    speed: float  # of the frame's side, per frame
    shade: int  # of the ground, 0 … 255
    frames: int = CLIP_FRAMES

    @property
    def caption(self) -> str:
        return f"a {self.colour} {self.shape} moves {self.direction}"

    def middle(self, frame: int) -> tuple[float, float]:
        """Where the shape is: x from the left and y from the top."""
        dx, dy = STEP_XY[self.direction]
        return self.start_xy[0] + dx * self.speed * frame, self.start_xy[1] + dy * self.speed * frame


def scenes(world: World, pairs: Sequence[Pair], count: int, seed: int) -> list[Scene]:
    """So many scenes, pairs and shapes in turn, all else drawn; the same for the same arguments."""
    rng = random.Random(seed)
    deck = [(pair, shape) for pair in pairs for shape in world.shapes]
    order: list[tuple[Pair, str]] = []
    while len(order) < count:
        order += rng.sample(deck, len(deck))
    return [_scene(rng, *pair, shape) for pair, shape in order[:count]]


def _scene(rng: random.Random, colour: str, direction: str, shape: str) -> Scene:
    """Wholly inside the frame from the first frame to the last."""
    travel = rng.uniform(*_TRAVEL)
    corners = _corners(shape) * math.sqrt(AREA)
    start = []
    for axis, step in enumerate(STEP_XY[direction]):
        low = _MARGIN - corners[:, axis].min() + travel * (step < 0)
        high = 1 - _MARGIN - corners[:, axis].max() - travel * (step > 0)
        start.append(float(rng.uniform(low, high)))
    return Scene(
        colour, shape, direction, (start[0], start[1]), travel / (CLIP_FRAMES - 1), rng.randint(*_SHADES)
    )


def render(scene: Scene, side_px: int = SIDE_PX) -> np.ndarray:
    """uint8 (T, side, side, 3)."""
    ground, colour = np.full(3, scene.shade, float), np.array(RGB[scene.colour], float)
    cover = np.stack([_cover(scene, frame, side_px) for frame in range(scene.frames)])[..., None]
    return np.round(ground + cover * (colour - ground)).astype(np.uint8)


def _cover(scene: Scene, frame: int, side_px: int) -> np.ndarray:
    """How much of each pixel the shape covers, 0 … 1, from the distance to its edge: (side, side)."""
    at = (np.arange(side_px) + 0.5) / side_px
    x, y = (line - middle for line, middle in zip(np.meshgrid(at, at), scene.middle(frame), strict=True))
    if scene.shape == "circle":
        inside = math.sqrt(AREA / math.pi) - np.hypot(x, y)
    else:
        corners = _corners(scene.shape) * math.sqrt(AREA)
        edges = np.roll(corners, -1, axis=0) - corners
        edges /= np.linalg.norm(edges, axis=1, keepdims=True)
        inside = np.min(
            [ex * (y - cy) - ey * (x - cx) for (cx, cy), (ex, ey) in zip(corners, edges, strict=True)], axis=0
        )
    return np.clip(inside / _BLUR + 0.5, 0, 1)


def _corners(shape: str) -> np.ndarray:
    """(K, 2) corners of a convex shape of area 1 about its middle, clockwise as seen; a circle's four
    extremes."""
    if shape == "circle":
        return np.array([(1, 0), (0, 1), (-1, 0), (0, -1)]) / math.sqrt(math.pi)
    if shape == "square":
        return np.array([(0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])
    side = 2 / 3**0.25
    return side * np.array([(0, -1 / math.sqrt(3)), (0.5, 0.5 / math.sqrt(3)), (-0.5, 0.5 / math.sqrt(3))])


def write_footage(folder: Path, shown: Iterable[Scene]) -> Path:
    """Videos and, beside them, the list that `footage=` takes, with a caption for each; returns the list."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, scene in enumerate(shown):
        name = f"{number:04d}.mp4"
        write(folder / name, render(scene), fps=FPS)
        rows.append((name, scene.caption))
    path = folder / "footage.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("uri", "text"), *rows])
    return path


def parse_pairs(text: str) -> tuple[Pair, ...]:
    """`red:left,blue:up` as pairs.

    Raises:
        ValueError: a part is not `colour:direction`.
    """
    pairs = []
    for part in text.split(",") if text else ():
        colour, colon, direction = part.partition(":")
        if not colon:
            raise ValueError(f"heldout={text}: '{part}' is not colour:direction, like red:left")
        pairs.append((colour, direction))
    return tuple(pairs)


def _all_known(key: str, names: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            close = closest_match(name, known)
            hint = f"did you mean '{close}'? " if close else ""
            raise ValueError(f"{key}: '{name}' is not known; {hint}known: {', '.join(known)}")
