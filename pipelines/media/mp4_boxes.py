"""Read and write exact edit lists: which part of each track of an mp4 is shown.

In: an mp4. Out: the same file, of the same size, whose edit lists and durations say exactly what is to be
shown; or what they say; or the file without them. Source: ISO/IEC 14496-12, 4.2 (boxes), 8.2.2 (mvhd), 8.3.2
(tkhd), 8.4.2 (mdhd), 8.4.3 (hdlr), 8.6.6 (elst), 8.7.3 (stsz).
"""

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO


@dataclass(frozen=True, slots=True)
class Box:
    """A box by its kind, and where its content lies in the file."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Edit:
    """What is shown of a track: from media_time (ticks of the track from its first sample's decoding time)
    during duration ticks of the movie."""

    media_time: int
    duration: int


@dataclass(frozen=True, slots=True)
class VideoEdit:
    """What the edit list of a video track shows: seconds from its first sample's decoding time, and for how
    long; whether that length is exact, or rounded to a coarser clock than the track's; and how many samples
    it has, shown or not."""

    start_s: Fraction
    duration_s: Fraction
    exact: bool
    samples: int


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes that lie one after another in [start, end).

    Raises:
        ValueError: a box reaches beyond the end.
    """
    while start < end:
        file.seek(start)
        size, kind = _read(file, ">I4s")
        content = start + 8
        if size == 1:
            (size,) = _read(file, ">Q")
            content += 8
        if start + size > end or start + size < content:
            raise ValueError(f"the box {kind!r} at byte {start} reaches beyond byte {end}")
        yield Box(kind.decode("latin-1"), content, start + size)
        start += size


def find(file: BinaryIO, within: Box, *path: str) -> Box:
    """The first box at a path of kinds.

    Raises:
        ValueError: there is none.
    """
    for kind in path:
        found = _first(file, within, kind)
        if found is None:
            raise ValueError(f"the box {within.kind} at byte {within.start} holds no {kind}")
        within = found
    return within


def set_edits(path: Path, edits: Sequence[Edit]) -> None:
    """Patch the edit list of each track, in the order of the tracks; an empty edit before it (a delay) stays.

    Raises:
        ValueError: the file has another number of tracks, or no room for an edit.
    """
    with path.open("r+b") as file:
        whole = Box("file", 0, file.seek(0, io.SEEK_END))
        movie = find(file, whole, "moov")
        tracks = [box for box in boxes(file, movie.start, movie.end) if box.kind == "trak"]
        if len(tracks) != len(edits):
            raise ValueError(f"the file has {len(tracks)} tracks, not {len(edits)}")
        lengths = [_set_edit(file, track, edit) for track, edit in zip(tracks, edits, strict=True)]
        header = find(file, movie, "mvhd")
        _put(file, header, (16, "I"), (24, "Q"), max(lengths))


def video_edit(source: Path | bytes) -> VideoEdit | None:
    """What the edit list of an mp4's video shows; None if it has no video, or no list of one stretch at
    normal speed.

    Raises:
        ValueError: its boxes are broken.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        return _video_edit(file, Box("file", 0, file.seek(0, io.SEEK_END)))


def _video_edit(file: BinaryIO, whole: Box) -> VideoEdit | None:
    track = _video_track(file, whole)
    edits = None if track is None else _first(file, track, "edts")
    if track is None or edits is None:
        return None
    file.seek(find(file, edits, "elst").start)
    version, count = _read(file, ">B3xI")
    if count != 1:
        return None
    duration, media_time, rate = _read(file, ">Qqi" if version else ">Iii")
    if media_time < 0 or rate != 1 << 16:
        return None
    movie_scale = _timescale(file, find(file, whole, "moov", "mvhd"))
    track_scale = _timescale(file, find(file, track, "mdia", "mdhd"))
    file.seek(find(file, track, "mdia", "minf", "stbl", "stsz").start + 8)
    (samples,) = _read(file, ">I")
    exact = movie_scale % track_scale == 0
    return VideoEdit(Fraction(media_time, track_scale), Fraction(duration, movie_scale), exact, samples)


def without_video_edit(data: bytes) -> bytes:
    """The same mp4, showing all of its video's samples: the edit list's box is named a free one.

    Raises:
        ValueError: it has no edit list.
    """
    file = io.BytesIO(data)
    track = _video_track(file, Box("file", 0, len(data)))
    edits = track and _first(file, track, "edts")
    if not edits:
        raise ValueError("the file's video has no edit list")
    changed = bytearray(data)
    changed[edits.start - 4 : edits.start] = b"free"
    return bytes(changed)


def _video_track(file: BinaryIO, whole: Box) -> Box | None:
    movie = _first(file, whole, "moov")
    for track in boxes(file, movie.start, movie.end) if movie else ():
        if track.kind == "trak":
            file.seek(find(file, track, "mdia", "hdlr").start + 8)
            if file.read(4) == b"vide":
                return track
    return None


def _first(file: BinaryIO, within: Box, kind: str) -> Box | None:
    return next((box for box in boxes(file, within.start, within.end) if box.kind == kind), None)


def _timescale(file: BinaryIO, header: Box) -> int:
    """Ticks per second, of an mvhd or mdhd box."""
    file.seek(header.start)
    file.seek(header.start + (20 if file.read(1)[0] else 12))
    (scale,) = _read(file, ">I")
    if not scale:
        raise ValueError(f"the box {header.kind} at byte {header.start} has no time scale")
    return scale


def _set_edit(file: BinaryIO, track: Box, edit: Edit) -> int:
    """The whole length of the track in ticks of the movie."""
    box = find(file, track, "edts", "elst")
    file.seek(box.start)
    version, count = _read(file, ">B3xI")
    entry = struct.Struct(">Qqi" if version else ">Iii")
    if box.end - box.start != 8 + count * entry.size or not 1 <= count <= 2:
        raise ValueError(
            f"the edit list at byte {box.start} has {count} entries in {box.end - box.start} bytes"
        )
    delay = 0
    if count == 2:
        delay, media_time, _ = _read(file, entry.format)
        if media_time != -1:
            raise ValueError(f"the edit list at byte {box.start} shows two stretches")
    try:
        packed = entry.pack(edit.duration, edit.media_time, 1 << 16)
    except struct.error as error:
        raise ValueError(f"{edit} does not fit the edit list at byte {box.start}") from error
    file.seek(box.end - entry.size)
    file.write(packed)
    _put(file, find(file, track, "tkhd"), (20, "I"), (28, "Q"), delay + edit.duration)
    return delay + edit.duration


def _put(file: BinaryIO, box: Box, short: tuple[int, str], long: tuple[int, str], value: int) -> None:
    """Write a number whose place and width depend on the version of a box."""
    file.seek(box.start)
    offset, kind = long if file.read(1)[0] else short
    try:
        packed = struct.pack(f">{kind}", value)
    except struct.error as error:
        raise ValueError(f"{value} does not fit the box {box.kind} at byte {box.start}") from error
    file.seek(box.start + offset)
    file.write(packed)


def _read(file: BinaryIO, layout: str) -> tuple[Any, ...]:
    data = file.read(struct.calcsize(layout))
    try:
        return struct.unpack(layout, data)
    except struct.error as error:
        raise ValueError(f"the file ends within a box, at byte {file.tell()}") from error
