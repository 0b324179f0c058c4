"""Clips for the tests of deduplication: index rows, and looks measured from pixels as signals are, without
files."""

from fractions import Fraction
from itertools import pairwise

import cv2
import numpy as np
import pyarrow as pa

from pipelines.dedup import looks, thumb
from pipelines.grid import on_grid
from tests.support.footage import texture

FPS = 16


def filmed(
    seed: int, seconds: float, start_s: float = 0.0, ground: int | None = None, side: int = 96
) -> np.ndarray:
    """Two textured things on paths of their own over a textured ground, uint8 (T, side, side · 4/3, 3)."""
    rng = np.random.default_rng(seed)
    canvas = texture(seed if ground is None else ground, side, side * 4 // 3).astype(np.float32)
    height, width = canvas.shape[:2]
    things = [
        (texture(seed + k + 1, 32, 32).astype(np.float32), rng.uniform(1, 4, 2), rng.uniform(0, 6, 2))
        for k in (0, 1)
    ]
    frames = []
    for number in range(round(start_s * FPS), round((start_s + seconds) * FPS)):
        picture = canvas.copy()
        for pixels, pace, phase in things:
            x, y = (
                np.array([width - 32, height - 32]) / 2 * (1 + np.sin(pace * number / FPS + phase))
            ).astype(int)
            picture[y : y + 32, x : x + 32] = pixels
        frames.append(picture.astype(np.uint8))
    return np.stack(frames)


def row(clip_id: str, frames: np.ndarray, **also) -> dict:
    """What the index says of a clip of these frames."""
    height, width = frames.shape[1:3]
    known = {
        "clip_id": clip_id,
        "video_id": clip_id,
        "frames_hash": clip_id,
        "width": width,
        "height": height,
        "safe_x": 0,
        "safe_y": 0,
        "safe_width": width,
        "safe_height": height,
        "time_base": f"1/{FPS}",
        "start_pts": 0,
        "end_pts": len(frames),
        "start_s": 0.0,
        "end_s": len(frames) / FPS,
        "sharpness": 1.0,
    }
    return known | also


def look(clip: dict, frames: np.ndarray, thumbs_per_s: int = 8) -> dict:
    """Its row of LOOKS."""
    pts = np.arange(len(frames)) + clip["start_pts"]
    kept = on_grid(pts, Fraction(1, FPS), Fraction(1, thumbs_per_s))
    gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    change = [0.0] + [float(cv2.mean(cv2.absdiff(a, b))[0]) for a, b in pairwise(gray)]
    signals = pa.table(
        {
            "pts": pa.array(pts, pa.int64()),
            "thumb": pa.array(
                [thumb.thumb(g) if keep else None for g, keep in zip(gray, kept, strict=True)],
                pa.binary(thumb.BYTES),
            ),
            "delta_lum": pa.array(change, pa.float32()),
        }
    )
    return looks.look_row(signals, clip)


def looks_of(clips: list[tuple[dict, np.ndarray]]) -> pa.Table:
    return pa.Table.from_pylist([look(clip, frames) for clip, frames in clips], schema=looks.LOOKS)
