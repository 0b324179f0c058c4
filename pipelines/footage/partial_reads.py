"""Whether the middle of a file can be read without its beginning; if not, a remote file is fetched whole.

In: a file read by ranges. Out: yes or no, from its first bytes and from how its outermost parts follow each
other. A container is in the list if one unit in the middle of a long file was measured to cost a few percent
of its bytes.
"""

from collections.abc import Iterator
from typing import BinaryIO

from pipelines.errors import MediaError
from pipelines.media.ranged import RangedFile, open_file
from pipelines.media.sniff import HEAD_BYTES, sniff

_BY_BYTES = frozenset(("mpegts", "mpeg", "asf"))  # a time is found by halving
_MOST_PARTS = 64  # looked at; a file in more pieces has no index over them
_SEEK_HEAD_BYTES = 64 * 1024  # of Matroska, in which the entry that leads to the index stands
_LEADS_TO_CUES = bytes.fromhex("53ab841c53bb6b")  # RFC 9559, 5.1.1: SeekID, 4 bytes long, Cues


def supports_partial_reads(file: RangedFile) -> bool:
    """Whether a stretch of a file costs little more to read than its own bytes.

    Also true of what is no video at all: its first bytes are then all that is read.

    Raises:
        MediaError: missing.
    """
    with open_file(file) as opened:
        try:
            demuxer = sniff(opened.read(HEAD_BYTES))
        except MediaError:
            return True
        if demuxer == "mov":
            return _has_one_index(opened, file.size_bytes)
        if demuxer == "matroska":
            opened.seek(0)
            return _LEADS_TO_CUES in opened.read(_SEEK_HEAD_BYTES)
        if demuxer == "avi":
            return any(kind == b"idx1" for kind in _riff_chunks(opened, file.size_bytes))
        return demuxer in _BY_BYTES


def _has_one_index(opened: BinaryIO, size_bytes: int) -> bool:
    """A fragmented file (ISO/IEC 14496-12, 8.8) has an index before each piece, and FFmpeg reads them all."""
    number = 0
    for number, kind in enumerate(_boxes(opened, size_bytes), start=1):
        if kind == b"moof" or number > _MOST_PARTS:
            return False
    return True


def _boxes(opened: BinaryIO, size_bytes: int) -> Iterator[bytes]:
    offset = 0
    while offset + 8 <= size_bytes:
        opened.seek(offset)
        head = opened.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        yield kind
        if length < 8:  # to the end of the file, or broken: the demuxer will tell
            return
        offset += length


def _riff_chunks(opened: BinaryIO, size_bytes: int) -> Iterator[bytes]:
    """Of the first RIFF list: a longer file has more, and still the index of the first in it."""
    offset = 12
    for _ in range(_MOST_PARTS):
        if offset + 8 > size_bytes:
            return
        opened.seek(offset)
        head = opened.read(8)
        yield head[:4]
        length = int.from_bytes(head[4:], "little")
        offset += 8 + length + length % 2
