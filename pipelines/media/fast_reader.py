"""decord, where it can be trusted: random access to frames, several times as fast as PyAV's.

In: a source and its clock. Out: a reader whose frame i is the clock's frame i, pixel for pixel what PyAV
shows; or none. decord is an extra (`rushes[decord]`), since its wheels hold an FFmpeg that nobody may
redistribute; without it there is no reader. decord half honours edit lists: it counts the samples that they
hide, but does not show them, so its numbers shift with every seek. A clip's bytes are therefore given to it
without their edit list, and its numbers begin behind the lead.
"""

import io
import logging
import os
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.media.clip_file import ClipFile, read_clip_file
from pipelines.media.clock import Clock
from pipelines.media.open_regular import open_regular
from pipelines.media.probe import open_container, video_stream
from pipelines.media.random_access import field_syntax, parameter_sets
from pipelines.media.ranged import File, RangedFile

logger = logging.getLogger(__name__)

# Containers with an index to seek by. In a program stream decord finds its way back only to the second key
# frame, and then hands out every frame under an earlier one's number, without an error.
_SEEKABLE = frozenset(("mov", "matroska", "avi"))
# Their key frames give the size of what follows, whatever the header said.
_RESIZABLE = frozenset(("vp8", "vp9", "av1", "libdav1d", "mpeg1video", "mpeg2video"))
# The first frame is decoded before any seek; see `packets_from`.
_FIRST = 0
# Where its old FFmpeg loses a frame (at the end of some open groups), decord repeats the one before without a
# word. This share of frames is none.
_NO_FAULTS = 1e-6
# decord asks a broken file 10240 times for its end, which takes minutes.
os.environ.setdefault("DECORD_EOF_RETRY_MAX", "256")


class DecordError(Exception):
    """decord could not go on."""


class FastReader:
    """Frames by number, as in the clock that it was opened with."""

    def __init__(self, reader: Any, lead_frames: int):
        self._reader = reader
        self._lead = lead_frames

    def pick(self, indices: Sequence[int]) -> dict[int, np.ndarray]:
        """Frames with these numbers, each uint8 (H, W, 3).

        Raises:
            GaveUp: one does not decode.
        """
        wanted = sorted({_FIRST, *(self._lead + index for index in indices)})
        try:
            frames = self._reader.get_batch(wanted).asnumpy()
        except _decord_errors() as error:
            raise DecordError(_first_line(error)) from error
        return {number - self._lead: frame for number, frame in zip(wanted, frames, strict=True)}

    def iterate(self, first: int, last: int) -> Iterator[np.ndarray]:
        """Frames first … last−1, in order.

        Raises:
            GaveUp: one does not decode.
        """
        try:
            if self._lead + first:
                self._reader.next()
                self._reader.seek_accurate(self._lead + first)
            for _ in range(first, last):
                yield self._reader.next().asnumpy()
        except _decord_errors() as error:
            raise DecordError(_first_line(error)) from error


def open_fast(source: File | bytes, clock: Clock, clip: ClipFile | None = None) -> FastReader | None:
    """A reader that agrees with the clock, if decord is installed and can be one.

    Args:
        clip: of these bytes; it is read if not given.

    Raises:
        MediaError: the source can't be opened at all.
    """
    if not _has_decord():
        return None
    # What decord turns upright comes with the padding of its rows. It reads files and bytes, not ranges.
    if clock.demuxer not in _SEEKABLE or not clock.as_coded or isinstance(source, RangedFile):
        return None
    lead, everything, data = 0, clock, source
    if isinstance(source, bytes) and (clip := clip or read_clip_file(source)):
        lead, everything, data = clip.lead_frames, clip.full_clock, clip.data
        if not np.array_equal(clip.clock.pts - clip.clock.pts[0], clock.pts - clock.pts[0]):
            return None
    if not everything.plain or not _plain_pixels(data):
        return None
    reader = _open(io.BytesIO(data), everything) if isinstance(data, bytes) else _open_path(data, everything)
    return FastReader(reader, lead) if reader else None


@cache
def _has_decord() -> bool:
    if find_spec("decord") is not None:
        return True
    logger.info("decord is not installed; PyAV shows the same frames, more slowly")
    return False


def _plain_pixels(source: File | bytes) -> bool:
    """Whether both make the same RGB of its samples: not if these are deeper than 8 bits, of two interlaced
    fields, or may change their size on the way, which decord does not survive. A clip was looked at when it
    was cut.
    """
    with open_container(source) as container:
        stream = video_stream(container)
        codec = stream.codec_context
        if codec.name in _RESIZABLE and not isinstance(source, bytes):
            return False
        first = next(container.decode(stream), None)
        if first is None or any(component.bits > 8 for component in first.format.components):
            return False
        fields = field_syntax(codec.name, parameter_sets(codec.name, codec.extradata), 0)
        return fields is None and not first.interlaced_frame


def _open_path(path: Path, clock: Clock) -> Any:
    """The same of a file, which decord opens by name: by that of a descriptor, where descriptors have
    names."""
    descriptor = open_regular(path)
    try:
        named = f"/proc/self/fd/{descriptor}"
        return _open(named if os.path.exists(named) else str(path), clock)
    finally:
        os.close(descriptor)


def _open(file: str | io.BytesIO, clock: Clock) -> Any:
    """A decord reader that lists the clock's frames at the clock's times, or None."""
    import decord
    from decord import DECORDError, DECORDLimitReachedError

    try:
        reader = decord.VideoReader(file, num_threads=1, fault_tol=_NO_FAULTS)
        if len(reader) != len(clock.pts):
            return None
        shown_s = reader.get_frame_timestamp(range(len(reader)))[:, 0].astype(np.float64)
    except (DECORDError, DECORDLimitReachedError, RuntimeError, IndexError) as error:
        logger.info("decord can't open this one (%s); PyAV does", _first_line(error))
        return None
    expected_s = (clock.pts - clock.pts[0]) * float(clock.time_base)
    tolerance_s = 0.25 * clock.duration_s / len(clock.pts)
    return reader if np.allclose(shown_s - shown_s[0], expected_s, rtol=0, atol=tolerance_s) else None


def _decord_errors() -> tuple[type[Exception], ...]:
    from decord import DECORDError, DECORDLimitReachedError

    return DECORDError, DECORDLimitReachedError


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
