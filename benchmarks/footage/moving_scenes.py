"""Scenes whose camera, objects and bars are known by construction: what motion and camera labels are judged
on.

In: a seed. Out: rendered frames of a scene, its true label, and the true mean flow between each two frames.

A scene is a picture of packaged footage (mirrored without end) that a camera looks at, and blobs of other
pictures that move in front of it. Varied: sizes of 176 to 960 px and both orientations; 12 to 60 frames a
second; the move's speed (at least twice the threshold of its label; slower ones are left out) and evenness
(steady, eased, resting for a part of the clip); a focus of zoom and roll off the middle; shake between 0.3
and 3 Hz on top of any move; blobs over 20 to 45 % of the picture that cross, sway, approach, are followed by
the camera or stand nearer than the background, and crowds of small ones; pictures without much texture;
letterbox and pillarbox; grain; light that changes; and x264's quality, crf 16 to 32 (above, it freezes slow
moves, and what is true is no longer in the picture).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from benchmarks.footage.takes import Take, deal, packaged_takes
from pipelines.media.decode import frames_at
from pipelines.media.read_clock import read_clock
from tests.support.footage import texture

LABELS = (
    "static", "handheld", "pan left", "pan right", "tilt up", "tilt down", "zoom in", "zoom out", "roll",
)  # fmt: skip
_SIZES = (
    (640, 360),
    (640, 272),
    (480, 360),
    (426, 240),
    (320, 180),
    (960, 540),
    (360, 640),
    (240, 426),
    (176, 144),
)
_RATES = (12, 15, 24, 25, 30, 30, 50, 60)
_OBJECTS = ("none", "none", "crossing", "swaying", "approaching", "near", "followed", "crowd")
_EVENNESS = ("steady", "steady", "eased", "resting")
_PICTURES = 16


@dataclass(frozen=True, slots=True)
class Blob:
    """Something in front of the background: its picture with transparency, and where it is at each frame."""

    pixels: np.ndarray  # uint8 (H, W, 3)
    alpha: np.ndarray  # float32 (H, W), 0 … 1
    place: np.ndarray  # (T, 3, 3): from its pixels to the picture's


@dataclass(frozen=True, slots=True)
class Scene:
    """What is rendered, and what is true of it."""

    label: str
    width: int
    height: int
    fps: int
    frames: int
    picture: tuple[int, int, int, int]  # x, y, width, height inside the bars
    background: np.ndarray  # uint8 (H, W, 3)
    place: np.ndarray  # (T, 3, 3): from the background's pixels to the picture's
    blobs: tuple[Blob, ...]
    gain: np.ndarray  # (T,) of light
    noise: float  # luma levels
    black: int
    crf: int
    traits: str  # for the table of errors
    seed: int


def plan(label: str, seed: int, held_out: bool) -> Scene:
    """A scene with this label; everything else is drawn."""
    rng = np.random.default_rng([LABELS.index(label), seed])
    width, height = _SIZES[rng.integers(len(_SIZES))]
    fps = int(rng.choice(_RATES))
    frames = int(rng.uniform(2.0, 3.0) * fps)
    x, y, w, h, bars = _inside_bars(rng, width, height)
    diagonal = math.hypot(width, height)
    move, evenness = _move(rng, label, frames, fps)
    shake = _shake(rng, label, frames, fps, move)
    middle = np.array([w / 2, h / 2])
    off = rng.uniform(-0.25, 0.25, 2) * (w, h) if label in ("zoom in", "zoom out", "roll") else 0
    steps = _steps(move, middle + off, diagonal, shake, middle)
    pool = _pool(held_out)
    kind = str(rng.choice(_OBJECTS))
    while kind == "followed" and not label.startswith(("pan", "tilt")):
        kind = str(rng.choice(_OBJECTS))
    background, plain = _background(rng, pool, w, h)
    return Scene(
        label=label,
        width=width,
        height=height,
        fps=fps,
        frames=frames,
        picture=(x, y, w, h),
        background=background,
        place=_places(_start(rng, background, w, h), steps),
        blobs=_blobs(rng, kind, pool, w, h, diagonal, fps, steps),
        gain=_gain(rng, frames),
        noise=float(rng.choice((0.0, 1.0, 2.5, 5.0))),
        black=int(rng.integers(0, 9)),
        crf=int(rng.choice((16, 20, 24, 28, 32))),
        traits=f"{width}x{height} {fps}/s {kind} {evenness} {bars}{' plain' if plain else ''}"
        f" shake={shake[:, :2].std() * fps:.3f}",
        seed=seed,
    )


def render(scene: Scene) -> Iterator[np.ndarray]:
    """Frames, uint8 (H, W, 3)."""
    rng = np.random.default_rng(scene.seed)
    x, y, w, h = scene.picture
    grain = rng.normal(0, 1, (h + 64, w + 64, 3)).astype(np.float32)
    levels = _levels(scene)
    for k in range(scene.frames):
        scale = math.sqrt(abs(np.linalg.det(scene.place[k][:2, :2])))
        level, place = levels[min(max(0, math.floor(0.5 - math.log2(scale))), len(levels) - 1)]
        picture = cv2.warpAffine(level, (scene.place[k] @ place)[:2], (w, h), flags=cv2.INTER_CUBIC).astype(
            np.float32
        )
        for blob in scene.blobs:
            share = _warped(blob.alpha, blob, k, w, h)[:, :, None]
            picture += share * (_warped(blob.pixels, blob, k, w, h) - picture)
        picture *= scene.gain[k]
        if scene.noise:
            top, left = rng.integers(0, 64, 2)
            picture += scene.noise * grain[top : top + h, left : left + w]
        frame = np.full((scene.height, scene.width, 3), scene.black, np.uint8)
        frame[y : y + h, x : x + w] = np.clip(np.round(picture), 0, 255)
        yield frame


def flows(scene: Scene) -> np.ndarray:
    """True mean length of the flow from each frame to the next inside the bars, share of the frame diagonal
    per second; (T − 1,). By the matrices that it is rendered with, on every fourth pixel.
    """
    _, _, w, h = scene.picture
    y, x = np.mgrid[2:h:4, 2:w:4]
    points = np.stack([x, y, np.ones_like(x)]).reshape(3, -1).astype(float)
    lengths = []
    for k in range(scene.frames - 1):
        move = _moved(scene.place, k, points)
        for blob in scene.blobs:
            on = _warped(blob.alpha, blob, k, w, h)[2:h:4, 2:w:4].ravel() > 0.5
            move[:, on] = _moved(blob.place, k, points)[:, on]
        lengths.append(np.hypot(*move).mean())
    return np.array(lengths) / math.hypot(scene.width, scene.height) * scene.fps


def _levels(scene: Scene) -> list[tuple[np.ndarray, np.ndarray]]:
    """The background, mirrored as far as the camera looks, at sizes 1, 1/2, 1/4 so that none aliases when it
    is far; and the (3, 3) from the pixels of each to the background's.
    """
    _, _, w, h = scene.picture
    corners = np.array([[0, w, 0, w], [0, 0, h, h], [1, 1, 1, 1.0]])
    seen = np.stack([np.linalg.inv(place) @ corners for place in scene.place])
    left, top = (int(max(0, 8 - seen[:, axis].min())) for axis in (0, 1))
    right = int(max(0, seen[:, 0].max() + 8 - scene.background.shape[1]))
    bottom = int(max(0, seen[:, 1].max() + 8 - scene.background.shape[0]))
    canvas = cv2.copyMakeBorder(scene.background, top, bottom, left, right, cv2.BORDER_REFLECT_101)
    levels = []
    for size in (1, 2, 4):
        place = np.array([[size, 0, (size - 1) / 2 - left], [0, size, (size - 1) / 2 - top], [0, 0, 1]])
        even = canvas[: canvas.shape[0] // size * size, : canvas.shape[1] // size * size]
        levels.append((cv2.resize(even, None, fx=1 / size, fy=1 / size, interpolation=cv2.INTER_AREA), place))
    return levels


def _moved(place: np.ndarray, k: int, points: np.ndarray) -> np.ndarray:
    return (place[k + 1] @ np.linalg.inv(place[k]) @ points - points)[:2]


def _warped(image: np.ndarray, blob: Blob, k: int, w: int, h: int) -> np.ndarray:
    return cv2.warpAffine(image, blob.place[k][:2], (w, h), flags=cv2.INTER_LINEAR).astype(np.float32)


@cache
def _pool(held_out: bool) -> list[np.ndarray]:
    """Pictures of packaged footage, native size; held-out ones are of other shots than those of
    development."""
    takes = deal(packaged_takes(), held_out)
    return [_middle(takes[k * len(takes) // _PICTURES]) for k in range(_PICTURES)]


def _middle(take: Take) -> np.ndarray:
    clock = read_clock(take.path)
    frame = frames_at(take.path, clock, [(take.first + take.last) // 2])[0]
    h, w = frame.shape[:2]
    left, top, right, bottom = take.crop
    return frame[round(top * h) : round(bottom * h), round(left * w) : round(right * w)]


def _inside_bars(rng: np.random.Generator, width: int, height: int) -> tuple[int, int, int, int, str]:
    kind = rng.choice(("whole", "whole", "letterbox", "pillarbox"))
    if kind == "whole":
        return 0, 0, width, height, "whole"
    share = rng.uniform(0.06, 0.18)
    if kind == "letterbox":
        bar = round(share * height)
        return 0, bar, width, height - 2 * bar, "letterbox"
    bar = round(share * width)
    return bar, 0, width - 2 * bar, height, "pillarbox"


def _move(rng: np.random.Generator, label: str, frames: int, fps: int) -> tuple[np.ndarray, str]:
    """What the picture does from each frame to the next: (T − 1, 4) of right, down (shares of the diagonal),
    zoom (log of the size) and roll (radians, clockwise).
    """
    kinds = {
        "pan left": (0, 1), "pan right": (0, -1), "tilt up": (1, 1), "tilt down": (1, -1),
        "zoom in": (2, 1), "zoom out": (2, -1), "roll": (3, rng.choice((-1, 1))),
    }  # fmt: skip
    move = np.zeros((frames - 1, 4))
    if label not in kinds:
        return move, "no"
    axis, sign = kinds[label]
    lowest, highest = ((0.04, 0.6), (0.04, 0.6), (0.04, 0.5), (0.1, 0.8))[axis]
    speed = sign * math.exp(rng.uniform(math.log(lowest), math.log(highest)))
    evenness = str(rng.choice(_EVENNESS))
    t = np.linspace(0, 1, frames - 1)
    even = {
        "steady": np.ones_like(t),
        "eased": np.sin(np.pi * np.clip(t, 0.02, 0.98)) ** 0.7,
        "resting": (t < 0.7) * 1.0,
    }
    shape = even[evenness]
    move[:, axis] = speed / fps * shape / shape.mean()
    if axis < 2:  # seldom quite along an axis
        move[:, 1 - axis] = rng.uniform(-0.35, 0.35) * move[:, axis]
    return move, f"{evenness} {abs(speed):.2f}"


def _shake(rng: np.random.Generator, label: str, frames: int, fps: int, move: np.ndarray) -> np.ndarray:
    """A hand: right, down and roll wander between 0.3 and 3 Hz and end where they began; (T − 1, 4)."""
    steps = np.zeros((frames - 1, 4))
    if label == "handheld":
        speed = math.exp(rng.uniform(math.log(0.04), math.log(0.2)))
    elif label == "static":
        speed = rng.choice((0.0, 0.0, 0.003))
    else:  # a hand that moves on purpose shakes less than it moves
        flow = np.abs(move).sum(0) @ (1, 1, 0.25, 0.25) / (frames - 1) * fps
        speed = rng.choice((0.0, 0.0, rng.uniform(0.2, 0.6) * flow))
    if not speed:
        return steps
    frequency = np.fft.rfftfreq(4 * frames, 1 / fps)
    band = ((frequency >= 0.3) & (frequency <= 3)) / np.maximum(frequency, 0.3)
    for axis in (0, 1, 3):
        spectrum = np.fft.rfft(rng.normal(size=4 * frames)) * band
        steps[:, axis] = np.diff(np.fft.irfft(spectrum, 4 * frames)[:frames])
    steps -= steps.mean(0)  # no net drift
    steps[:, :2] *= speed / fps / steps[:, :2].std()
    steps[:, 3] *= 0.4 * speed / fps / steps[:, 3].std()
    return steps


def _steps(
    move: np.ndarray, focus: np.ndarray, diagonal: float, shake: np.ndarray, middle: np.ndarray
) -> np.ndarray:
    """(T − 1, 3, 3): what the picture does from each frame to the next, in px."""
    return np.stack(
        [_step(b, middle, diagonal) @ _step(a, focus, diagonal) for a, b in zip(move, shake, strict=True)]
    )


def _step(part: np.ndarray, about: np.ndarray, diagonal: float) -> np.ndarray:
    right, down, zoom, roll = part
    scale, c, s = math.exp(zoom), math.cos(roll), math.sin(roll)
    x, y = about
    turn = np.array([[scale * c, -scale * s, 0], [scale * s, scale * c, 0], [0, 0, 1.0]])
    turn[:2, 2] = (x + right * diagonal, y + down * diagonal) - turn[:2, :2] @ (x, y)
    return turn


def _places(start: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The background is at its own size in the middle of a zoom."""
    places = [np.eye(3)]
    for step in steps:
        places.append(step @ places[-1])
    size = math.sqrt(np.linalg.det(places[len(places) // 2][:2, :2]))
    shrink = np.diag([1 / size, 1 / size, 1.0])
    return np.stack([place @ shrink @ start for place in places])


def _background(rng: np.random.Generator, pool: list[np.ndarray], w: int, h: int) -> tuple[np.ndarray, bool]:
    if rng.uniform() < 0.15:
        return texture(int(rng.integers(1 << 30)), h, w), False
    picture = pool[rng.integers(len(pool))]
    scale = max(w / picture.shape[1], h / picture.shape[0]) * rng.uniform(1.0, 1.4)
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    if rng.uniform() >= 0.2:
        return picture, False
    soft = cv2.GaussianBlur(picture, (0, 0), 0.012 * math.hypot(w, h)).astype(float)
    return np.clip(128 + 0.6 * (soft - 128), 0, 255).astype(np.uint8), True


def _start(rng: np.random.Generator, background: np.ndarray, w: int, h: int) -> np.ndarray:
    room = np.array([background.shape[1] - w, background.shape[0] - h])
    start = np.eye(3)
    start[:2, 2] = -rng.uniform(0, np.maximum(room, 1))
    return start


def _gain(rng: np.random.Generator, frames: int) -> np.ndarray:
    kind, t = rng.integers(4), np.linspace(0, 1, frames)
    if kind == 0:
        return 1 + rng.choice((-0.3, 0.3)) * t
    if kind == 1:
        return 1 + 0.06 * np.sin(2 * np.pi * rng.uniform(1, 4) * t)
    return np.ones(frames)


def _blobs(
    rng: np.random.Generator,
    kind: str,
    pool: list[np.ndarray],
    w: int,
    h: int,
    diagonal: float,
    fps: int,
    steps: np.ndarray,
) -> tuple[Blob, ...]:
    if kind == "none":
        return ()
    if kind == "crowd":
        shares = rng.uniform(0.02, 0.06, rng.integers(3, 6))
        return tuple(_blob(rng, "crossing", pool, w, h, diagonal, fps, steps, share) for share in shares)
    return (_blob(rng, kind, pool, w, h, diagonal, fps, steps, rng.uniform(0.2, 0.45)),)


def _blob(
    rng: np.random.Generator,
    kind: str,
    pool: list[np.ndarray],
    w: int,
    h: int,
    diagonal: float,
    fps: int,
    steps: np.ndarray,
    share: float,
) -> Blob:
    """A blob that covers this share of the picture where it is largest."""
    at, size = _course(rng, kind, w, h, diagonal, fps, steps)
    aspect = rng.uniform(0.6, 1.3)
    radius = math.sqrt(share * w * h / math.pi) / size.max()
    rx, ry = radius * math.sqrt(aspect), radius / math.sqrt(aspect)
    side = math.ceil(2.8 * max(rx, ry))
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    angle, phases = np.arctan2(y, x), rng.uniform(0, 2 * np.pi, 3)
    bumps = 1 + sum(0.08 * np.sin((n + 2) * angle + phase) for n, phase in enumerate(phases))
    alpha = np.clip((bumps - np.hypot(x / rx, y / ry)) * radius / 1.5 + 0.5, 0, 1).astype(np.float32)
    picture = pool[rng.integers(len(pool))]
    scale = side / min(picture.shape[:2])
    pixels = cv2.resize(picture, None, fx=scale, fy=scale)[:side, :side]
    place = np.zeros((len(at), 3, 3))
    place[:, 0, 0] = place[:, 1, 1] = size
    place[:, :2, 2] = at - size[:, None] * (side - 1) / 2
    place[:, 2, 2] = 1
    return Blob(pixels, alpha, place)


def _course(
    rng: np.random.Generator, kind: str, w: int, h: int, diagonal: float, fps: int, steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the blob's middle is at each frame, px, (T, 2); and its size, (T,). The middle keeps to the
    picture."""
    frames = len(steps) + 1
    t = np.arange(frames) / fps
    low, high = 0.3 * np.array([w, h]), 0.7 * np.array([w, h])
    at, size = np.tile(rng.uniform(low, high), (frames, 1)), np.ones(frames)
    if kind == "crossing":
        speed = min(diagonal * rng.uniform(0.1, 0.35), 0.7 * w / t[-1])
        velocity = speed * np.array([rng.choice((-1, 1)), rng.uniform(-0.2, 0.2)])
        at = at * (0, 1) + (w / 2, 0) + velocity * (t - t[-1] / 2)[:, None]
    elif kind == "swaying":
        hz = rng.uniform(0.4, 1.2)
        at = (
            at
            + diagonal * rng.uniform(0.02, 0.07) * np.array([1.0, 0.3]) * np.sin(2 * np.pi * hz * t)[:, None]
        )
    elif kind == "approaching":
        size = np.exp(rng.choice((-1, 1)) * rng.uniform(0.1, 0.3) * (t - t[-1] / 2))
    elif kind == "near":
        middle = np.array([w / 2, h / 2, 1.0])
        shift = (steps @ middle - middle)[:, :2] * rng.uniform(1.3, 2.0)
        shift = np.concatenate([np.zeros((1, 2)), np.cumsum(shift, axis=0)])
        at = at + shift - shift[frames // 2]
    return at, size
