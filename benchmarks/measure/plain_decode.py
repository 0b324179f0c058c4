"""A damaged file → what FFmpeg's own decoders show of it, with nothing of ours between: what players show.

In: a path. Out: a row per picture. Errors are passed over packet by packet, as FFmpeg's program passes over
them. Runs in a killable child: see `shown_by_ffmpeg`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import MediaError
from pipelines.media.picture import picture_hash
from pipelines.sandbox import child
from pipelines.sandbox.answers import Limits

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_LIMITS = Limits(deadline_s=20.0, memory_bytes=2 * 1024**3)
_MOST_PICTURES = 20_000
_MOST_ERRORS = 100  # of reading, not of decoding, in a file


def shown_by_ffmpeg(path: Path) -> np.ndarray:
    """A row for each picture, in the order in which they come: time in µs (-1 if none is told), hash of its
    samples, and 1 if the decoder says that it made some of it up; int64 (N, 3).

    A file that FFmpeg can't open, or that ends it, shows nothing.
    """
    try:
        return child.call(decode, path, limits=_LIMITS)
    except MediaError:
        return np.empty((0, 3), np.int64)


def decode(path: Path) -> np.ndarray:
    """`shown_by_ffmpeg`, in this process."""
    import av

    rows: list[tuple[int, int, int]] = []
    try:
        with av.open(
            str(path), options={"protocol_whitelist": "file"}, metadata_errors="replace"
        ) as container:
            stream = container.streams.best("video")
            if stream is not None and stream.codec_context is not None:
                stream.codec_context.thread_count = 1
                _read(container, stream, rows)
    # it does not open; or PyAV met a stream that the header had not named
    except (av.error.FFmpegError, IndexError):
        pass
    return np.array(rows, np.int64).reshape(-1, 3)


def _read(container: "InputContainer", stream: "VideoStream", rows: list[tuple[int, int, int]]) -> None:
    import av

    for _ in range(_MOST_ERRORS):
        try:
            for packet in container.demux(stream):
                try:
                    pictures = packet.decode()
                except av.error.FFmpegError:
                    continue
                for picture in pictures:
                    time_us = -1 if picture.time is None else round(picture.time * 1_000_000)
                    rows.append((time_us, picture_hash(picture) - (1 << 63), int(picture.is_corrupt)))
                if len(rows) > _MOST_PICTURES:
                    return
            return
        except av.error.EOFError:
            return
        except av.error.FFmpegError:  # a packet can't be read: the next one may
            continue
