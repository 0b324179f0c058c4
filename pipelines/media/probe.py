"""A file's header → what its video is: container, codec, size as displayed, time base, duration. One frame is
decoded.

In: a file and limits. Out: a `Video`. What is no container, cut off, without video or beyond a limit raises
`MediaError` here, before any decoder sees it.
"""

import io
import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from pipelines.errors import MediaError, PlaceError, Reason, is_host_error
from pipelines.media.clock import time_base_of
from pipelines.media.config import FootageConfig
from pipelines.media.framing import frame_first
from pipelines.media.open_regular import open_regular
from pipelines.media.picture_format import format_of
from pipelines.media.ranged import File, RangedFile, open_file, size_of
from pipelines.media.sniff import HEAD_BYTES, sniff
from pipelines.records import Video

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

# What `footage_options.max_pixels` may be at most, and so what a decoder is ever allowed.
_MOST_PIXELS = 16384 * 16384
# between FFmpeg and a file object; less costs time, more is read in vain after a seek
_BUFFER_BYTES = 64 * 1024


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
        check_boxes(source)
    # One demuxer, and what is open already: no playlist, no reference elsewhere can be followed.
    options = {"protocol_whitelist": "fd", "max_pixels": str(max_pixels)}
    descriptor = None
    file: Any
    if isinstance(source, bytes):
        file = io.BytesIO(source)
    elif isinstance(source, RangedFile):
        file = source.open()
    else:
        descriptor = open_regular(source)
        file, options = "fd:", options | {"fd": str(descriptor)}
    try:
        how: dict[str, Any] = {
            "format": demuxer,
            "options": options,
            "metadata_errors": "replace",
            "buffer_size": _BUFFER_BYTES,
        }
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
        if is_host_error(error):  # of what the block writes
            raise PlaceError(error.errno, error.strerror) from error
        raise MediaError(Reason.UNDECODABLE, f"{demuxer}: {error.strerror}") from error
    finally:
        if descriptor is not None:
            os.close(descriptor)


def probe(path: File, video_id: str, cfg: FootageConfig) -> Video:
    """What the header says of the video, whose first frame must decode.

    Raises:
        MediaError: see the module.
    """
    size_bytes = size_of(path)
    _limit(size_bytes, "bytes", "max_bytes", cfg)
    with open_container(path, cfg.max_pixels) as container:
        stream, others = choose_stream(path, container, cfg)
        check_header(container, stream, cfg)
        duration_s = _duration_s(container, stream)
        frame = _first_frame(container, stream)
        _check_size(frame.width, frame.height, cfg)
        frame_first(path, container, stream, frame)
        shown = format_of(frame)
        _check_size(shown.width, shown.height, cfg)  # pixels may be of any shape
        return Video(
            video_id=video_id,
            container=container.format.name,
            codec=stream.codec_context.name,
            width=shown.width,
            height=shown.height,
            time_base=Fraction(time_base_of(stream)),
            duration_s=duration_s,
            bit_rate=8 * size_bytes / duration_s if duration_s else 0.0,
            others=others,
        )


def _first_frame(container: "InputContainer", stream: "VideoStream") -> "VideoFrame":
    """A recording may begin in the middle: what comes before the first picture that is whole need not
    decode."""
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


def demux(container: "InputContainer", *streams: "Stream") -> Iterator["Packet"]:
    """All packets of a stream, or of several; the last one of each is empty, and flushes the decoder.

    A broadcast may take up further streams on its way. PyAV stumbles over them behind the last packet.
    """
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets, None)
        except IndexError:
            return
        if packet is None:
            return
        yield packet


def video_stream(container: "InputContainer", number: int | None = None) -> "VideoStream":
    """The video stream of that number among all streams, as `choose_stream` found it; if it was not asked,
    what the header says.

    Raises:
        MediaError: no_video; undecodable, if there is no decoder for it; no_timestamps, if it has no time
        base.
    """
    if number is not None:
        stream: Any = container.streams[number]
        return stream
    return _usable(min(_films(container), key=_rank))


def choose_stream(
    source: File | bytes, container: "InputContainer", cfg: FootageConfig
) -> tuple["VideoStream", str | None]:
    """The video stream with the film in it, and in words which other film there is.

    Covers, thumbnails and stills are none. Of several films one that has pictures, then the one that the file
    calls its default, then the largest and longest. Where the header does not tell who has pictures, the
    first packets do.

    Raises:
        MediaError: see `video_stream`; no_video, if there is none of the number that cfg asks for.
    """
    videos, wanted = list(container.streams.video), cfg.video_stream
    if wanted is not None:
        if wanted >= len(videos):
            streams = "1 video stream" if len(videos) == 1 else f"{len(videos)} video streams"
            raise MediaError(
                Reason.NO_VIDEO,
                f"footage_options.video_stream={wanted}: the file has {streams}, numbered from 0",
            )
        return _usable(videos[wanted]), None
    films = _films(container)
    if len(films) == 1:
        return _usable(films[0]), None
    packets = _first_packets(source, films, cfg.max_pixels)
    film = min(films, key=lambda one: (-min(packets[one.index], _FEW), *_rank(one)))
    others = [
        videos.index(one)
        for one in films
        if one is not film and packets[one.index] == _FEW and not _tiny(one, film)
    ]
    if not others:
        return _usable(film), None
    named = ", ".join(
        f"{n} ({videos[n].codec_context.width} × {videos[n].codec_context.height})" for n in others
    )
    return _usable(film), (
        f"video stream {videos.index(film)} is taken; there is also {named}: footage_options.video_stream "
        "chooses"
    )


def _films(container: "InputContainer") -> list["VideoStream"]:
    """Video streams that are no stills, at least one."""
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    if films := [stream for stream in container.streams.video if not stream.disposition & still]:
        return films
    covers = len(container.streams.video)
    raise MediaError(
        Reason.NO_VIDEO,
        f"the file has {covers} cover pictures and no video" if covers else "the file has no video stream",
    )


def _rank(stream: "VideoStream") -> tuple[bool, bool, float]:
    """The least is the film."""
    from av.stream import Disposition

    size = _pixels(stream) * float((stream.duration or 1) * (stream.time_base or 1))
    return not _has_pictures(stream), not stream.disposition & Disposition.default, -size


def _usable(stream: "VideoStream") -> "VideoStream":
    if stream.codec_context is None:
        raise MediaError(Reason.UNDECODABLE, "no decoder knows the video stream's codec")
    if not stream.time_base:
        raise MediaError(Reason.NO_TIMESTAMPS, "the video stream has no unit of time")
    return stream


_FEW = 2  # packets: one may be a still
# of all streams together, in which streams of pictures show up
_PEEKED_PACKETS, _PEEKED_BYTES = 20_000, 64 * 1024**2


def _first_packets(source: File | bytes, films: list["VideoStream"], max_pixels: int) -> dict[int, int]:
    """How many packets each stream has, as far as is looked: at most `_FEW`."""
    found = {stream.index: min(stream.frames, _FEW) for stream in films}
    if min(found.values()) == _FEW:
        return found
    found, read_bytes = dict.fromkeys(found, 0), 0
    with open_container(source, max_pixels) as container:
        streams: list[Any] = [container.streams[number] for number in found]
        packets = demux(container, *streams)
        for packet, _ in zip(packets, range(_PEEKED_PACKETS), strict=False):
            if packet.size:
                found[packet.stream_index] = min(found[packet.stream_index] + 1, _FEW)
                read_bytes += packet.size
            if min(found.values()) == _FEW or read_bytes > _PEEKED_BYTES:
                break
    return found


def _pixels(stream: "VideoStream") -> int:
    codec = stream.codec_context
    return codec.width * codec.height if codec else 0


def _tiny(stream: "VideoStream", film: "VideoStream") -> bool:
    """Whether a stream is but a preview of a film: a quarter of its sides, or less."""
    return 16 * _pixels(stream) <= _pixels(film)


def _has_pictures(stream: "VideoStream") -> bool:
    """Whether the demuxer has seen one, or its header: a recorder lists programs of which it has recorded
    nothing."""
    return stream.codec_context is not None and bool(stream.codec_context.width)


def check_header(container: "InputContainer", stream: "VideoStream", cfg: FootageConfig) -> None:
    """What the header says, against the limits, before a decoder allocates anything for it.

    Raises:
        MediaError: too_large.
    """
    films = [one for one in _films(container) if not _tiny(one, stream)]
    _limit(len(films) + len(container.streams.audio), "streams", "max_streams", cfg)
    _check_size(stream.codec_context.width, stream.codec_context.height, cfg)
    _limit(_duration_s(container, stream), "s", "max_duration_s", cfg)
    _limit(stream.frames, "frames", "max_frames", cfg)
    if stream.frames and stream.average_rate:  # without a count of frames, the rate is FFmpeg's guess
        _limit(float(stream.average_rate), "frames per second", "max_fps", cfg)


def _check_size(width: int, height: int, cfg: FootageConfig) -> None:
    _limit(max(width, height), "pixels wide or high", "max_side", cfg)
    if width * height > cfg.max_pixels:
        raise MediaError(
            Reason.TOO_LARGE,
            f"{width} × {height} are more pixels than footage_options.max_pixels={cfg.max_pixels}",
        )


def _limit(value: float, unit: str, key: str, cfg: FootageConfig) -> None:
    limit = getattr(cfg, key)
    if value > limit:
        raise MediaError(Reason.TOO_LARGE, f"{value:.10g} {unit} are more than footage_options.{key}={limit}")


def _duration_s(container: "InputContainer", stream: "VideoStream") -> float:
    """Header duration; 0.0 where the container tells none (the clock will)."""
    if stream.duration:
        return float(stream.duration * time_base_of(stream))
    return container.duration / 1_000_000 if container.duration else 0.0


def _head(file: File) -> bytes:
    with open_file(file) as opened:
        try:
            return opened.read(HEAD_BYTES)
        except OSError as error:
            raise MediaError(Reason.MISSING, error.strerror or type(error).__name__) from error


_MEDIA_BOXES = frozenset((b"moov", b"moof", b"mdat"))  # with what is lost if they are cut off


def check_boxes(path: File) -> tuple[int, bool]:
    """Walk the top-level boxes of an ISO media file (ISO/IEC 14496-12, 4.2), which has to have a `moov`.

    FFmpeg opens a file whose media data is cut off and ends early without a word. What lies behind a whole
    file is none of it: a music player's tag or a dashcam's text is read as a box with a length of anything.

    Returns:
        How many bytes of its media data are missing at the end; and whether it is in fragments, so that what
        is missing may be more than anything in it tells of.

    Raises:
        MediaError: truncated; there is no `moov`, or not all of it.
    """
    size_bytes, offset, kind = size_of(path), 0, b""
    kinds: set[bytes] = set()
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
    lost = max(0, offset - size_bytes)
    if lost and (kind == b"moov" or b"moov" not in kinds):
        raise MediaError(
            Reason.TRUNCATED,
            f"the file ends {lost} bytes before its content ({math.floor(100 * lost / offset)}%)",
        )
    if b"moov" not in kinds:
        raise MediaError(
            Reason.TRUNCATED, "the file has no index (moov box): it was cut off, or never finished"
        )
    return lost, b"moof" in kinds


def _is_box_kind(kind: bytes) -> bool:
    return all(32 <= byte < 127 or byte == 0xA9 for byte in kind)
