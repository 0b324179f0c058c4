"""Footage in which it is known which clips are copies: scenes, copies of them, and look-alikes that are none.

In: a seed. Out: clips as frames, each with the scene it shows and when; two clips are copies if they show the
same scene during the same time. Scenes are real takes (half of them, dealt by `benchmarks.footage.takes`, for
seeds that thresholds may be chosen on, the other half for seed 0), and rendered ones: textured things that
move along paths of their own over a ground that is a texture or a real frame, seen by a static, panning,
zooming or handheld camera, with grain.

Copies vary in codec and quality, size, crop, letterbox, light, frame rate and in when they start and end,
alone and together. Look-alikes of a rendered scene: a later piece of it; other things on the same ground
under the same camera; the same things on another ground; the same things on other paths; another pan over the
same place; other things and another text on the same ground. Title cards with other texts on one still
ground. And scenes in which hardly anything can be seen or nothing moves, at several times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import cv2
import numpy as np

from benchmarks.footage.takes import Take, deal, frames_of, packaged_takes
from tests.support.footage import texture

COPIES = 5  # of each scene
SIZES = ((180, 320), (144, 256), (192, 256), (136, 320), (256, 192))
CODECS = {
    "h264": ("libx264", ".mp4", {"preset": "veryfast", "crf": "30"}),
    "h264_poor": ("libx264", ".mp4", {"preset": "ultrafast", "crf": "36"}),
    "mpeg4": ("mpeg4", ".avi", {"flags": "+qscale", "global_quality": "1416"}),
    "vp9": ("libvpx-vp9", ".webm", {"deadline": "realtime", "cpu-used": "8", "crf": "45", "b": "0"}),
}
GOOD = ("libx264", ".mp4", {"preset": "veryfast", "crf": "18"})
CHANGES = ("quality", "size", "crop", "time", "rate", "bars", "light")
_TAKE_FRAMES = 45  # least of a real take
_SHOWN_AGAIN = (3022, 5084)  # first frames of takes that the music video has shown before: seen by eye
_CAMERAS = ("static", "static", "pan", "zoom", "handheld")
_TEXTS = (
    "TONIGHT AT NINE",
    "WEATHER: RAIN",
    "CHAPTER FOUR",
    "LIVE FROM OSLO",
    "THE HARBOUR",
    "TWO DAYS LATER",
)


@dataclass(frozen=True)
class Scene:
    """What is filmed. Equal scenes look the same at equal times."""

    ground: int
    things: int
    path: int
    camera: str
    camera_seed: int
    size: tuple[int, int]
    fps: int
    grain: float = 2.0
    grain_seed: int = 0
    text: str = ""
    number_of_things: int = 3
    drift: float = 0.0
    level: float = 1.0
    real_ground: Take | None = None


@dataclass(frozen=True)
class Shown:
    """A clip, ready to be written; `scene` and [start_s, end_s) say what it shows, `footage` the same without
    its caption."""

    name: str
    kind: str
    scene: str
    start_s: float
    end_s: float
    frames: np.ndarray
    fps: Fraction
    codec: tuple[str, str, dict[str, str]]
    footage: str

    @property
    def family(self) -> str:
        """All clips made together: the original, its copies, its look-alikes."""
        return self.name.split("_")[0]


def clips(seed: int, small: bool = False) -> Iterator[Shown]:
    """All clips of a seed, scene by scene; a few scenes only if `small`."""
    rng = np.random.default_rng([77, seed])
    takes = [
        take
        for take in deal(packaged_takes(), held_out=seed == 0)
        if take.last - take.first >= _TAKE_FRAMES and take.first not in _SHOWN_AGAIN
    ]
    rng.shuffle(takes)
    count = 3 if small else 20
    for k, take in enumerate(takes[:count]):
        frames = frames_of(take)
        fps = Fraction(25)
        yield from _family(f"take{k}", frames, fps, rng, first_change=k)
    for k in range(count + 4 if not small else 3):
        scene = _scene(rng, takes)
        length_s = float(rng.uniform(2.4, 3.6))
        frames = render(scene, 0.0, length_s)
        yield from _family(f"scene{k}", frames, Fraction(scene.fps), rng, first_change=k)
        yield from _lookalikes(f"scene{k}", scene, length_s, rng)
    for k in range(2 if small else 8):
        yield from _still(f"still{k}", rng, takes)
    for k in range(1 if small else 6):
        yield from _cards(f"card{k}", rng, takes)
    for k in range(2 if small else 8):
        yield from _dark(f"dark{k}", rng)


def _scene(rng: np.random.Generator, takes: list[Take]) -> Scene:
    seeds = rng.integers(1 << 31, size=4).tolist()
    return Scene(
        *seeds[:3],
        camera=str(rng.choice(_CAMERAS)),
        camera_seed=seeds[3],
        size=SIZES[rng.integers(len(SIZES))],
        fps=int(rng.choice((20, 24, 25, 30))),
        grain=float(rng.uniform(0.5, 4)),
        text=str(rng.choice(_TEXTS)) if rng.random() < 0.5 else "",
        number_of_things=int(rng.integers(1, 5)),
        real_ground=takes[rng.integers(len(takes))] if rng.random() < 0.5 else None,
    )


def render(scene: Scene, start_s: float, end_s: float) -> np.ndarray:
    """Its frames from start_s to end_s, uint8 (T, H, W, 3)."""
    height, width = scene.size
    big = (height * 2, width * 2)
    if scene.real_ground is not None:
        ground = cv2.resize(frames_of(scene.real_ground)[0], big[::-1], interpolation=cv2.INTER_CUBIC)
    else:
        ground = texture(scene.ground, *big)
    things, movers = np.random.default_rng(scene.things), np.random.default_rng(scene.path)
    diagonal = math.hypot(height, width)
    sprites = [_sprite(things, diagonal) for _ in range(scene.number_of_things)]
    paths = [_path(movers) for _ in sprites]
    camera = _camera(scene)
    frames = []
    for number in range(round(start_s * scene.fps), round(end_s * scene.fps)):
        t = number / scene.fps
        scale, right, down = camera(t)
        move = np.float32(
            [
                [scale, 0, width / 2 - scale * (width + right * width)],
                [0, scale, height / 2 - scale * (height + down * height)],
            ]
        )
        picture = cv2.warpAffine(ground, move, (width, height), borderMode=cv2.BORDER_REFLECT).astype(
            np.float32
        )
        for (pixels, alpha), path in zip(sprites, paths, strict=True):
            x, y = path(t)
            place = np.float32(
                [[1, 0, x * width - pixels.shape[1] / 2], [0, 1, y * height - pixels.shape[0] / 2]]
            )
            mask = cv2.warpAffine(alpha, place, (width, height))[..., None]
            picture += mask * (cv2.warpAffine(pixels, place, (width, height)) - picture)
        if scene.text:
            _write(picture, scene.text)
        picture *= scene.level * (1 + scene.drift * math.sin(t))
        if scene.grain:
            grain = np.random.default_rng([scene.grain_seed, number + 10_000])
            picture += grain.normal(0, scene.grain, picture.shape[:2])[..., None]
        frames.append(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
    return np.stack(frames)


def _sprite(rng: np.random.Generator, diagonal: float) -> tuple[np.ndarray, np.ndarray]:
    height, width = (int(v) for v in rng.uniform(0.08, 0.3, 2) * diagonal)
    alpha = np.zeros((height, width), np.float32)
    cv2.ellipse(alpha, (width // 2, height // 2), (width // 2 - 1, height // 2 - 1), 0, 0, 360, 1.0, -1)
    return texture(int(rng.integers(1 << 31)), height, width).astype(np.float32), alpha


def _path(rng: np.random.Generator):
    """A place on the frame for every time: two slow swings, up to half a frame wide, on each axis."""
    centre = rng.uniform(0.25, 0.75, 2)
    swing = rng.uniform(0.05, 0.25, (2, 2))
    pace = rng.uniform(0.5, 3.5, (2, 2))
    phase = rng.uniform(0, 2 * math.pi, (2, 2))
    return lambda t: centre + (swing * np.sin(pace * t + phase)).sum(axis=0)


def _camera(scene: Scene):
    rng = np.random.default_rng(scene.camera_seed)
    right, down = rng.uniform(-0.06, 0.06, 2)
    grows = rng.uniform(-0.06, 0.06)
    pace, phase = rng.uniform(1, 9, (2, 3)), rng.uniform(0, 6, (2, 3))

    def camera(t: float) -> tuple[float, float, float]:
        if scene.camera == "pan":
            return 1.0, right * (t - 2), down * (t - 2)
        if scene.camera == "zoom":
            return math.exp(grows * t), 0.0, 0.0
        if scene.camera == "handheld":
            shake = 0.006 * np.sin(pace * t + phase).sum(axis=1)
            return 1.0, float(shake[0]), float(shake[1])
        return 1.0, 0.0, 0.0

    return camera


def _write(picture: np.ndarray, text: str) -> None:
    height, width = picture.shape[:2]
    scale = width / 340
    at = (int(0.05 * width), int(0.8 * height))
    for level, thick in ((0.0, 5), (255.0, 3)):
        ink = np.zeros((height, width), np.uint8)
        cv2.putText(
            ink, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, max(1, round(thick * scale)), cv2.LINE_AA
        )
        picture += (ink[..., None] / 255) * (level - picture)


def _family(
    scene: str, frames: np.ndarray, fps: Fraction, rng: np.random.Generator, first_change: int
) -> Iterator[Shown]:
    """A scene as it was first published, and copies of it: each single change in turn, then several
    together."""
    original = Shown(scene, "original", scene, 0.0, float(len(frames) / fps), frames, fps, GOOD, scene)
    yield original
    yield (
        replace(original, name=f"{scene}_exact", kind="exact", codec=(GOOD[0], ".mkv", GOOD[2]))
        if first_change % 4 == 0
        else (_copy(original, f"{scene}_one0", (CHANGES[(3 * first_change + 2) % len(CHANGES)],), rng))
    )
    for k in range(2):
        yield _copy(original, f"{scene}_one{k + 1}", (CHANGES[(2 * first_change + k) % len(CHANGES)],), rng)
    for k in range(COPIES - 3):
        several = rng.choice(CHANGES, size=int(rng.integers(2, 5)), replace=False).tolist()
        yield _copy(original, f"{scene}_several{k}", tuple(several), rng)


def _copy(original: Shown, name: str, changes: tuple[str, ...], rng: np.random.Generator) -> Shown:
    frames, fps, start = original.frames, original.fps, 0.0
    if "time" in changes:
        late = min(float(rng.uniform(0.1, 1.5)), 0.4 * len(frames) / float(fps))
        early = float(rng.uniform(0, max(0.0, 0.4 * len(frames) / float(fps) - late)))
        first, last = round(late * fps), len(frames) - round(early * fps)
        frames, start = frames[first:last], first / float(fps)
    end = start + len(frames) / float(fps)
    if "rate" in changes:
        new = Fraction(int(rng.choice([r for r in (10, 12, 15, 24, 30, 50) if r != fps])))
        number = int(len(frames) / fps * new)
        frames, fps = frames[[min(len(frames) - 1, int(k / new * fps)) for k in range(number)]], new
    if "light" in changes:
        gamma, gain, bias = rng.uniform(0.8, 1.25), rng.uniform(0.85, 1.15), rng.uniform(-12, 12)
        table = np.clip(gain * 255 * (np.arange(256) / 255) ** gamma + bias, 0, 255).astype(np.uint8)
        frames = table[frames]
    if "crop" in changes:
        frames = np.stack(
            [frame[_cropped(frames.shape, *rng_crop)] for rng_crop in [_draw_crop(rng)] for frame in frames]
        )
    height, width = frames.shape[1:3]
    if "size" in changes:
        scale = float(rng.uniform(0.4, 1.5))
        height, width = round(height * scale), round(width * scale)
    height, width = height // 2 * 2, width // 2 * 2
    frames = np.stack([cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA) for f in frames])
    if "bars" in changes:
        bar = round(rng.uniform(0.06, 0.2) * (height if rng.random() < 0.7 else width) / 2) * 2
        pad = (
            ((0, 0), (bar, bar), (0, 0), (0, 0))
            if rng.random() < 0.7
            else ((0, 0), (0, 0), (bar, bar), (0, 0))
        )
        frames = np.pad(frames, pad)
    poor = "quality" in changes or rng.random() < 0.5
    codec = CODECS[str(rng.choice(list(CODECS)))] if poor else GOOD
    return Shown(name, "+".join(changes), original.scene, start, end, frames, fps, codec, original.footage)


def _draw_crop(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """What is left of the width and height, and where it lies in what is left over."""
    keep = 1 - rng.uniform(0.05, 0.18, 2)
    at = rng.uniform(0, 1, 2)
    return keep[0], keep[1], at[0], at[1]


def _cropped(
    shape: tuple[int, ...], keep_x: float, keep_y: float, at_x: float, at_y: float
) -> tuple[slice, slice]:
    height, width = shape[1:3]
    x, y = round(width * (1 - keep_x) * at_x), round(height * (1 - keep_y) * at_y)
    return slice(y, y + round(height * keep_y)), slice(x, x + round(width * keep_x))


def _lookalikes(name: str, scene: Scene, length_s: float, rng: np.random.Generator) -> Iterator[Shown]:
    others = rng.integers(1 << 31, size=4).tolist()
    kinds = {
        "later": (scene, length_s + float(rng.uniform(0, 2))),
        "other_action": (replace(scene, things=others[0], path=others[1], grain_seed=1), 0.0),
        "other_ground": (replace(scene, ground=others[2], real_ground=None, grain_seed=1), 0.0),
        "other_take": (replace(scene, path=others[3], grain_seed=1), 0.0),
        "other_pan": (
            replace(scene, camera="pan", number_of_things=0, camera_seed=others[1], grain_seed=1),
            float(rng.uniform(0, 1)),
        ),
    }
    if scene.text:
        text = str(rng.choice([text for text in _TEXTS if text != scene.text]))
        kinds["other_text"] = (replace(scene, text=text, things=others[2], path=others[3], grain_seed=1), 0.0)
        kinds["other_caption"] = (replace(scene, text=text, grain_seed=1), 0.0)
    for kind, (other, start) in kinds.items():
        frames = render(other, start, start + length_s)
        codec = GOOD if rng.random() < 0.5 else CODECS[str(rng.choice(list(CODECS)))]
        which = name if kind == "later" else f"{name}_{kind}"
        footage = name if kind == "other_caption" else which
        fps = Fraction(scene.fps)
        yield Shown(f"{name}_{kind}", kind, which, start, start + length_s, frames, fps, codec, footage)


def _still(name: str, rng: np.random.Generator, takes: list[Take]) -> Iterator[Shown]:
    """A camera that looks at a place where nothing happens, at four times: only its grain is another."""
    scene = replace(_scene(rng, takes), camera="static", number_of_things=0, grain=float(rng.uniform(2, 5)))
    for k in range(4):
        when = replace(scene, grain_seed=k, drift=0.0 if k % 2 else 0.01)
        frames = render(when, 3.0 * k, 3.0 * k + 2.4)
        yield Shown(
            f"{name}_{k}",
            "still",
            f"{name}_{k}",
            3.0 * k,
            3.0 * k + 2.4,
            frames,
            Fraction(scene.fps),
            GOOD,
            f"{name}_{k}",
        )


def _cards(name: str, rng: np.random.Generator, takes: list[Take]) -> Iterator[Shown]:
    """Title cards: three texts on one ground that does not move, without grain; and a copy of the first."""
    scene = replace(_scene(rng, takes), camera="static", number_of_things=0, grain=0.0)
    for k, text in enumerate(rng.choice(_TEXTS, size=3, replace=False).tolist()):
        frames = render(replace(scene, text=text), 0.0, 2.4)
        card = Shown(
            f"{name}_{k}",
            "original",
            f"{name}_{k}",
            0.0,
            2.4,
            frames,
            Fraction(scene.fps),
            GOOD,
            f"{name}_{k}",
        )
        yield card if k == 0 else replace(card, kind="other_text")
        if k == 0:
            yield replace(_copy(card, f"{name}_copy", ("size",), rng), codec=CODECS["h264"])


def _dark(name: str, rng: np.random.Generator) -> Iterator[Shown]:
    """Three clips of almost nothing: black, or one flat or gently shaded tone, with grain."""
    for k in range(3):
        height, width = SIZES[0]
        level = float(rng.uniform(0, 12)) if k < 2 else float(rng.uniform(60, 200))
        shade = np.linspace(0, rng.uniform(0, 10), width)[None, :, None]
        grain = rng.normal(0, rng.uniform(0.5, 2), (50, height, width, 1))
        frames = np.clip(np.rint(level + shade + grain), 0, 255).astype(np.uint8).repeat(3, axis=3)
        yield Shown(f"{name}_{k}", "flat", f"{name}_{k}", 0.0, 2.0, frames, Fraction(25), GOOD, f"{name}_{k}")
