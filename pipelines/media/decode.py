"""A file → its frames with their exact PTS: decord first where it is installed, PyAV for what it can't open
or sees differently.

In: a file, or the bytes of a clip. Out: RGB frames, upright, uint8 (H, W, 3). decord is trusted only if it
lists the same frames at the same times as the demuxer; if it gives up in the middle, PyAV goes on where it
stopped.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import MediaError, Reason
from pipelines.media.clip_file import read_clip_file
from pipelines.media.clock import Clock, pts_of
from pipelines.media.fast_reader import DecordError, FastReader, open_fast
from pipelines.media.intact_pictures import pictures_between
from pipelines.media.picture import upright
from pipelines.media.ranged import File
from pipelines.media.read_clock import read_clock

if TYPE_CHECKING:
    from av import VideoFrame

logger = logging.getLogger(__name__)

_SHORT_SHARE = 1 / 8  # of a file's frames: to decode fewer is faster than to list all


def iterate_frames(
    source: File | bytes, clock: Clock, start_pts: int | None = None, end_pts: int | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """(pts, frame) of every frame in [start_pts, end_pts), in order, each once; the whole video by default.

    Raises:
        MediaError: undecodable, no_timestamps.
    """
    start = int(clock.pts[0]) if start_pts is None else start_pts
    end = clock.end_pts if end_pts is None else end_pts
    done = start - 1
    reader = open_fast(source, clock)
    if reader is not None:
        shown = clock.pts[clock.index_of(start) : clock.index_of(end)].tolist()
        try:
            for pts, frame in zip(
                shown, reader.iterate(clock.index_of(start), clock.index_of(end)), strict=True
            ):
                done = pts
                yield pts, frame
            return
        except DecordError as error:
            logger.info("decord gave up after pts %d (%s); PyAV goes on", done, error)
    yield from _iterate_pyav(source, clock, done + 1, end)


def frames_at(source: File | bytes, clock: Clock, indices: Sequence[int]) -> np.ndarray:
    """The frames with these numbers (ascending, repeats allowed), uint8 (T, H, W, 3).

    Raises:
        MediaError: undecodable, no_timestamps, truncated.
    """
    return _pick(
        source, clock, indices, None if _is_short(source, clock, indices) else open_fast(source, clock)
    )


def frames_in_passes(
    source: File | bytes, clock: Clock, indices: Sequence[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """(number, frame) of frames with these numbers, ascending, that may be far from each other: no frame is
    decoded twice, and what lies between two of them is passed over where a keyframe allows it.

    Raises:
        MediaError: undecodable, no_timestamps.
    """
    passes: list[list[int]] = []
    for index in indices:
        keyframe = clock.keyframe_before(int(clock.pts[index]))
        if passes and (keyframe is None or clock.index_of(keyframe) <= passes[-1][-1]):
            passes[-1].append(index)
        else:
            passes.append([index])
    for wanted in passes:
        by_pts = {int(clock.pts[index]): index for index in wanted}
        for picture in pictures_between(source, clock, min(by_pts), max(by_pts) + 1):
            if picture.pts in by_pts:
                yield by_pts[picture.pts], upright(picture)


def _is_short(source: File | bytes, clock: Clock, indices: Sequence[int]) -> bool:
    """Whether all frames wanted are near each other in a long file: decord reads all of it before it shows
    one."""
    keyframe = clock.keyframe_before(int(clock.pts[min(indices)]))
    first = 0 if keyframe is None else clock.index_of(keyframe)
    return not isinstance(source, bytes) and max(indices) - first < _SHORT_SHARE * len(clock.pts)


def _pick(
    source: File | bytes, clock: Clock, indices: Sequence[int], reader: FastReader | None
) -> np.ndarray:
    wanted = sorted(set(indices))
    frames: dict[int, np.ndarray] = {}
    if reader is not None:
        try:
            frames = reader.pick(wanted)
        except DecordError as error:
            logger.info("decord could not pick frames (%s); PyAV does", error)
    if not frames:
        by_pts = {int(clock.pts[index]): index for index in wanted}
        for picture in pictures_between(source, clock, min(by_pts), max(by_pts) + 1):
            if picture.pts in by_pts:
                frames[by_pts[picture.pts]] = upright(picture)
        if len(frames) < len(wanted):
            lost = len(wanted) - len(frames)
            raise MediaError(
                Reason.TRUNCATED, f"{lost} of {len(wanted)} frames that the index lists don't decode"
            )
    return np.stack([frames[index] for index in indices])


def decode_frames(source: File | bytes, times_s: Sequence[float], height: int, width: int) -> np.ndarray:
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
    clock, frames_of = open_clip(source)
    indices = clock.index_at(np.asarray(times_s, dtype=np.float64)).tolist()
    unique = sorted(set(indices))
    frames = frames_of(unique)
    small = {index: cover(frame, height, width) for index, frame in zip(unique, frames, strict=True)}
    return np.stack([small[index] for index in indices])


def open_clip(source: File | bytes) -> tuple[Clock, Callable[[Sequence[int]], np.ndarray]]:
    """The clock of a clip's file, and what gives its frames with ascending numbers, uint8 (T, H, W, 3).

    Raises:
        MediaError: what is no clip; and by the second, what does not decode.
    """
    clip = read_clip_file(source) if isinstance(source, bytes) else None
    clock = clip.clock if clip else read_clock(source)
    return clock, lambda indices: _pick(source, clock, indices, open_fast(source, clock, clip))


def probe_clip(source: File | bytes) -> tuple[int, float, int, int, float]:
    """(num_frames, duration_s, width, height, fps) of a clip; the rate is the mean over its length.

    Raises:
        MediaError: what is no clip, or does not decode.
    """
    clip = read_clip_file(source) if isinstance(source, bytes) else None
    clock = clip.clock if clip else read_clock(source)
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


def iterate_pictures(
    source: File | bytes, start_pts: int, end_pts: int, clock: Clock | None = None
) -> Iterator["VideoFrame"]:
    """FFmpeg's own frames in [start_pts, end_pts), as coded: not rotated, in the video's pixel format.

    Args:
        clock: of this very file; it is read if not given.

    Raises:
        MediaError: undecodable, no_timestamps.
    """
    return pictures_between(source, clock or read_clock(source), start_pts, end_pts)


def _iterate_pyav(
    source: File | bytes, clock: Clock, start_pts: int, end_pts: int
) -> Iterator[tuple[int, np.ndarray]]:
    for picture in pictures_between(source, clock, start_pts, end_pts):
        yield pts_of(picture), upright(picture)
