"""A file's header → what its video is: size as displayed, time base, duration. One frame is decoded.

In: a local path and limits. Out: a `Video`. What is no container, cut off, without video or beyond a limit raises
`MediaError` here, before any decoder sees it.
"""

import io
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.config import FootageConfig
from pipelines.errors import MediaError, Reason
from pipelines.media.sniff import HEAD_BYTES, sniff
from pipelines.records import Video

if TYPE_CHECKING:
    from av.container import InputContainer


@contextmanager
def open_container(source: Path | bytes) -> Iterator["InputContainer"]:
    """A demuxer on a sniffed file, or on the bytes of one; FFmpeg's own errors come out as `MediaError`.

    Raises:
        MediaError: missing, unreadable, truncated; undecodable for whatever FFmpeg says inside the block.
    """
    import av

    demuxer = sniff(source[:HEAD_BYTES] if isinstance(source, bytes) else _head(source))
    if demuxer == "mov" and isinstance(source, Path):
        _check_boxes(source)
    file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    try:
        # One demuxer, and local files only: no playlist, no reference elsewhere can be followed.
        with av.open(file, format=demuxer, options={"protocol_whitelist": "file"}) as container:
            yield container
    except av.error.FileNotFoundError as error:
        raise MediaError(Reason.MISSING, str(error.strerror)) from error
    except av.error.FFmpegError as error:
        raise MediaError(Reason.UNDECODABLE, f"{demuxer}: {error.strerror}") from error


def probe(path: Path, video_id: str, cfg: FootageConfig) -> Video:
    """What the header and the first frame say of the first video stream.

    Raises:
        MediaError: see the module.
    """
    size_bytes = _size(path)
    if size_bytes > cfg.max_bytes:
        raise MediaError(
            Reason.TOO_LARGE, f"{size_bytes} bytes are more than footage_options.max_bytes={cfg.max_bytes}"
        )
    with open_container(path) as container:
        if not container.streams.video:
            raise MediaError(Reason.NO_VIDEO, "the file has no video stream")
        stream = container.streams.video[0]
        duration_s = _duration_s(container)
        _check_limits(stream.codec_context.width, stream.codec_context.height, duration_s, cfg)
        frame = next(container.decode(stream), None)
        if frame is None or not stream.time_base:
            raise MediaError(Reason.NO_FRAMES, "the video stream yields no frame")
        rotation_deg = clockwise_deg(frame.rotation)
        return Video(
            video_id=video_id,
            container=container.format.name,
            codec=stream.codec_context.name,
            width=frame.height if rotation_deg % 180 else frame.width,
            height=frame.width if rotation_deg % 180 else frame.height,
            rotation_deg=rotation_deg,
            pixel_aspect=Fraction(stream.sample_aspect_ratio or 1),
            time_base=Fraction(stream.time_base),
            duration_s=duration_s,
            bit_rate=8 * size_bytes / duration_s if duration_s else 0.0,
        )


def _check_limits(width: int, height: int, duration_s: float, cfg: FootageConfig) -> None:
    """Before a decoder allocates anything for them."""
    if width * height > cfg.max_pixels:
        raise MediaError(
            Reason.TOO_LARGE, f"{width} × {height} are more pixels than footage_options.max_pixels={cfg.max_pixels}"
        )
    if duration_s > cfg.max_duration_s:
        raise MediaError(
            Reason.TOO_LARGE, f"{duration_s:.0f} s are more than footage_options.max_duration_s={cfg.max_duration_s}"
        )


def _duration_s(container: "InputContainer") -> float:
    """Header duration; 0.0 where the container tells none (the signals will)."""
    stream = container.streams.video[0]
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / 1_000_000 if container.duration else 0.0


def clockwise_deg(counterclockwise_deg: int) -> int:
    """FFmpeg's display matrix angle as the clockwise quarter turn to apply: 0, 90, 180 or 270."""
    return round(-counterclockwise_deg / 90) * 90 % 360


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise MediaError(Reason.MISSING, error.strerror or type(error).__name__) from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise MediaError(Reason.MISSING, error.strerror or type(error).__name__) from error


def _check_boxes(path: Path) -> None:
    """Walk the top-level boxes of an ISO media file (ISO/IEC 14496-12, 4.2): whole, and with a `moov`.

    FFmpeg opens a file whose media data is cut off and ends early without a word.

    Raises:
        MediaError: truncated; a box reaches beyond the end, or there is no `moov`.
    """
    size_bytes, offset, kinds = _size(path), 0, set()
    with path.open("rb") as file:
        while offset + 8 <= size_bytes:
            file.seek(offset)
            length, kind = struct.unpack(">I4s", file.read(8))
            if length == 1 and offset + 16 <= size_bytes:
                (length,) = struct.unpack(">Q", file.read(8))
            if length == 0:
                length = size_bytes - offset
            if length < 8 or not _is_box_kind(kind):
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
