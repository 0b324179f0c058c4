"""Where the parts of a media file lie: boxes, elements, chunks, tags, pages, packets.

In: the bytes of a sound file. Out: its parts, those inside others included, in the order of the file; where
their size is written and how. Sources: ISO/IEC 14496-12 (boxes), RFC 8794 (EBML), RIFF, ISO/IEC 13818-1
(transport and program streams), RFC 3533 (Ogg), Adobe's FLV specification, Microsoft's ASF specification.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.media.sniff import HEAD_BYTES, sniff

_ISO_PARENTS = frozenset(
    b"moov trak mdia minf stbl edts udta dinf moof traf mvex meta stsd dref avc1 hvc1 hev1 vp09".split()
)
_ISO_SKIP = {b"meta": 4, b"stsd": 8, b"dref": 8} | dict.fromkeys((b"avc1", b"hvc1", b"hev1", b"vp09"), 78)
_EBML_IDS = "18538067 114d9b74 4dbb 1549a966 1654ae6b ae e0 e1 1f43b675 a0 1c53bb6b bb b7 1254c367 7373 67c8"
_EBML_PARENTS = frozenset(bytes.fromhex(name) for name in _EBML_IDS.split())
_TS_BYTES = 188
_ASF_HEAD = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a file: [start, end), its content from `body` on; its size stands in `size_bytes` bytes at
    `size_at`.

    `order` is how the size is written: big, little, or vint (EBML); `size_bytes` is 0 if no size is written.
    """

    kind: bytes
    start: int
    body: int
    end: int
    size_at: int = 0
    size_bytes: int = 0
    order: str = "big"


def container_of(data: bytes) -> str:
    """FFmpeg's name of the container.

    Raises:
        MediaError: it is none that curation takes.
    """
    return sniff(data[:HEAD_BYTES])


def parts(data: bytes) -> list[Part]:
    """All parts of a file, each before those inside it; the file as one part if its container is not known
    here."""
    walk = _WALKS.get(container_of(data))
    found = list(walk(data, 0, len(data))) if walk else []
    return found or [Part(b"", 0, 0, len(data))]


def edges(data: bytes) -> list[int]:
    """Where parts begin, have their content, and end; ascending."""
    return sorted({at for part in parts(data) for at in (part.start, part.body, part.end) if at <= len(data)})


def with_size(data: bytes, part: Part, size: int) -> bytes:
    """The file with another size written for a part; nothing moves. What has no size written is as it was."""
    if not part.size_bytes:
        return data
    bits = 7 * part.size_bytes if part.order == "vint" else 8 * part.size_bytes
    size &= (1 << bits) - 1
    if part.order == "vint":
        size |= 1 << bits
    field = size.to_bytes(part.size_bytes, "little" if part.order == "little" else "big")
    return data[: part.size_at] + field + data[part.size_at + part.size_bytes :]


def _iso(data: bytes, start: int, end: int) -> Iterator[Part]:
    while start + 8 <= end:
        size, kind, body = (
            int.from_bytes(data[start : start + 4], "big"),
            data[start + 4 : start + 8],
            start + 8,
        )
        if size < 8 or start + size > end:
            return
        yield Part(kind, start, body, start + size, start, 4)
        if kind in _ISO_PARENTS:
            yield from _iso(data, body + _ISO_SKIP.get(kind, 0), start + size)
        start += size


def _ebml(data: bytes, start: int, end: int) -> Iterator[Part]:
    while start + 2 <= end:
        id_bytes = 9 - data[start].bit_length()
        size_at = start + id_bytes
        if id_bytes > 4 or size_at >= end or not data[size_at]:
            return
        size_bytes = 9 - data[size_at].bit_length()
        body, bits = size_at + size_bytes, 7 * size_bytes
        size = int.from_bytes(data[size_at:body], "big") & ((1 << bits) - 1)
        until = end if size == (1 << bits) - 1 else min(end, body + size)
        kind = data[start:size_at]
        yield Part(kind, start, body, until, size_at, size_bytes, "vint")
        if kind in _EBML_PARENTS:
            yield from _ebml(data, body, until)
        start = until


def _riff(data: bytes, start: int, end: int) -> Iterator[Part]:
    while start + 8 <= end:
        kind, size, body = (
            data[start : start + 4],
            int.from_bytes(data[start + 4 : start + 8], "little"),
            start + 8,
        )
        until = min(end, body + size)
        yield Part(kind, start, body, until, start + 4, 4, "little")
        if kind in (b"RIFF", b"LIST"):
            yield from _riff(data, body + 4, until)
        start = until + until % 2


def _transport(data: bytes, start: int, end: int) -> Iterator[Part]:
    for at in range(start, end - _TS_BYTES + 1, _TS_BYTES):
        yield Part(data[at + 1 : at + 3], at, at + 4, at + _TS_BYTES)


def _program(data: bytes, start: int, end: int) -> Iterator[Part]:
    """From one start code to the next; those that carry media have a length."""
    at = data.find(b"\x00\x00\x01", start)
    while at >= 0:
        following = data.find(b"\x00\x00\x01", at + 4)
        until = following if following >= 0 else end
        sized = 2 if at + 6 <= until and data[at + 3] >= 0xBB else 0
        yield Part(data[at + 3 : at + 4], at, at + 4 + sized, until, at + 4, sized)
        at = following


def _ogg(data: bytes, start: int, end: int) -> Iterator[Part]:
    at = data.find(b"OggS", start)
    while at >= 0:
        following = data.find(b"OggS", at + 4)
        yield Part(b"OggS", at, min(end, at + 27), following if following >= 0 else end, at + 26, 1)
        at = following


def _flv(data: bytes, start: int, end: int) -> Iterator[Part]:
    at = start + 13  # the header, and a size of nothing before it
    yield Part(b"FLV", start, start + 9, at, start + 5, 4)
    while at + 11 <= end:
        until = min(end, at + 11 + int.from_bytes(data[at + 1 : at + 4], "big") + 4)
        yield Part(data[at : at + 1], at, at + 11, until, at + 1, 3)
        at = until


def _asf(data: bytes, start: int, end: int) -> Iterator[Part]:
    while start + 24 <= end:
        size = int.from_bytes(data[start + 16 : start + 24], "little")
        if size < 24:
            return
        kind, until = data[start : start + 16], min(end, start + size)
        yield Part(kind, start, start + 24, until, start + 16, 8, "little")
        if kind == _ASF_HEAD:
            yield from _asf(data, start + 30, until)
        start = until


_WALKS = {
    "mov": _iso,
    "matroska": _ebml,
    "avi": _riff,
    "mpegts": _transport,
    "mpeg": _program,
    "mpegvideo": _program,
    "ogg": _ogg,
    "flv": _flv,
    "asf": _asf,
}
