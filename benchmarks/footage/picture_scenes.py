"""Scenes for what native frames tell: real pictures between bars, and under text, whose truth is known by
construction.

In: a random generator. Out: frames, uint8 (T, H, W, 3), how to encode them, and the truth: the rectangle of
the picture in px, or where text is. Pictures are takes of the real clips (`benchmarks.footage.takes`),
cropped, mirrored and slowly moved.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.footage.takes import Take, frames_of

FPS = 2  # scenes last some seconds, and cost little
ENCODERS = {
    "h264": ("libx264", "mp4", "yuv420p",
        lambda rng: {"crf": str(rng.integers(16, 37)), "preset": "veryfast"}),
    "hevc": ("libx265", "mp4", "yuv420p",
        lambda rng: {"crf": str(rng.integers(20, 37)), "preset": "ultrafast",
                                                     "x265-params": "log-level=none:pools=none"}),
    "vp9": ("libvpx-vp9", "webm", "yuv420p",
        lambda rng: {"crf": str(rng.integers(25, 48)), "b": "0", "cpu-used": "8",
                                                        "deadline": "realtime"}),
    "mpeg4": ("mpeg4", "avi", "yuv420p", lambda rng: _quantiser(rng.integers(2, 13))),
    "mpeg2": ("mpeg2video", "mkv", "yuv420p", lambda rng: _quantiser(rng.integers(2, 13))),
    "mjpeg": ("mjpeg", "avi", "yuvj420p", lambda rng: _quantiser(rng.integers(2, 11))),
}  # fmt: skip
_SIZES = (
    (1280, 720), (854, 480), (640, 360), (720, 576), (720, 480), (640, 272), (426, 240), (320, 240),
    (480, 854),
    (406, 720), (960, 540), (502, 378),
)  # fmt: skip
_RATIOS = (2.39, 2.35, 2.2, 2.0, 1.85, 16 / 9, 1.66, 3 / 2, 4 / 3, 1.0, 4 / 5, 9 / 16)


@dataclass(frozen=True, slots=True)
class Scene:
    """Frames and their encoder; `what` says what is special about them."""

    frames: np.ndarray
    codec: str
    options: dict[str, str]
    what: str


@dataclass(frozen=True, slots=True)
class Barred(Scene):
    """`picture` is (left, top, right, bottom): the first row and column of the picture, and the first behind
    it, px."""

    picture: tuple[float, float, float, float]


def _quantiser(level: int) -> dict[str, str]:
    return {"qmin": str(level), "qmax": str(level)}


def draw_encoder(rng: np.random.Generator) -> tuple[str, dict[str, str]]:
    codec = str(rng.choice(list(ENCODERS), p=(0.45, 0.1, 0.1, 0.1, 0.15, 0.1)))
    return codec, ENCODERS[codec][3](rng)


def film(rng: np.random.Generator, takes: list[Take], count: int, height: int, width: int) -> np.ndarray:
    """A take as if filmed again at this size: a crop of it that drifts; uint8 (count, height, width, 3)."""
    paths = sorted({take.path for take in takes})
    path = paths[int(rng.integers(len(paths)))]
    mine = [take for take in takes if take.path == path]
    source = frames_of(mine[int(rng.integers(len(mine)))])
    h, w = source.shape[1:3]
    scale = min(h * 0.92 / height, w * 0.92 / width) * rng.uniform(0.65, 1.0)
    spare = np.array((w - width * scale, h - height * scale)) - 0.06 * min(h, w)
    at = 0.03 * min(h, w) + spare * rng.uniform(0.2, 0.8, 2)
    drift = rng.uniform(-0.15, 0.15, 2) * spare / count
    mirrored, first = rng.random() < 0.5, int(rng.integers(len(source)))
    frames = []
    for k in range(count):
        picture = source[(first + 4 * k) % len(source)]
        x, y = at + drift * k
        move = np.float32([[scale, 0, x], [0, scale, y]])
        shown = cv2.warpAffine(picture, move, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        frames.append(shown[:, ::-1] if mirrored else shown)
    return np.stack(frames)


def barred(rng: np.random.Generator, takes: list[Take], count: int = 9) -> Barred:
    """A scene with bars, or without. Varied: frame size and orientation; letterbox, pillarbox, both, one side
    only, unequal sides; the picture's ratio; the level of black and its noise; edges softened by scaling;
    light, down to night, fades, black stretches; subtitles and logos in bars and in the picture; codec and
    quality.
    """
    width, height = _SIZES[int(rng.integers(len(_SIZES)))]
    left, top, right, bottom = _draw_bars(rng, width, height)
    # Rendered smaller and scaled up, edges are soft and lie between pixels.
    soft = rng.uniform(1.1, 2.0) if rng.random() < 0.25 else 1.0
    w, h = round(width / soft), round(height / soft)
    x0, y0, x1, y1 = (round(v / soft) for v in (left, top, width - right, height - bottom))
    frames = film(rng, takes, count, y1 - y0, x1 - x0)
    light = str(rng.choice(("day", "dim", "night", "fade", "black"), p=(0.5, 0.17, 0.17, 0.1, 0.06)))
    frames = _lit(rng, frames, light)
    black = int(rng.choice((0, 3, 16, 24), p=(0.6, 0.1, 0.2, 0.1)))
    noise = rng.uniform(0.3, 1.6) if rng.random() < 0.25 else 0.0
    canvas = np.full((count, h, w, 3), float(black))
    canvas[:, y0:y1, x0:x1] = black + frames * (255 - black) / 255
    overlay = str(rng.choice(("", "subtitle", "logo", "picture logo"), p=(0.6, 0.18, 0.12, 0.1)))
    if overlay:
        _overlay(rng, canvas, overlay, (x0, y0, x1, y1))
    if noise:
        canvas += rng.normal(0, noise, (count, h, w, 1))
    shown = np.clip(np.round(canvas), 0, 255).astype(np.uint8)
    if (w, h) != (width, height):
        shown = np.stack(
            [cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC) for frame in shown]
        )
    picture = (x0 * width / w, y0 * height / h, x1 * width / w, y1 * height / h)
    codec, options = draw_encoder(rng)
    bars = "+".join(n for n, v in zip("ltrb", (left, top, right, bottom), strict=True) if v) or "none"
    what = (
        f"{width}x{height} {bars} {light} black={black} noise={noise:.1f} soft={soft:.1f} {overlay} {codec} "
        f"{options}"
    )
    return Barred(shown, codec, options, what, picture)


def _draw_bars(rng: np.random.Generator, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom, px."""
    kind = str(rng.choice(("none", "ratio", "both", "uneven", "one"), p=(0.25, 0.45, 0.1, 0.12, 0.08)))
    if kind == "none":
        return 0, 0, 0, 0
    shapes = [r for r in _RATIOS if 0.3 < min(r * height / width, width / (r * height)) < 0.97]
    ratio = shapes[int(rng.integers(len(shapes)))]
    w, h = min(width, height * ratio), min(height, width / ratio)
    if kind == "both":
        share = rng.uniform(0.7, 0.92)
        w, h = w * share, h * share
    x, y = round((width - w) / 2), round((height - h) / 2)
    bars = np.array((x, y, width - round(w) - x, height - round(h) - y))
    if kind == "uneven":
        shift = np.round(bars[:2] * rng.uniform(-0.6, 0.6, 2)).astype(int)
        bars += np.concatenate((shift, -shift))
    elif kind == "one":
        bars[[0, 1] if rng.random() < 0.5 else [2, 3]] = 0
    return tuple(int(v) for v in bars)


def _lit(rng: np.random.Generator, frames: np.ndarray, light: str) -> np.ndarray:
    values = frames.astype(np.float32)
    count = len(values)
    if light == "dim":
        values *= rng.uniform(0.25, 0.5)
    elif light == "night":
        values = 255 * (values / 255) ** rng.uniform(1.0, 1.5) * rng.uniform(0.12, 0.25)
        values += rng.normal(0, rng.uniform(0, 2.5), (*values.shape[:3], 1))
    elif light == "fade":
        values *= np.linspace(0, 1, count)[:, None, None, None]
    elif light == "black":
        values[: count // 2] = 0
    return np.clip(values, 0, 255)


def _overlay(
    rng: np.random.Generator, canvas: np.ndarray, kind: str, picture: tuple[int, int, int, int]
) -> None:
    """Draw into the lower bar (subtitle), the upper or right one (logo), or a corner of the picture."""
    count, h, w = canvas.shape[:3]
    x0, y0, x1, y1 = picture
    if kind == "subtitle" and h - y1 >= 20:
        size = int(min((h - y1) * rng.uniform(0.3, 0.6), h * 0.07))
        mask, _ = written(rng, "It was a dark night, and nobody knew."[: int(rng.integers(12, 37))], size)
        while mask.shape[1] > 0.9 * (x1 - x0):
            mask = cv2.resize(mask, None, fx=0.85, fy=0.85, interpolation=cv2.INTER_AREA)
        place = ((w - mask.shape[1]) // 2, y1 + (h - y1 - mask.shape[0]) // 2)
        frames = range(count) if rng.random() < 0.5 else range(count // 3, count)
    elif kind == "logo" and (y0 >= 16 or w - x1 >= 24):
        size = int(max(8, min((y0 if y0 >= 16 else w - x1) * 0.4, h * 0.06)))
        mask, _ = written(rng, "TV1", size)
        place = (w - mask.shape[1] - 4, (y0 - mask.shape[0]) // 2 if y0 >= 16 else 12)
        frames = range(count)
    elif kind == "picture logo":
        mask, _ = written(rng, "CH 4", max(10, (y1 - y0) // 14))
        place = (x0 + (x1 - x0) // 20, y0 + (y1 - y0) // 20)
        frames = range(count)
    else:
        return
    for k in frames:
        _blend(canvas[k], mask, place, np.array((235.0, 235.0, 225.0)))


def _blend(
    frame: np.ndarray, mask: np.ndarray, place: tuple[int, int], colour: np.ndarray
) -> tuple[int, int, int, int]:
    """Paint where the mask is, cropped to the frame; the painted box (left, top, right, bottom)."""
    x, y = place
    left, top = max(0, x), max(0, y)
    right, bottom = min(frame.shape[1], x + mask.shape[1]), min(frame.shape[0], y + mask.shape[0])
    if right <= left or bottom <= top:
        return left, top, left, top
    share = mask[top - y : bottom - y, left - x : right - x, None]
    part = frame[top:bottom, left:right]
    part[:] = (1 - share) * part + share * colour
    return left, top, right, bottom


_HERSHEY = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
)


def written(rng: np.random.Generator, text: str, size_px: int) -> tuple[np.ndarray, str]:
    """Opacity of a line of text, float (h, w) cropped to its ink, in a font that comes with Pillow or OpenCV;
    and its name."""
    if rng.random() < 0.6:
        font = ImageFont.load_default(size_px)
        left, top, right, bottom = font.getbbox(text)
        image = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
        ImageDraw.Draw(image).text((2 - left, 2 - top), text, fill=255, font=font)
        mask, name = np.asarray(image, np.float32) / 255, "Aileron"
    else:
        index = int(rng.integers(len(_HERSHEY)))
        scale, weight = size_px / 30, max(1, round(size_px / (22 if index else 12)))
        (w, h), below = cv2.getTextSize(text, _HERSHEY[index], scale, weight)
        image = np.zeros((h + below + 2 * weight, w + 2 * weight), np.uint8)
        cv2.putText(image, text, (weight, h + weight), _HERSHEY[index], scale, 255, weight, cv2.LINE_AA)
        mask, name = image.astype(np.float32) / 255, f"Hershey {index}"
    rows, columns = np.flatnonzero(mask.max(1) > 0.1), np.flatnonzero(mask.max(0) > 0.1)
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], name


@dataclass(frozen=True, slots=True)
class Written(Scene):
    """`area` is, of each frame, the share that the boxes around lines cover; `lines` are those that stand
    still."""

    area: np.ndarray
    lines: list[str]


TEXTS = ("none", "subtitle", "title", "lower third", "ticker", "scores", "page")
_STORY = (
    "the river runs under an old bridge and nobody asks why it takes so long to cross when morning comes "
    "with rain Live from Lisbon minister says budget holds markets 2.4% higher after quiet Friday in Tokyo "
    "weather Sunday 18 degrees"
)
_WORDS = _STORY.split()
_COLOURS = ((255, 255, 255), (250, 230, 60), (120, 230, 250), (250, 120, 90), (20, 20, 20))
_TEXT_SIZES = ((1280, 720), (854, 480), (640, 360), (720, 576), (480, 854), (1920, 1080), (426, 240))


def written_on(rng: np.random.Generator, takes: list[Take], kind: str, count: int = 9) -> Written:
    """A scene with text of a kind in `TEXTS`. Varied: frame size, fonts, sizes, colours, outline, shadow or a
    box behind, number of lines, place, when it is there, what is behind it, codec and quality.
    """
    width, height = _TEXT_SIZES[int(rng.integers(len(_TEXT_SIZES)))]
    canvas = film(rng, takes, count, height, width).astype(np.float32)
    truth = np.zeros((count, height, width), bool)
    lines: list[str] = []
    if kind != "none":
        shown = range(count) if rng.random() < 0.7 else range(count // 2)
        lines = _WRITERS[kind](rng, canvas, truth, shown)
    codec, options = draw_encoder(rng)
    frames = np.clip(np.round(canvas), 0, 255).astype(np.uint8)
    what = f"{kind} {width}x{height} {codec} {options}"
    return Written(frames, codec, options, what, truth.mean(axis=(1, 2)), lines)


def _sentence(rng: np.random.Generator, least: int, most: int) -> str:
    first = int(rng.integers(len(_WORDS)))
    return " ".join(_WORDS[(first + k) % len(_WORDS)] for k in range(int(rng.integers(least, most + 1))))


def _style(rng: np.random.Generator) -> tuple[np.ndarray, str]:
    colour = np.array(_COLOURS[int(rng.integers(len(_COLOURS)))], float)
    return colour, str(rng.choice(("outline", "shadow", "box")))


def _put(
    canvas: np.ndarray,
    truth: np.ndarray,
    shown: range,
    line: np.ndarray,
    place: tuple[int, int],
    style: tuple,
) -> None:
    """A line of text with its upper left corner at a place, in these frames; ink is truth, not what surrounds
    it."""
    colour, effect = style
    h = len(line)
    margin = max(2, h // 8)
    padded = np.pad(line, margin)
    contrary = np.full(3, 235.0 if colour.sum() < 200 else 15.0)
    around = {
        "outline": cv2.dilate(padded, np.ones((3, 3)), iterations=max(1, h // 24)),
        "shadow": np.roll(padded, (max(1, h // 20),) * 2, (0, 1)),
        "box": np.full_like(padded, 0.85),
    }[effect]
    for k in shown:
        _blend(canvas[k], around, (place[0] - margin, place[1] - margin), contrary)
        left, top, right, bottom = _blend(canvas[k], line, place, colour)
        truth[k, top:bottom, left:right] = True


def _fitting(rng: np.random.Generator, text: str, size: float, most: float) -> np.ndarray:
    line, _ = written(rng, text, max(9, round(size)))
    if line.shape[1] > most:
        line = cv2.resize(
            line, None, fx=most / line.shape[1], fy=most / line.shape[1], interpolation=cv2.INTER_AREA
        )
    return line


def _rows(rng, canvas, truth, shown, texts, size, top, align) -> list[str]:
    """Lines of one style below each other; `top` and `size` in shares of the height."""
    height, width = canvas.shape[1:3]
    style, y = _style(rng), round(top * height)
    for text in texts:
        line = _fitting(rng, text, size * height, 0.88 * width)
        x = (width - line.shape[1]) // 2 if align == "centre" else round(0.06 * width)
        _put(canvas, truth, shown, line, (x, y), style)
        y += line.shape[0] + round(0.4 * size * height)
    return texts


def _subtitle(rng, canvas, truth, shown):
    texts = [_sentence(rng, 3, 6) for _ in range(int(rng.integers(1, 3)))]
    return _rows(
        rng, canvas, truth, shown, texts, rng.uniform(0.045, 0.075), rng.uniform(0.76, 0.8), "centre"
    )


def _title(rng, canvas, truth, shown):
    texts = [_sentence(rng, 1, 3).upper() for _ in range(int(rng.integers(1, 4)))]
    return _rows(rng, canvas, truth, shown, texts, rng.uniform(0.1, 0.2), rng.uniform(0.08, 0.3), "centre")


def _lower_third(rng, canvas, truth, shown):
    texts = [_sentence(rng, 2, 2).title(), _sentence(rng, 3, 4)]
    return _rows(rng, canvas, truth, shown, texts, rng.uniform(0.05, 0.08), rng.uniform(0.65, 0.75), "left")


def _page(rng, canvas, truth, shown):
    texts = [_sentence(rng, 4, 6) for _ in range(int(rng.integers(6, 10)))]
    canvas *= 0.35
    return _rows(rng, canvas, truth, shown, texts, rng.uniform(0.045, 0.06), 0.06, "left")


def _ticker(rng, canvas, truth, shown):
    height, width = canvas.shape[1:3]
    line, _ = written(rng, _sentence(rng, 16, 22), max(9, round(height * rng.uniform(0.045, 0.07))))
    band, y = np.array(rng.uniform(0, 120, 3)), height - 2 * line.shape[0]
    for k in shown:
        canvas[k, y - line.shape[0] // 2 : y + round(1.5 * line.shape[0])] = band
        left, top, right, bottom = _blend(
            canvas[k], line, (width // 3 - k * width // 12, y), np.full(3, 245.0)
        )
        truth[k, top:bottom, left:right] = True
    return []


def _scores(rng, canvas, truth, shown):
    height, width = canvas.shape[1:3]
    texts = ["HOME 2", "AWAY 1", "LIVE", f"{int(rng.integers(10, 90))}:{int(rng.integers(10, 60))}"]
    places = ((0.05, 0.06), (0.3, 0.06), (0.85, 0.06), (0.05, 0.15))
    style = _style(rng)
    for text, (x, y) in zip(texts, places, strict=True):
        line = _fitting(rng, text, height * 0.055, 0.2 * width)
        _put(canvas, truth, shown, line, (round(x * width), round(y * height)), style)
    return texts


_WRITERS = {
    "subtitle": _subtitle,
    "title": _title,
    "lower third": _lower_third,
    "ticker": _ticker,
    "scores": _scores,
    "page": _page,
}
