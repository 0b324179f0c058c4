"""Takes → composites: videos whose every cut, fade and dissolve is known, and whose flashes, shakes and pans
are no cuts.

In: takes and a seed. Out: encoded files, and the truth in frames. Each composite has a look of its own (frame
rate, codec, light, grain, text); each shot its own take, crop and camera; some neighbours are two instants of
one take.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.footage.takes import Take, frames_of

HEIGHT, WIDTH = 180, 320
CODECS = {
    "h264": ("libx264", "mp4", {"preset": "veryfast", "crf": "23"}),
    "mpeg4": ("mpeg4", "avi", {"b": "1500k"}),
    "vp9": ("libvpx-vp9", "webm", {"deadline": "realtime", "cpu-used": "8", "crf": "33", "b": "0"}),
    "hevc": (
        "libx265",
        "mp4",
        {"preset": "ultrafast", "crf": "26", "x265-params": "log-level=none:pools=none"},
    ),
}
_RATES = (Fraction(25), Fraction(24), Fraction(30000, 1001), Fraction(50), Fraction(15))
_CAMERAS = ("static", "pan", "zoom", "handheld", "sport")
DISTRACTORS = ("flash", "shake", "whip")


@dataclass(frozen=True, slots=True)
class Event:
    """What happens during frames [start, end); a hard cut is before frame start = end."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Truth:
    """`shots` are the frames [start, end) that show one shot alone; transitions lie between them, distractors
    inside."""

    shots: list[tuple[int, int]]
    transitions: list[Event]
    distractors: list[Event]


@dataclass(frozen=True, slots=True)
class Look:
    """What all frames of a composite share."""

    fps: Fraction
    codec: str
    gain: float
    grain: float
    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """One shot as it is filmed again: `frames` long, from `phase` of a take; its joins' frames are on top of
    that."""

    take: Take
    frames: int
    phase: int
    mirrored: bool
    scale: float
    centre: tuple[float, float]
    camera: str
    speed: tuple[float, float]
    distractor: Event | None
    seed: int


@dataclass(frozen=True, slots=True)
class Join:
    """How one shot becomes the next; `frames` of mixing, for a fade first those out, then `held`, then those
    in."""

    kind: str
    frames: int = 0
    held: int = 0
    frames_in: int = 0
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Composite:
    """What will be rendered."""

    look: Look
    parts: list[Part]
    joins: list[Join]


def plan(takes: list[Take], seed: int, shots: int = 9) -> Composite:
    """Draw a composite."""
    rng = np.random.default_rng(seed)
    night = rng.random() < 0.25
    look = Look(
        fps=_RATES[int(rng.choice(len(_RATES), p=(0.4, 0.15, 0.2, 0.15, 0.1)))],
        codec=list(CODECS)[int(rng.integers(len(CODECS)))],
        gain=float(rng.uniform(0.25, 0.45)) if night else 1.0,
        grain=float(rng.uniform(3, 9)) if night or rng.random() < 0.3 else 0.0,
        text="RUSHES  LIVE  00:17" if rng.random() < 0.3 else "",
    )
    joins = [_draw_join(rng, look) for _ in range(shots - 1)]
    parts: list[Part] = []
    for join in [Join("start"), *joins]:
        sibling = join.kind == "hard" and rng.random() < 0.3
        parts.append(_draw_part(rng, takes, look, parts[-1] if parts else None, sibling))
    return Composite(look, parts, joins)


def _draw_take(rng: np.random.Generator, takes: list[Take], before: Take | None) -> Take:
    """Of a file first, the more likely the more takes it has, but by far less than in proportion."""
    paths = sorted({take.path for take in takes})
    weights = np.sqrt([sum(take.path == path for take in takes) for path in paths])
    path = paths[int(rng.choice(len(paths), p=weights / weights.sum()))]
    mine = [take for take in takes if take.path == path and take != before]
    return mine[int(rng.integers(len(mine)))] if mine else _draw_take(rng, takes, before)


def _draw_part(
    rng: np.random.Generator, takes: list[Take], look: Look, before: Part | None, sibling: bool
) -> Part:
    take = before.take if sibling else _draw_take(rng, takes, before.take if before else None)
    frames = round(float(rng.uniform(1.6, 6.0)) * float(look.fps))
    scale = float(rng.uniform(0.7, 0.95))
    if sibling:  # the same place, but never the same framing: that would be no cut at all in a still scene
        scale = before.scale * float(rng.choice((0.6, 0.7, 1.4, 1.6)))
    camera = _CAMERAS[int(rng.choice(len(_CAMERAS), p=(0.25, 0.25, 0.15, 0.2, 0.15)))]
    length_s = frames / float(look.fps)
    reach = {"static": 0.0, "pan": 0.06, "zoom": 0.05, "handheld": 0.02, "sport": 0.35}[camera]
    return Part(
        take=take,
        frames=frames,
        phase=int(rng.integers(1000)),
        mirrored=before.mirrored if sibling else bool(rng.random() < 0.5),
        scale=scale,
        centre=(float(rng.uniform(0.4, 0.6)), float(rng.uniform(0.42, 0.58))),
        camera=camera,
        speed=(
            float(rng.uniform(0.4, 1.0) * rng.choice((-1, 1)) * reach),
            float(rng.uniform(-0.3, 0.3) * reach),
        ),
        distractor=_draw_distractor(rng, frames, look) if length_s >= 2.4 and rng.random() < 0.6 else None,
        seed=int(rng.integers(2**31)),
    )


def _draw_distractor(rng: np.random.Generator, frames: int, look: Look) -> Event:
    kind = DISTRACTORS[int(rng.integers(len(DISTRACTORS)))]
    low, high = {"flash": (0.04, 0.2), "shake": (0.2, 0.6), "whip": (0.2, 0.5)}[kind]
    length = max(1, round(float(rng.uniform(low, high)) * float(look.fps)))
    start = int(rng.integers(round(frames * 0.3), round(frames * 0.7) - length // 2))
    return Event(kind, start, start + length)


def _draw_join(rng: np.random.Generator, look: Look) -> Join:
    kind = ("hard", "dissolve", "fade")[int(rng.choice(3, p=(0.5, 0.3, 0.2)))]
    fps = float(look.fps)
    if kind == "dissolve":
        return Join(kind, max(2, round(float(np.exp(rng.uniform(np.log(0.2), np.log(2.0)))) * fps)))
    if kind == "fade":
        out, held, back = (max(least, round(float(rng.uniform(a, b)) * fps)) for a, b, least in _FADE)
        return Join(kind, out, held, back, colour=255 if rng.random() < 0.3 else 0)
    return Join(kind)


_FADE = ((0.2, 1.0, 2), (0.0, 0.5, 1), (0.2, 1.0, 2))


def truth_of(composite: Composite) -> Truth:
    """Where everything is, in frames."""
    shots: list[tuple[int, int]] = []
    transitions: list[Event] = []
    distractors: list[Event] = []
    at = 0
    for part, join in zip(composite.parts, [*composite.joins, Join("end")], strict=True):
        shots.append((at, at + part.frames))
        if part.distractor:
            d = part.distractor
            distractors.append(Event(d.kind, at + d.start, at + d.end))
        at += part.frames
        length = join.frames + join.held + join.frames_in
        if join.kind != "end":
            transitions.append(Event(join.kind, at, at + length))
        at += length
    return Truth(shots, transitions, distractors)


def render(composite: Composite, folder: Path, name: str) -> tuple[Path, Truth]:
    """Write the composite's file, or find it written; with its truth beside it."""
    suffix = CODECS[composite.look.codec][1]
    path, beside = folder / f"{name}.{suffix}", folder / f"{name}.json"
    truth = truth_of(composite)
    if not beside.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _encode(composite, path)
        beside.write_text(json.dumps(asdict(truth)))
    return path, truth


def _encode(composite: Composite, path: Path) -> None:
    codec, _, options = CODECS[composite.look.codec]
    look, rng = composite.look, np.random.default_rng(composite.parts[0].seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=look.fps, options=options)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in _frames(composite):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(_graded(frame, look, rng), format="rgb24"))
            )
        container.mux(stream.encode(None))


def _frames(composite: Composite):
    fps = float(composite.look.fps)
    joins = [Join("start"), *composite.joins, Join("end")]
    for part, (_, after), following in zip(
        composite.parts, pairwise(joins), [*composite.parts[1:], None], strict=True
    ):
        # A part's own time starts with its first unmixed frame: frames mixed before it have negative numbers.
        yield from (_film(part, k, fps) for k in range(part.frames))
        if after.kind == "dissolve":
            for k in range(after.frames):
                share = (k + 1) / (after.frames + 1)
                mixed = _film(part, part.frames + k, fps), _film(following, k - after.frames, fps)
                yield (1 - share) * mixed[0] + share * mixed[1]
        elif after.kind == "fade":
            for k in range(after.frames):
                yield _towards(_film(part, part.frames + k, fps), after.colour, (k + 1) / (after.frames + 1))
            yield from (np.full((HEIGHT, WIDTH, 3), float(after.colour)) for _ in range(after.held))
            for k in range(after.frames_in):
                frame = _film(following, k - after.frames_in, fps)
                yield _towards(frame, after.colour, 1 - (k + 1) / (after.frames_in + 1))


def _towards(frame: np.ndarray, colour: float, share: float) -> np.ndarray:
    return (1 - share) * frame + share * colour


def _film(part: Part, k: int, fps: float) -> np.ndarray:
    """Frame k of a part, float32 (H, W, 3)."""
    source = frames_of(part.take)
    period = 2 * len(source) - 2
    step = (part.phase + round(k * 25 / fps)) % period  # forwards, then backwards: a take is short
    picture = source[min(step, period - step)]
    if part.mirrored:
        picture = picture[:, ::-1]
    picture = np.ascontiguousarray(picture)
    event = part.distractor
    active = event if event is not None and event.start <= k < event.end else None
    blur = 5 if active and active.kind in ("whip", "shake") else 1
    # a shutter that is half open
    frames = [_view(part, picture, k + b / (2 * blur), fps) for b in range(blur)]
    frame = np.mean(frames, axis=0, dtype=np.float32) if blur > 1 else frames[0].astype(np.float32)
    if active and active.kind == "flash":
        rng = np.random.default_rng([part.seed, k])
        frame = frame * float(rng.uniform(1.5, 2.5)) + float(rng.uniform(60, 150))
    return np.minimum(frame, 255)


def _view(part: Part, picture: np.ndarray, k: float, fps: float) -> np.ndarray:
    h, w = picture.shape[:2]
    seconds = k / fps
    x, y = part.centre
    scale = part.scale * min(w / WIDTH, h / HEIGHT)
    if part.camera in ("pan", "handheld"):
        x, y = x + part.speed[0] * seconds, y + part.speed[1] * seconds
    elif part.camera == "zoom":
        scale *= float(np.exp(part.speed[0] * seconds))
    elif part.camera == "sport":
        x, y = x + part.speed[0] * np.sin(2 * seconds), y + part.speed[1] * np.sin(3 * seconds)
    if part.camera == "handheld":
        x, y = x + 0.01 * np.sin(7 * seconds + part.seed % 7), y + 0.01 * np.sin(9 * seconds)
    event = part.distractor
    if event is not None and event.kind == "shake" and event.start <= k < event.end:
        rng = np.random.default_rng([part.seed, int(k)])
        jolt, share = rng.uniform(-0.12, 0.12, (2, 2)), k - int(k)
        x, y = (value + (1 - share) * jolt[0, n] + share * jolt[1, n] for n, value in enumerate((x, y)))
    if event is not None and event.kind == "whip" and k >= event.start:
        share = min(1.0, (k - event.start) / (event.end - event.start))
        reach = np.random.default_rng(part.seed).uniform(0.4, 1.2) * (1 if part.seed % 2 else -1)
        x += reach * share * share * (3 - 2 * share)
    move = np.float32([[scale, 0, x * w - scale * WIDTH / 2], [0, scale, y * h - scale * HEIGHT / 2]])
    return cv2.warpAffine(
        picture,
        move,
        (WIDTH, HEIGHT),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def _graded(frame: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    frame = frame * look.gain
    if look.grain:
        frame = frame + rng.normal(0, look.grain, (HEIGHT, WIDTH, 1))
    frame = np.ascontiguousarray(np.clip(frame, 0, 255).astype(np.uint8))
    if look.text:
        cv2.putText(
            frame,
            look.text,
            (12, HEIGHT - 14),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.6,
            (255, 240, 160),
            2,
            cv2.LINE_AA,
        )
    return frame
