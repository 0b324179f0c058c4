"""Lies in the boxes of ISO media files: counts, sizes, times, offsets, dimensions, nesting, fragments.

In: a draw whose base is an MP4 or QuickTime file. Out: bytes. Fields are those of ISO/IEC 14496-12.
"""

import struct
from random import Random

from benchmarks.footage.mutants.bits import sps
from benchmarks.footage.mutants.kinds import Draw, kind
from benchmarks.footage.mutants.parts import Part, with_size
from tests.support.edit_bytes import boxes, edit_boxes, join, with_durations

_TABLES = frozenset(
    b"stsz stts stsc stco ctts elst tkhd mdhd mvhd stss stsd trun tfhd tfdt trex sidx hdlr vmhd "
    b"dref avcC hvcC vpcC av1C".split()
)
_WORDS = (
    0,
    1,
    2,
    3,
    255,
    0xFFFF,
    0x10000,
    0xFFFFFF,
    0x7FFFFFFE,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFE,
    0xFFFFFFFF,
)
_DEEP = 10_000


def _of(draw: Draw, *kinds: bytes) -> list[Part]:
    return [part for part in draw.base.parts if part.kind in kinds]


def _with_word(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + struct.pack(">I", value & 0xFFFFFFFF) + data[at + 4 :]


def _lie(data: bytes, rng: Random, part: Part) -> bytes:
    """One word of a box, extreme or a little off."""
    if part.end - part.body < 4:
        return data
    at = part.body + rng.randrange(0, part.end - part.body - 3, 1 if rng.random() < 0.1 else 4)
    (written,) = struct.unpack_from(">I", data, at)
    return _with_word(data, at, rng.choice((*_WORDS, written + 1, written - 1, written * 2, -written)))


@kind("mov")
def lying_table(draw: Draw) -> bytes:
    """Counts, sizes, times and offsets of samples, durations, time scales, dimensions."""
    data, tables = draw.base.data, [part for part in draw.base.parts if part.kind in _TABLES]
    for part in draw.rng.sample(tables, min(len(tables), draw.rng.choice((1, 1, 2, 4)))):
        data = _lie(data, draw.rng, part)
    return data


@kind("mov")
def many_samples(draw: Draw) -> bytes:
    """So many samples of one size, lengths and offsets that an index of them fills any memory."""
    count = draw.rng.choice((10**5, 10**7, 2**31 - 1, 2**32 - 1))
    size = draw.rng.choice((0, 1, 2**31 - 1))
    scale = draw.rng.choice((1, 2**31 - 1))

    def change(name: bytes, content: bytes) -> list[tuple[bytes, bytes]]:
        if name == b"stsz":
            content = struct.pack(">III", 0, size, count)
        if name == b"stts":
            content = struct.pack(">IIII", 0, 1, count, scale)
        if name == b"stsc":
            content = struct.pack(">IIIII", 0, 1, 1, draw.rng.choice((1, count)), 1)
        return [] if name in (b"stss", b"ctts") else [(name, content)]

    return edit_boxes(draw.base.data, change)


@kind("mov")
def counts_without_entries(draw: Draw) -> bytes:
    """Tables that announce more entries than they have bytes for."""
    data = draw.base.data
    for part in _of(draw, b"stsz", b"stts", b"stsc", b"stco", b"ctts", b"stss", b"elst", b"stsd"):
        at = part.body + (8 if part.kind == b"stsz" else 4)
        if draw.rng.random() < 0.5 and at + 4 <= part.end:
            data = _with_word(data, at, draw.rng.choice((2**31 - 1, 2**32 - 1, 10**6, 1000)))
    return data


@kind("mov")
def chunks_in_a_loop(draw: Draw) -> bytes:
    """All chunks at one place, or over each other, or where the index is, or beyond the end."""
    data, size = draw.base.data, len(draw.base.data)
    place = draw.rng.choice((0, 8, 48, size - 1, size, 2**31, 2**32 - 1))
    for part in _of(draw, b"stco"):
        for at in range(part.body + 8, part.end - 3, 4):
            data = _with_word(data, at, place if draw.rng.random() < 0.7 else draw.rng.randrange(size))
    return data


@kind("mov")
def zero_time_scale(draw: Draw) -> bytes:
    data = draw.base.data
    for part in _of(draw, b"mvhd", b"mdhd"):
        if part.kind == b"mdhd" or draw.rng.random() < 0.5:
            data = _with_word(data, part.body + 12, draw.rng.choice((0, 0, 1, 2**31 - 1, 2**32 - 1)))
    return data


@kind("mov")
def wrong_times(draw: Draw) -> bytes:
    """Frames that last for nothing, for ever, or begin before all time; durations that are not so."""
    ticks = draw.rng.choice((0, 1, 2**30, 2**31 - 1, 2**32 - 1))

    def change(name: bytes, content: bytes) -> list[tuple[bytes, bytes]]:
        if name == b"stts" and len(content) >= 16:
            content = content[:12] + struct.pack(">I", ticks) + content[16:]
        if name == b"ctts" and draw.rng.random() < 0.5 and len(content) >= 16:
            content = (
                content[:12]
                + struct.pack(">I", draw.rng.choice((2**31, 2**31 - 1, 2**32 - 1)))
                + content[16:]
            )
        return [(name, content)]

    data = edit_boxes(draw.base.data, change)
    return with_durations(data, draw.rng.choice(_WORDS)) if draw.rng.random() < 0.3 else data


@kind("mov")
def wild_edits(draw: Draw) -> bytes:
    """Edit lists that go back, beyond, nowhere, at speeds that are none, and thousands of them."""
    count = draw.rng.choice((0, 1, 2, 3, 50, 20_000))
    entries = [
        struct.pack(
            ">Iihh",
            draw.rng.choice((0, 1, 40, 2**31 - 1, 2**32 - 1)),
            draw.rng.choice((-1, -2, -(2**31), 0, 1, 512, 5000, 2**31 - 1)),
            draw.rng.choice((1, 1, 1, 0, -1, 32767)),
            0,
        )
        for _ in range(count)
    ]
    said = draw.rng.choice((count, count, count + 1, 2**31))
    edts = join([(b"elst", struct.pack(">II", 0, said) + b"".join(entries))])

    def change(name: bytes, content: bytes) -> list[tuple[bytes, bytes]]:
        if name == b"trak":
            found = [(inner, body) for inner, body in boxes(content) if inner != b"edts"]
            content = join([found[0], (b"edts", edts), *found[1:]])
        return [(name, content)]

    return edit_boxes(draw.base.data, change)


@kind("mov", large=True)
def huge_dimensions(draw: Draw) -> bytes:
    """In the track, in the description of samples, or in the parameters of the codec itself."""
    width, height = (draw.rng.choice((16, 65535, 32768, 16384, 16000, 8192, 0)) for _ in range(2))
    data, where = draw.base.data, draw.rng.choice(("header", "codec", "both"))
    if where != "codec":
        for part in _of(draw, b"avc1", b"hvc1", b"hev1", b"vp09"):
            data = data[: part.body + 24] + struct.pack(">HH", width, height) + data[part.body + 28 :]
        for part in _of(draw, b"tkhd"):
            data = _with_word(_with_word(data, part.end - 8, width << 16), part.end - 4, height << 16)
    if where != "header":
        parameters = sps(width, height)

        def change(name: bytes, content: bytes) -> list[tuple[bytes, bytes]]:
            if name == b"stsd" and content[12:16] == b"avc1":
                head, inner = content[: 16 + 78], dict(boxes(content[16 + 78 :]))
                config = inner.get(b"avcC", b"")
                if config:
                    old = int.from_bytes(config[6:8], "big")
                    inner[b"avcC"] = (
                        config[:6] + struct.pack(">H", len(parameters)) + parameters + config[8 + old :]
                    )
                entry = head[12:] + join(list(inner.items()))
                content = content[:8] + struct.pack(">I", len(entry) + 4) + entry
            return [(name, content)]

        data = edit_boxes(data, change)
    return data


@kind("mov")
def large_description(draw: Draw) -> bytes:
    """Hundreds of descriptions of samples, or one of a megabyte, or of another codec."""
    choice = draw.rng.randrange(3)

    def change(name: bytes, content: bytes) -> list[tuple[bytes, bytes]]:
        if name == b"stsd":
            entry = content[8:]
            if choice == 0:
                count = draw.rng.choice((2, 100, 2000))
                content = struct.pack(">II", 0, count) + (entry * count)[:500_000]
            elif choice == 1:
                longer = entry + join([(b"glbl", bytes(draw.rng.choice((10**4, 10**6))))])
                content = content[:8] + struct.pack(">I", len(longer)) + longer[4:]
            else:
                codec = draw.rng.choice(
                    (b"hvc1", b"av01", b"mp4v", b"png ", b"rle ", b"vp08", b"raw ", b"SVQ3", b"tmcd", b"text")
                )
                content = content[:12] + codec + content[16:]
        return [(name, content)]

    return edit_boxes(draw.base.data, change)


@kind("mov")
def nested_boxes(draw: Draw) -> bytes:
    """Ten thousand boxes, one in the other: where a parser calls itself for each, its stack ends."""
    name = draw.rng.choice((b"moov", b"trak", b"udta", b"meta", b"moof", b"stsd", b"wave", b"ilst", b"dinf"))
    pad = b"\x00" * 4 if name == b"meta" else b""
    levels, step = draw.rng.choice((100, 1000, _DEEP)), 8 + len(pad)
    nest = b"".join(struct.pack(">I4s", step * (levels - k), name) + pad for k in range(levels))
    where = draw.rng.choice((b"moov", b"trak", b""))
    if not where:
        return draw.base.data + nest
    return edit_boxes(
        draw.base.data,
        lambda kind_, content: [(kind_, content + nest)] if kind_ == where else [(kind_, content)],
    )


@kind("mov")
def moov_twice(draw: Draw) -> bytes:
    """A second index, of this or of another file."""
    other = draw.rng.choice([other for other in draw.others if other.container == "mov"] or [draw.base])
    index = dict(boxes(other.data)).get(b"moov", b"")
    found = boxes(draw.base.data)
    found.insert(draw.rng.randrange(len(found) + 1), (b"moov", index))
    return join(found)


@kind("mov")
def streamed_for_ever(draw: Draw) -> bytes:
    """Fragments again and again, with the same times, or with counts that no bytes stand behind."""
    track, times = 1, draw.rng.choice((10, 500, 3000))
    count = draw.rng.choice((1, 100, 10**6, 2**31 - 1, 2**32 - 1))
    flags = draw.rng.choice((0x0, 0x1, 0x201, 0x301))
    run = struct.pack(">II", flags, count) + (
        struct.pack(">i", draw.rng.choice((0, 8, -1))) if flags & 1 else b""
    )
    run += bytes(8 if flags & 0x200 else 0)
    header = struct.pack(
        ">IIII", 0x020018, track, draw.rng.choice((0, 1, 512, 2**31)), draw.rng.choice((0, 1, 100))
    )
    traf = join(
        [(b"tfhd", header), (b"tfdt", struct.pack(">II", 0, draw.rng.choice((0, 2**31)))), (b"trun", run)]
    )
    fragment = join(
        [(b"moof", join([(b"mfhd", struct.pack(">II", 0, 1)), (b"traf", traf)])), (b"mdat", bytes(16))]
    )
    extends = join([(b"mvex", join([(b"trex", struct.pack(">IIIIII", 0, track, 1, 512, 100, 0))]))])
    data = edit_boxes(
        draw.base.data,
        lambda name, content: [(name, content + extends)] if name == b"moov" else [(name, content)],
    )
    return data + fragment * times


@kind("mov")
def lengths_of_64_bits(draw: Draw) -> bytes:
    """A box whose length is written behind its name, and is absurd; or one that reaches to the end of the
    file."""
    part = draw.rng.choice(draw.base.parts)
    length = draw.rng.choice((0, 1, 15, 16, 17, 2**32, 2**63 - 1, 2**63, 2**64 - 1))
    data = with_size(draw.base.data, part, draw.rng.choice((0, 1, 1)))
    return data[: part.body] + struct.pack(">Q", length) + data[part.body :]
