"""What a container says of how all pictures of a stream are framed: FFmpeg's decoders don't know of it, its
program does.

In: a file or its bytes, and its open container. Out: a `Framing`. Source: ISO/IEC 14496-12, 8.3.2 (tkhd),
12.1.4 (clap); RFC 9559, 5.1.4.1.28 (PixelCrop).
"""

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

from pipelines.media.mp4_boxes import Box, boxes, find
from pipelines.media.picture_format import Crop, Framing, set_framing
from pipelines.media.ranged import File, open_file

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

_SAYS_ASPECT = ("mov", "matroska", "avi", "asf", "flv")  # what the others tell comes from the bitstream
_MOST_TERM = 255  # of the fraction that the shape of a pixel is, as FFmpeg has it
_VISUAL_ENTRY = 78  # bytes of a sample entry of video before the boxes in it
_SEGMENT, _CLUSTER, _TRACKS, _TRACK, _TYPE, _VIDEO = 0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE, 0x83, 0xE0
_CROPS = {0x54CC: "left", 0x54BB: "top", 0x54DD: "right", 0x54AA: "bottom"}
_VIDEO_TYPE = 1


def read_framing(source: File | bytes, container: "InputContainer", stream: "VideoStream") -> Framing:
    """The framing of a stream whose first picture has just been decoded."""
    demuxer = container.format.name
    aspect = Fraction(stream.sample_aspect_ratio or 1) if demuxer in _SAYS_ASPECT else None
    crop, stated = _told(source, demuxer, container, stream)
    aspect = stated or aspect
    if aspect == (stream.codec_context.sample_aspect_ratio or 1):
        aspect = None  # both say the same: then the bitstream may change its word
    return Framing(crop, aspect)


def frame_first(
    source: File | bytes, container: "InputContainer", stream: "VideoStream", picture: "VideoFrame"
) -> Framing:
    """Let the first picture of a stream, which has just been decoded, carry how it is framed; the framing of
    all of them."""
    framing = read_framing(source, container, stream)
    set_framing(picture, first_framing(framing, stream))
    return framing


def first_framing(framing: Framing, stream: "VideoStream") -> Framing:
    """Of the first picture of a stream that has just been decoded: with the bitstream's word where the
    container has none."""
    aspect = framing.pixel_aspect or Fraction(stream.codec_context.sample_aspect_ratio or 1)
    return Framing(framing.crop, aspect)


def _told(
    source: File | bytes, demuxer: str, container: "InputContainer", stream: "VideoStream"
) -> tuple[Crop, Fraction | None]:
    """Cropping; and the shape of a pixel, where FFmpeg concludes it from the size of what is shown as if
    nothing were cropped."""
    if demuxer not in ("mov", "matroska"):
        return Crop(), None
    with io.BytesIO(source) if isinstance(source, bytes) else open_file(source) as file:
        size = file.seek(0, io.SEEK_END)
        try:
            if demuxer == "mov":
                crop, aspect = _clean_aperture(file, Box("file", 0, size), stream.id)
            else:
                crop, aspect = _matroska_crop(file, size, list(container.streams.video).index(stream)), None
        except (ValueError, struct.error):  # FFmpeg read it all the same: then nothing is said of cropping
            return Crop(), None
    return crop, aspect


def _clean_aperture(file: BinaryIO, whole: Box, track_id: int) -> tuple[Crop, Fraction | None]:
    """Of the first sample entry of a track; with the shape of a pixel, where only the track's size tells
    it."""
    movie = find(file, whole, "moov")
    for track in boxes(file, movie.start, movie.end):
        if track.kind != "trak" or _of_header(file, find(file, track, "tkhd"))[0] != track_id:
            continue
        table = find(file, track, "mdia", "minf", "stbl", "stsd")
        entry = next(boxes(file, table.start + 8, table.end))
        file.seek(entry.start + 24)
        width, height = struct.unpack(">HH", file.read(4))
        inside = {box.kind: box for box in boxes(file, entry.start + _VISUAL_ENTRY, entry.end)}
        if "clap" not in inside:
            break
        file.seek(inside["clap"].start)
        crop = _around(width, height, struct.unpack(">8i", file.read(32)))
        wide, high = width - crop.left - crop.right, height - crop.top - crop.bottom
        _, across, down = _of_header(file, find(file, track, "tkhd"))
        if (
            "pasp" in inside
            or (across, down) == (width, height)
            or not (across and down and wide > 0 and high > 0)
        ):
            return crop, None  # FFmpeg's own muxer leaves the track's size as if nothing were cropped
        return crop, (Fraction(across, wide) / Fraction(down, high)).limit_denominator(_MOST_TERM)
    return Crop(), None


def _around(width: int, height: int, aperture: tuple[int, ...]) -> Crop:
    """The aperture is a size, and how far its centre lies from the picture's. What is cropped by a share of a
    pixel is not cropped, on the left and above, as FFmpeg has it.

    Raises:
        ValueError: it is none, or reaches beyond the picture: then FFmpeg crops nothing.
    """
    if min(*aperture[:4:2], *(denominator - 1 for denominator in aperture[1::2])) < 0:
        raise ValueError("a size of the clean aperture is negative, or a fraction has no denominator")
    wide, high, right, down = (Fraction(n, d) for n, d in zip(aperture[::2], aperture[1::2], strict=True))
    left, top = (width - wide) / 2 + right, (height - high) / 2 + down
    crop = Crop(int(left), int(top), width - 1 - int(left + wide - 1), height - 1 - int(top + high - 1))
    if wide > width or high > height or min(crop.left, crop.top, crop.right, crop.bottom) < 0:
        raise ValueError("the clean aperture reaches beyond the picture")
    return crop


def _of_header(file: BinaryIO, header: Box) -> tuple[int, int, int]:
    """A track's id, and width and height of what is shown of it."""
    file.seek(header.start)
    version = file.read(1)[0]
    file.seek(header.start + (20 if version else 12))
    (track_id,) = struct.unpack(">I", file.read(4))
    file.seek(header.start + (88 if version else 76))
    width, height = struct.unpack(">II", file.read(8))
    return track_id, width >> 16, height >> 16


def _matroska_crop(file: BinaryIO, size: int, number: int) -> Crop:
    """Of the n-th video track, counted from 0."""
    for kind, start, end in _elements(file, 0, size):
        if kind != _SEGMENT:
            continue
        for part, begin, stop in _elements(file, start, end):
            if part == _CLUSTER:
                return Crop()
            if part == _TRACKS:
                return _crop_of_track(file, begin, stop, number)
    return Crop()


def _crop_of_track(file: BinaryIO, start: int, end: int, number: int) -> Crop:
    for kind, begin, stop in _elements(file, start, end):
        if kind != _TRACK:
            continue
        inside = {part: (a, b) for part, a, b in _elements(file, begin, stop)}
        if _TYPE not in inside or _number(file, *inside[_TYPE]) != _VIDEO_TYPE:
            continue
        if number:
            number -= 1
        elif _VIDEO in inside:
            found = {part: (a, b) for part, a, b in _elements(file, *inside[_VIDEO]) if part in _CROPS}
            return Crop(**{_CROPS[part]: _number(file, *where) for part, where in found.items()})
    return Crop()


def _elements(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(id, start, end) of EBML elements one after another; one of unknown size reaches to the end. RFC 8794,
    4 to 6."""
    while start < end:
        file.seek(start)
        head = file.read(12)
        if not head or not head[0]:
            raise ValueError(f"no element at byte {start}")
        id_bytes = 9 - head[0].bit_length()
        if id_bytes > 4 or len(head) <= id_bytes or not head[id_bytes]:
            raise ValueError(f"no element at byte {start}")
        size_bytes = 9 - head[id_bytes].bit_length()
        size = int.from_bytes(head[id_bytes : id_bytes + size_bytes]) & (1 << 7 * size_bytes) - 1
        begin = start + id_bytes + size_bytes
        stop = end if size == (1 << 7 * size_bytes) - 1 else min(end, begin + size)
        yield int.from_bytes(head[:id_bytes]), begin, stop
        start = stop


def _number(file: BinaryIO, start: int, end: int) -> int:
    if end - start > 8:
        raise ValueError(f"the number at byte {start} has {end - start} bytes")
    file.seek(start)
    return int.from_bytes(file.read(end - start))
