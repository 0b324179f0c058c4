"""Exact edit lists: which stretch of each track of an mp4 is shown, patched in place after the muxer wrote it.

In: the path of an mp4 and, per track, a stretch in the track's own ticks. Out: the same file, of the same size, whose
edit lists and durations say exactly that. Source: ISO/IEC 14496-12, 4.2 (boxes), 8.2.2 (mvhd), 8.3.2 (tkhd), 8.6.6 (elst).
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_SIZE_KIND = struct.Struct(">I4s")


@dataclass(frozen=True, slots=True)
class Box:
    """A box by its kind, and where its content lies in the file."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Edit:
    """What is shown of a track: from media_time (ticks of the track from its first sample's decoding time) during
    duration ticks of the movie."""

    media_time: int
    duration: int


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes that lie one after another in [start, end).

    Raises:
        ValueError: a box reaches beyond the end.
    """
    while start < end:
        file.seek(start)
        size, kind = _SIZE_KIND.unpack(file.read(8))
        content = start + 8
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
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
        found = next((box for box in boxes(file, within.start, within.end) if box.kind == kind), None)
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
        whole = Box("file", 0, file.seek(0, 2))
        movie = find(file, whole, "moov")
        tracks = [box for box in boxes(file, movie.start, movie.end) if box.kind == "trak"]
        if len(tracks) != len(edits):
            raise ValueError(f"the file has {len(tracks)} tracks, not {len(edits)}")
        lengths = [_set_edit(file, track, edit) for track, edit in zip(tracks, edits, strict=True)]
        header = find(file, movie, "mvhd")
        _put(file, header, (16, "I"), (24, "Q"), max(lengths))


def _set_edit(file: BinaryIO, track: Box, edit: Edit) -> int:
    """The whole length of the track in ticks of the movie."""
    box = find(file, track, "edts", "elst")
    file.seek(box.start)
    version, count = struct.unpack(">B3xI", file.read(8))
    entry = struct.Struct(">Qqi" if version else ">Iii")
    if box.end - box.start != 8 + count * entry.size or not 1 <= count <= 2:
        raise ValueError(f"the edit list at byte {box.start} has {count} entries in {box.end - box.start} bytes")
    delay = 0
    if count == 2:
        delay, media_time, _ = entry.unpack(file.read(entry.size))
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
