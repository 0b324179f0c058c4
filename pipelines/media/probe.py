"""A file's header → what its video is: container, codec, size as displayed, time base, duration. One frame is decoded.

In: a file and limits. Out: a `Video`. What is no container, cut off, without video or beyond a limit raises
`MediaError` here, before any decoder sees it.
"""

import io
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.config import FootageConfig
from pipelines.errors import MediaError, Reason
from pipelines.media.framing import first_framing, read_framing
from pipelines.media.picture_format import format_of, set_framing
from pipelines.media.ranged import File, RangedFile, open_file, size_of
from pipelines.media.sniff import HEAD_BYTES, sniff
from pipelines.records import Video

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

# What `footage_options.max_pixels` may be at most, and so what a decoder is ever allowed.
_MOST_PIXELS = 16384 * 16384
_BUFFER_BYTES = 64 * 1024  # between FFmpeg and a file object; less costs time, more is read in vain after a seek


@contextmanager
def open_container(source: File | bytes, max_pixels: int = _MOST_PIXELS) -> Iterator["InputContainer"]:
    """A demuxer on a sniffed file, or on the bytes of one; FFmpeg's own errors come out as `MediaError`.

    Args:
        max_pixels: width × height above which decoders refuse to allocate, whatever the container said.

    Raises:
        MediaError: missing, unreadable, truncated; undecodable for whatever FFmpeg says inside the block.
    """
    import av

    demuxer = sniff(source[:HEAD_BYTES] if isinstance(source, bytes) else _head(source))
    if demuxer == "mov" and not isinstance(source, bytes):
        _check_boxes(source)
    if isinstance(source, bytes):
        file = io.BytesIO(source)
    elif isinstance(source, RangedFile):
        file = source.open()
    else:
        # FFmpeg takes what stands before a colon for a protocol, but not behind a slash.
        file = str(source.absolute())
    try:
        # One demuxer, and local files only: no playlist, no reference elsewhere can be followed.
        options = {"protocol_whitelist": "file", "max_pixels": str(max_pixels)}
        how = {"format": demuxer, "options": options, "metadata_errors": "replace", "buffer_size": _BUFFER_BYTES}
        with av.open(file, **how) as container:
            for stream in container.streams.video:
                if stream.codec_context is not None:
                    stream.codec_context.options = {"max_pixels": str(max_pixels)}
                    stream.codec_context.thread_count = 1  # work is shared out by file, not by picture
            yield container
    except av.error.FileNotFoundError as error:
        raise MediaError(Reason.MISSING, str(error.strerror)) from error
    except av.error.EOFError as error:
        raise MediaError(Reason.TRUNCATED, f"{demuxer}: the file ends before its first packet") from error
    except av.error.FFmpegError as error:
        raise MediaError(Reason.UNDECODABLE, f"{demuxer}: {error.strerror}") from error


def probe(path: File, video_id: str, cfg: FootageConfig) -> Video:
    """What the header says of the video, whose first frame must decode.

    Raises:
        MediaError: see the module.
    """
    size_bytes = size_of(path)
    _limit(size_bytes, "bytes", "max_bytes", cfg)
    with open_container(path, cfg.max_pixels) as container:
        stream = video_stream(container)
        check_header(container, stream, cfg)
        duration_s = _duration_s(container, stream)
        frame = _first_frame(container, stream)
        _check_size(frame.width, frame.height, cfg)
        framing = read_framing(path, container, stream, stream.codec_context.sample_aspect_ratio)
        set_framing(frame, first_framing(framing, stream))
        shown = format_of(frame)
        return Video(
            video_id=video_id,
            container=container.format.name,
            codec=stream.codec_context.name,
            width=shown.width,
            height=shown.height,
            time_base=Fraction(stream.time_base),
            duration_s=duration_s,
            bit_rate=8 * size_bytes / duration_s if duration_s else 0.0,
        )


def _first_frame(container: "InputContainer", stream: "VideoStream") -> "VideoFrame":
    """A recording may begin in the middle: what comes before the first picture that is whole need not decode."""
    import av

    broken = None
    for packet in demux(container, stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError as error:
            broken = error
            continue
        for frame in frames:
            return frame
    if broken is not None:
        raise broken
    raise MediaError(Reason.NO_FRAMES, "the video stream yields no frame")


def demux(container: "InputContainer", stream: "VideoStream") -> Iterator["Packet"]:
    """All packets of a stream; the last one is empty, and flushes the decoder.

    A broadcast may take up further streams on its way. PyAV stumbles over them behind the last packet.
    """
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except IndexError:
            return
        if packet is None:
            return
        yield packet


def video_stream(container: "InputContainer") -> "VideoStream":
    """The video stream with the film in it: of those that are no cover picture one that has pictures, then the one that the file
    calls its default, then the first.

    Raises:
        MediaError: no_video; undecodable, if there is no decoder for it; no_timestamps, if it has no time base.
    """
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    films = [stream for stream in container.streams.video if not stream.disposition & still]
    if films:
        stream = min(films, key=lambda one: (not _has_pictures(one), not one.disposition & Disposition.default))
        if stream.codec_context is None:
            raise MediaError(Reason.UNDECODABLE, "no decoder knows the video stream's codec")
        if not stream.time_base:
            raise MediaError(Reason.NO_TIMESTAMPS, "the video stream has no unit of time")
        return stream
    covers = len(container.streams.video)
    raise MediaError(
        Reason.NO_VIDEO,
        f"the file has {covers} cover pictures and no video" if covers else "the file has no video stream",
    )


def _has_pictures(stream: "VideoStream") -> bool:
    """Whether the demuxer has seen one, or its header: a recorder lists programs of which it has recorded nothing."""
    return stream.codec_context is not None and bool(stream.codec_context.width)


def check_header(container: "InputContainer", stream: "VideoStream", cfg: FootageConfig) -> None:
    """What the header says, against the limits, before a decoder allocates anything for it.

    Raises:
        MediaError: too_large.
    """
    _limit(len(container.streams), "streams", "max_streams", cfg)
    _check_size(stream.codec_context.width, stream.codec_context.height, cfg)
    _limit(_duration_s(container, stream), "s", "max_duration_s", cfg)
    _limit(stream.frames, "frames", "max_frames", cfg)
    if stream.frames and stream.average_rate:  # without a count of frames, the rate is FFmpeg's guess
        _limit(float(stream.average_rate), "frames per second", "max_fps", cfg)


def _check_size(width: int, height: int, cfg: FootageConfig) -> None:
    _limit(max(width, height), "pixels wide or high", "max_side", cfg)
    if width * height > cfg.max_pixels:
        raise MediaError(
            Reason.TOO_LARGE, f"{width} × {height} are more pixels than footage_options.max_pixels={cfg.max_pixels}"
        )


def _limit(value: float, unit: str, key: str, cfg: FootageConfig) -> None:
    limit = getattr(cfg, key)
    if value > limit:
        raise MediaError(Reason.TOO_LARGE, f"{value:.10g} {unit} are more than footage_options.{key}={limit}")


def _duration_s(container: "InputContainer", stream: "VideoStream") -> float:
    """Header duration; 0.0 where the container tells none (the clock will)."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / 1_000_000 if container.duration else 0.0


def _head(file: File) -> bytes:
    with open_file(file) as opened:
        try:
            return opened.read(HEAD_BYTES)
        except OSError as error:
            raise MediaError(Reason.MISSING, error.strerror or type(error).__name__) from error


_MEDIA_BOXES = frozenset((b"moov", b"moof", b"mdat"))  # with what is lost if they are cut off


def _check_boxes(path: File) -> None:
    """Walk the top-level boxes of an ISO media file (ISO/IEC 14496-12, 4.2): whole, and with a `moov`.

    FFmpeg opens a file whose media data is cut off and ends early without a word. What lies behind a whole file is none of it:
    a music player's tag or a dashcam's text is read as a box with a length of anything.

    Raises:
        MediaError: truncated; the index or media data reach beyond the end, or there is no `moov`.
    """
    size_bytes, offset, kinds = size_of(path), 0, set()
    with open_file(path) as file:
        while offset + 8 <= size_bytes:
            file.seek(offset)
            length, kind = struct.unpack(">I4s", file.read(8))
            if length == 1 and offset + 16 <= size_bytes:
                (length,) = struct.unpack(">Q", file.read(8))
            if length == 0:
                length = size_bytes - offset
            whole = {b"moov", b"mdat"} <= kinds
            if (
                length < 8
                or not _is_box_kind(kind)
                or (whole and kind not in _MEDIA_BOXES and offset + length > size_bytes)
            ):
                break  # padding or junk behind the last box: FFmpeg decides
            kinds.add(kind)
            offset += length
    if offset > size_bytes:
        lost = offset - size_bytes
        raise MediaError(
            Reason.TRUNCATED, f"the file ends {lost} bytes before its content ({math.floor(100 * lost / offset)}%)"
        )
    if b"moov" not in kinds:
        raise MediaError(Reason.TRUNCATED, "the file has no index (moov box): it was cut off, or never finished")


def _is_box_kind(kind: bytes) -> bool:
    return all(32 <= byte < 127 or byte == 0xA9 for byte in kind)
