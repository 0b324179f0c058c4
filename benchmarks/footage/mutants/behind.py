"""Junk behind a whole file: what music players, cameras and careless tools append. Any container.

In: a draw. Out: the file as it is, and further bytes. Sources: ID3v1; APEv2 specification; Lyrics3 v2.00.
"""

import struct
from random import Random

from benchmarks.footage.mutants.kinds import Draw, kind


def _id3v1(rng: Random) -> bytes:
    return b"TAG" + rng.randbytes(124).replace(b"\0", b" ") + bytes([rng.randrange(256)])


def _apev2(rng: Random) -> bytes:
    """With a header, a footer or both; their sizes are right, or not."""
    items = b"".join(
        struct.pack("<II", len(text), 0) + name + b"\0" + text
        for name, text in ((b"Title", b"a clip"), (b"Cover Art (Front)", rng.randbytes(rng.randint(1, 5000))))
    )
    size = rng.choice((len(items) + 32, 0, 0xFFFFFFFF))
    header, footer = (
        b"APETAGEX" + struct.pack("<IIII8x", 2000, size, 2, flags) for flags in (0xA0000000, 0x80000000)
    )
    return rng.choice((header + items, items + footer, header + items + footer))


def _lyrics(rng: Random) -> bytes:
    words = b"LYRICSBEGIN" + b"IND00002" + b"10" + b"LYR%05d" % 400 + b"la " * 133
    return words + b"%06d" % len(words) + b"LYRICS200" + _id3v1(rng)


def _text(rng: Random) -> bytes:
    return b"\r\n2026/11/28 10:00:%02d N48.1 E11.5 52km/h\r\n" % rng.randrange(60) * rng.randint(1, 500)


def _box(rng: Random) -> bytes:
    """A box, or half of one, of a kind that nobody knows."""
    name = rng.choice((b"free", b"skip", b"uuid", b"cam1", b"gps ", b"\xa9xyz", b"udta", rng.randbytes(4)))
    return struct.pack(">I4s", rng.choice((8, 100, 5000, 1 << 30, 0xFFFFFFFF, 1, 0)), name) + rng.randbytes(
        100
    )


def _another(draw: Draw) -> bytes:
    """The head of another file."""
    data = draw.rng.choice(draw.others).data
    return data[: draw.rng.randint(4, 2000)]


@kind()
def junk_behind(draw: Draw) -> bytes:
    rng = draw.rng
    makers = (_id3v1, _apev2, _lyrics, _text, _box)
    plain = (
        lambda _: rng.randbytes(rng.randint(1, 5000)),
        lambda _: bytes([rng.choice((0, 0xFF, 0x20))]) * rng.randint(1, 100_000),
        lambda _: _another(draw),
    )
    junk = b"".join(rng.choice((*makers, *makers, *plain))(rng) for _ in range(rng.choice((1, 1, 1, 2))))
    return draw.base.data + junk
