"""A file → its frames with their exact PTS: decord first, PyAV for what decord can't open or sees differently.

In: a local path, or the bytes of a clip. Out: RGB frames, upright, uint8 (H, W, 3). decord is trusted only if it
lists the same frames at the same times as the demuxer; if it gives up in the middle, PyAV goes on where it stopped.
"""

import io
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.errors import MediaError, Reason
from pipelines.media.clock import Clock, read_clock
from pipelines.media.packets import pictures_between
from pipelines.media.probe import clockwise_deg

if TYPE_CHECKING:
    from av import VideoFrame

logger = logging.getLogger(__name__)

# Containers with an index to seek by. In a program stream decord finds its way back only to the second key frame, and
# then hands out every frame under an earlier one's number, without an error.
_SEEKABLE = frozenset(("mov", "matroska", "avi"))
# The first frame is decoded before any seek; see `packets_from`.
_FIRST = 0
# decord asks a broken file 10240 times for its end, which takes minutes.
os.environ.setdefault("DECORD_EOF_RETRY_MAX", "256")


def iterate_frames(
    source: Path | bytes, clock: Clock, start_pts: int | None = None, end_pts: int | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """(pts, frame) of every frame in [start_pts, end_pts), in order, each once; the whole video by default.

    Raises:
        MediaError: undecodable, no_timestamps.
    """
    start = int(clock.pts[0]) if start_pts is None else start_pts
    end = clock.end_pts if end_pts is None else end_pts
    done = start - 1
    reader = _open_decord(source, clock)
    if reader is not None:
        first, last = clock.index_of(start), clock.index_of(end)
        try:
            if first:
                reader.next()  # see _FIRST
                reader.seek_accurate(first)
            for index in range(first, last):
                frame = reader.next().asnumpy()
                done = int(clock.pts[index])
                yield done, frame
            return
        except _decord_error() as error:
            logger.info("decord gave up after pts %d (%s); PyAV goes on", done, _first_line(error))
    yield from _iterate_pyav(source, clock, done + 1, end)


def frames_at(source: Path | bytes, clock: Clock, indices: Sequence[int]) -> np.ndarray:
    """The frames with these numbers (ascending, repeats allowed), uint8 (T, H, W, 3).

    Raises:
        MediaError: undecodable, no_timestamps, truncated.
    """
    wanted = sorted(set(indices))
    reader = _open_decord(source, clock)
    frames: dict[int, np.ndarray] = {}
    if reader is not None:
        try:
            picked = sorted({_FIRST, *wanted})
            frames = dict(zip(picked, reader.get_batch(picked).asnumpy(), strict=True))
        except _decord_error() as error:
            logger.info("decord could not pick frames (%s); PyAV does", _first_line(error))
    if not frames:
        by_pts = {int(clock.pts[index]): index for index in wanted}
        for pts, frame in _iterate_pyav(source, clock, min(by_pts), max(by_pts) + 1):
            if pts in by_pts:
                frames[by_pts[pts]] = frame
        if len(frames) < len(wanted):
            lost = len(wanted) - len(frames)
            raise MediaError(Reason.TRUNCATED, f"{lost} of {len(wanted)} frames that the index lists don't decode")
    return np.stack([frames[index] for index in indices])


def decode_frames(source: Path | bytes, times_s: Sequence[float], height: int, width: int) -> np.ndarray:
    """The frame shown at each time, resized to cover height × width and cropped at the centre.

    Args:
        source: a clip's file, or its bytes.
        times_s: ascending seconds from the first frame; the last frame stays for times after it.
        height, width: of the result, pixels.

    Returns:
        uint8 (T, height, width, 3), RGB.

    Raises:
        MediaError: what is no clip, or does not decode.
    """
    clock = read_clock(source)
    indices = clock.index_at(np.asarray(times_s, dtype=np.float64)).tolist()
    unique = sorted(set(indices))
    frames = frames_at(source, clock, unique)
    small = {index: cover(frame, height, width) for index, frame in zip(unique, frames, strict=True)}
    return np.stack([small[index] for index in indices])


def probe_clip(source: Path | bytes) -> tuple[int, float, int, int, float]:
    """(num_frames, duration_s, width, height, fps) of a clip; the rate is the mean over its length."""
    clock = read_clock(source)
    _, first = next(_iterate_pyav(source, clock, int(clock.pts[0]), clock.end_pts))
    return len(clock.pts), clock.duration_s, first.shape[1], first.shape[0], len(clock.pts) / clock.duration_s


def cover(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Crop the centre to the aspect of height × width, then resize to it, averaging when it shrinks."""
    import cv2

    h, w = frame.shape[:2]
    scale = max(height / h, width / w)
    crop_h, crop_w = min(h, max(1, round(height / scale))), min(w, max(1, round(width / scale)))
    top, left = (h - crop_h) // 2, (w - crop_w) // 2
    part = frame[top : top + crop_h, left : left + crop_w]
    if part.shape[:2] == (height, width):
        return np.ascontiguousarray(part)
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _open_decord(source: Path | bytes, clock: Clock) -> Any:
    """A decord reader that agrees with the demuxer, or None."""
    # What it turns upright comes with the padding of its rows.
    if clock.demuxer not in _SEEKABLE or clock.rotated or not clock.plain:
        return None
    import decord

    try:
        reader = decord.VideoReader(io.BytesIO(source) if isinstance(source, bytes) else str(source), num_threads=1)
        if len(reader) != len(clock.pts):
            return None
        shown_s = reader.get_frame_timestamp(range(len(reader)))[:, 0].astype(np.float64)
    except (*_decord_error(), RuntimeError, IndexError) as error:
        logger.info("decord can't open this one (%s); PyAV does", _first_line(error))
        return None
    expected_s = (clock.pts - clock.pts[0]) * float(clock.time_base)
    tolerance_s = 0.25 * clock.duration_s / len(clock.pts)
    return reader if np.allclose(shown_s - shown_s[0], expected_s, rtol=0, atol=tolerance_s) else None


def _decord_error() -> tuple[type[Exception], ...]:
    from decord import DECORDError

    return (DECORDError,)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]


def iterate_pictures(
    source: Path | bytes, start_pts: int, end_pts: int, clock: Clock | None = None
) -> Iterator["VideoFrame"]:
    """FFmpeg's own frames in [start_pts, end_pts), as coded: not rotated, in the video's pixel format.

    Args:
        clock: of this very file; it is read if not given.

    Raises:
        MediaError: undecodable, no_timestamps.
    """
    return pictures_between(source, clock or read_clock(source), start_pts, end_pts)


def _iterate_pyav(source: Path | bytes, clock: Clock, start_pts: int, end_pts: int) -> Iterator[tuple[int, np.ndarray]]:
    for picture in pictures_between(source, clock, start_pts, end_pts):
        yield picture.pts, upright(picture)


def upright(picture: "VideoFrame") -> np.ndarray:
    """RGB as displayed, uint8 (H, W, 3)."""
    turns = clockwise_deg(picture.rotation) // 90
    frame = picture.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(frame, k=-turns)) if turns else frame
