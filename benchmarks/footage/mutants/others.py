"""Lies in Matroska, AVI and MPEG streams: values, dimensions, time scales, nesting, packets out of order,
times gone wild.

In: a draw whose base is of such a container. Out: bytes.
"""

import struct
import zlib

from benchmarks.footage.mutants.kinds import Draw, kind
from benchmarks.footage.mutants.parts import Part

_TS_BYTES = 188
# Values of Matroska that sizes, times and memory follow from (RFC 9559): width, height, cropping, time scale,
# duration, number, type, codec, its private data, cluster time, durations, positions, lacing, compression.
_IDS = (
    "b0 ba 54b0 54ba 2ad7b1 4489 d7 83 86 63a2 e7 9b 23e383 f1 f7 b3 53ac 53ab 4286 42f2 42f3 56bb 55ee a3 ab"
)
_VALUES = frozenset(bytes.fromhex(name) for name in _IDS.split())
_TAGS, _TAG, _SIMPLE_TAG = (bytes.fromhex(name) for name in ("1254c367", "7373", "67c8"))
_DEEP = 10_000


def _filled(draw: Draw, data: bytes, part: Part, most: int = 8) -> bytes:
    """The first bytes of a part's content replaced by extremes."""
    size = min(most, part.end - part.body)
    value = draw.rng.choice(
        (bytes(size), b"\xff" * size, b"\x7f" + b"\xff" * (size - 1), draw.rng.randbytes(size))
    )[:size]
    return data[: part.body] + value + data[part.body + size :]


@kind("matroska")
def lying_element(draw: Draw) -> bytes:
    data, values = (
        draw.base.data,
        [part for part in draw.base.parts if part.kind in _VALUES and part.end > part.body],
    )
    for part in draw.rng.sample(values, min(len(values), draw.rng.choice((1, 1, 3)))):
        data = _filled(draw, data, part)
    return data


@kind("matroska", large=True)
def huge_elements(draw: Draw) -> bytes:
    """Width and height."""
    data = draw.base.data
    for part in draw.base.parts:
        if part.kind in (b"\xb0", b"\xba"):
            size = part.end - part.body
            value = draw.rng.choice((2**31 - 1, 65535, 32768, 16384, 8192, 1, 0)) & ((1 << 8 * size) - 1)
            data = data[: part.body] + value.to_bytes(size, "big") + data[part.end :]
    return data


@kind("matroska")
def nested_elements(draw: Draw) -> bytes:
    """Tags in tags, clusters in clusters, segments in segments, with sizes or without."""
    levels = draw.rng.choice((100, 1000, _DEEP))
    name = draw.rng.choice(
        (_SIMPLE_TAG, bytes.fromhex("1f43b675"), bytes.fromhex("18538067"), b"\xa0", b"\xb6", b"\xae")
    )
    step = len(name) + 8
    open_ended = draw.rng.random() < 0.3
    nest = b"".join(
        name
        + (b"\x01" + b"\xff" * 7 if open_ended else (step * (levels - 1 - k) | 1 << 56).to_bytes(8, "big"))
        for k in range(levels)
    )
    if name == _SIMPLE_TAG:
        tag = _TAG + (len(nest) | 1 << 56).to_bytes(8, "big") + nest
        nest = _TAGS + (len(tag) | 1 << 56).to_bytes(8, "big") + tag
    clusters = [part for part in draw.base.parts if part.kind == bytes.fromhex("1f43b675")]
    at = draw.rng.choice([part.start for part in clusters] + [len(draw.base.data)])
    return draw.base.data[:at] + nest + draw.base.data[at:]


@kind("matroska")
def odd_time_scale(draw: Draw) -> bytes:
    data = draw.base.data
    for part in draw.base.parts:
        if part.kind == bytes.fromhex("2ad7b1"):
            size = part.end - part.body
            value = draw.rng.choice((0, 1, 999, (1 << 8 * size) - 1))
            data = data[: part.body] + value.to_bytes(size, "big") + data[part.end :]
        if part.kind == b"\xe7" and draw.rng.random() < 0.5:
            data = _filled(draw, data, part)
    return data


@kind("avi")
def lying_header(draw: Draw) -> bytes:
    """Rates, scales, counts, sizes and dimensions in the headers, and places in the index."""
    data = draw.base.data
    heads = [
        part
        for part in draw.base.parts
        if part.kind in (b"avih", b"strh", b"strf", b"idx1", b"dmlh", b"indx")
    ]
    for part in draw.rng.sample(heads, min(len(heads), draw.rng.choice((1, 1, 2)))):
        if part.end - part.body >= 4:
            at = draw.rng.randrange(part.body, part.end - 3, 4)
            value = draw.rng.choice((0, 1, 65535, 2**31 - 1, 2**31, 2**32 - 1, draw.rng.randrange(2**32)))
            data = data[:at] + struct.pack("<I", value) + data[at + 4 :]
    return data


@kind("avi")
def zero_rate(draw: Draw) -> bytes:
    data = draw.base.data
    for part in draw.base.parts:
        if part.kind == b"strh":
            for at in draw.rng.choice(((20,), (24,), (20, 24), (44,))):  # dwScale, dwRate, dwSampleSize
                value = draw.rng.choice((0, 0, 2**32 - 1))
                data = data[: part.body + at] + struct.pack("<I", value) + data[part.body + at + 4 :]
    return data


@kind("avi")
def nested_lists(draw: Draw) -> bytes:
    levels, name = (
        draw.rng.choice((100, 1000, _DEEP)),
        draw.rng.choice((b"movi", b"hdrl", b"strl", b"INFO", b"rec ")),
    )
    nest = b"".join(b"LIST" + struct.pack("<I", 12 * (levels - k) - 8) + name for k in range(levels))
    at = draw.rng.choice(
        [part.start for part in draw.base.parts if part.kind == b"LIST"] + [len(draw.base.data)]
    )
    return draw.base.data[:at] + nest + draw.base.data[at:]


def _packets(data: bytes) -> list[bytes]:
    return [data[at : at + _TS_BYTES] for at in range(0, len(data), _TS_BYTES)]


@kind("mpegts")
def packets_out_of_order(draw: Draw) -> bytes:
    """A few or all of them elsewhere, lost, or there twice."""
    packets = _packets(draw.base.data)
    head, rest = packets[:3], packets[3:]
    how = draw.rng.randrange(4)
    if how == 0:
        draw.rng.shuffle(rest)
    elif how == 1:
        for _ in range(draw.rng.randint(1, 9)):
            rest.insert(draw.rng.randrange(len(rest)), rest.pop(draw.rng.randrange(len(rest))))
    elif how == 2:
        rest = [packet for packet in rest if draw.rng.random() > 0.05]
    else:
        rest = [packet for packet in rest for _ in range(1 + (draw.rng.random() < 0.1))]
    return b"".join(head + rest)


@kind("mpegts")
def wild_packet_headers(draw: Draw) -> bytes:
    """Other streams, scrambled, errors announced, adaptation fields longer than the packet."""
    packets = [bytearray(packet) for packet in _packets(draw.base.data)]
    for packet in draw.rng.sample(packets, min(len(packets), draw.rng.choice((1, 4, 20)))):
        packet[draw.rng.choice((1, 2, 3, 4, 5))] = draw.rng.randrange(256)
    return b"".join(bytes(packet) for packet in packets)


@kind("mpegts", "mpeg")
def wild_times(draw: Draw) -> bytes:
    """Times of pictures that jump, stand, or end the clock's 33 bits."""
    data, at = bytearray(draw.base.data), 0
    stamp = draw.rng.choice((0, 2**33 - 1, 90_000))
    while (at := data.find(b"\x00\x00\x01\xe0", at)) >= 0:
        field = at + 9
        if field + 5 <= len(data) and data[at + 7] & 0x80 and draw.rng.random() < 0.5:
            ticks = draw.rng.choice((stamp, draw.rng.randrange(2**33)))
            data[field] = data[field] & 0xF0 | ticks >> 29 & 0x0E | 1
            data[field + 1 : field + 5] = struct.pack(
                ">HH", ticks >> 14 & 0xFFFE | 1, ticks << 1 & 0xFFFE | 1
            )
        at += 4
    return bytes(data)


@kind(large=True)
def bomb(draw: Draw) -> bytes:
    """An AVI of PNG pictures that are as large as they may be, or larger, and nothing: kilobytes that unpack
    to gigabytes."""
    width, height = draw.rng.choice(
        ((8192, 4320), (8192, 4319), (16384, 2160), (16384, 16384), (4096, 4096), (1, 16384))
    )
    depth, colours, samples = draw.rng.choice(((8, 0, 1), (8, 2, 3), (16, 6, 8)))
    rows = zlib.compressobj(9)
    line = bytes(1 + width * samples)
    packed = b"".join(rows.compress(line) for _ in range(height // draw.rng.choice((1, 1, 4)))) + rows.flush()
    head = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
    )
    count = max(1, min(draw.rng.choice((1, 3, 40)), 2_000_000 // len(png)))
    return _avi(png, count, width, height, salt=draw.rng.randbytes(4))


def _avi(picture: bytes, count: int, width: int, height: int, salt: bytes) -> bytes:
    """Some PNG pictures as a video of 25 per second."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)

    avih = struct.pack("<14I", 40_000, 0, 0, 0, count, 0, 1, 0, width, height, 0, 0, 0, 0)
    strh = b"vidsMPNG" + struct.pack(
        "<10I4H", 0, 0, 0, 1, 25, 0, count, 0, 0, 0, 0, 0, width & 0xFFFF, height & 0xFFFF
    )
    strf = struct.pack("<IiiHH4s5I", 40, width, height, 1, 24, b"MPNG", 0, 0, 0, 0, 0)
    strl = chunk(b"LIST", b"strl" + chunk(b"strh", strh) + chunk(b"strf", strf))
    hdrl = chunk(b"LIST", b"hdrl" + chunk(b"avih", avih) + strl)
    movi = chunk(b"LIST", b"movi" + chunk(b"00dc", picture) * count)
    return chunk(b"RIFF", b"AVI " + hdrl + movi + chunk(b"JUNK", salt))
