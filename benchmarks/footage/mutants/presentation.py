"""How pictures are to be shown: turned, mirrored, cropped, with pixels of any shape; absurdly so.

In: a draw whose base is an MP4, QuickTime or Matroska file. Out: bytes. Sources: ISO/IEC 14496-12, 8.3.2
(tkhd), 12.1.4 (clap, pasp); RFC 9559, 5.1.4.1.28 (PixelCrop, DisplayWidth, Projection).
"""

import math
import struct

from benchmarks.footage.mutants.elements import edit_videos, element
from benchmarks.footage.mutants.kinds import Draw, kind
from tests.support.edit_bytes import edit_boxes, join

_ONE, _UNIT = 1 << 16, 1 << 30
_QUARTERS = (
    (1, 0, 0, 1),
    (-1, 0, 0, 1),
    (1, 0, 0, -1),
    (-1, 0, 0, -1),
    (0, 1, -1, 0),
    (0, -1, 1, 0),
    (0, 1, 1, 0),
    (0, -1, -1, 0),
)
_WORDS = (0, 1, -1, _ONE, -_ONE, _UNIT, 2**31 - 1, -(2**31))
_HUGE = (0, 1, 2, 63, 64, 65, 255, 0xFFFF, 0x10000, 2**31 - 1, 2**31, 2**32 - 1)


def _with_matrix(draw: Draw, matrix: tuple[int, ...]) -> bytes:
    """The display matrix of every track: nine words before width and height at the end of its header."""
    data, packed = draw.base.data, struct.pack(">9i", *matrix)
    for part in draw.base.parts:
        if part.kind == b"tkhd" and part.end - part.body >= 84:
            data = data[: part.end - 44] + packed + data[part.end - 8 :]
    return data


@kind("mov")
def turned_or_mirrored(draw: Draw) -> bytes:
    """Every way to lay a picture down, and moved somewhere."""
    a, b, c, d = (value * _ONE for value in draw.rng.choice(_QUARTERS))
    x, y = (draw.rng.choice((0, 0, 48 * _ONE, -64 * _ONE, 7)) for _ in range(2))
    return _with_matrix(draw, (a, b, 0, c, d, 0, x, y, _UNIT))


@kind("mov")
def absurd_matrix(draw: Draw) -> bytes:
    """Nothing, no plane, a slant, a perspective, half a right angle, sizes beyond all screens."""
    rng = draw.rng
    angle, scale = math.radians(rng.choice((45, 135, 44.9, 30, 1))), rng.choice((1, 1, 0.001, 30_000))
    c, s = (round(f(angle) * _ONE * scale) for f in (math.cos, math.sin))
    choices = (
        (0,) * 9,
        (c, s, 0, -s, c, 0, 0, 0, _UNIT),
        (c, s, 0, s, -c, 0, 0, 0, _UNIT),
        (_ONE, _ONE, 0, _ONE, _ONE, 0, 0, 0, _UNIT),  # onto a line
        (_ONE, 0, 0, 0, 0, 0, 0, 0, _UNIT),
        (_ONE, 0, 0, 0, _ONE, 0, 0, 0, 0),
        (2**31 - 1,) * 9,
        (-(2**31),) * 9,
        tuple(rng.choice(_WORDS) for _ in range(9)),
        tuple(rng.randrange(-(2**31), 2**31) for _ in range(9)),
    )
    return _with_matrix(draw, rng.choice(choices))


def _in_sample_entries(data: bytes, box: bytes) -> bytes:
    """A box more in each description of samples."""

    def change(name: bytes, content: bytes) -> list[tuple[bytes, bytes]]:
        if name == b"stsd" and len(content) >= 16:
            (size,) = struct.unpack_from(">I", content, 8)
            entry = content[8 : 8 + size] + box
            content = content[:8] + struct.pack(">I", len(entry)) + entry[4:] + content[8 + size :]
        return [(name, content)]

    return edit_boxes(data, change)


@kind("mov")
def clean_aperture(draw: Draw) -> bytes:
    """What is cropped: a little, as cameras do; or all, more than all, by fractions that are none; with or
    without a shape of pixels, and a track of any size.
    """
    rng = draw.rng
    if rng.random() < 0.4:
        wide, high = rng.randint(1, 64), rng.randint(1, 48)
        terms = [wide, 1, high, 1, rng.randint(wide - 64, 64 - wide), 2, rng.randint(high - 48, 48 - high), 2]
    else:
        terms = [rng.choice((*_HUGE, rng.randrange(100))) for _ in range(8)]
        for at in (1, 3, 5, 7):
            terms[at] = rng.choice((1, 1, 1, terms[at]))
    box = join([(b"clap", b"".join(struct.pack(">I", term & 0xFFFFFFFF) for term in terms))])
    if rng.random() < 0.3:
        box += _pixel_shape(draw)
    data = _in_sample_entries(draw.base.data, box[: rng.choice((len(box), len(box), len(box), 20))])
    if rng.random() < 0.4:
        size = struct.pack(">II", *(rng.choice(_HUGE) << 16 & 0xFFFFFFFF for _ in range(2)))
        data = edit_boxes(data, lambda name, body: [(name, body[:-8] + size if name == b"tkhd" else body)])
    return data


def _pixel_shape(draw: Draw) -> bytes:
    across, down = (draw.rng.choice((*_HUGE, 3, 4, 11, 16, 32)) for _ in range(2))
    return join([(b"pasp", struct.pack(">II", across, down))])


@kind("mov")
def odd_pixels(draw: Draw) -> bytes:
    return _in_sample_entries(draw.base.data, _pixel_shape(draw))


def _number(name: str, value: int) -> bytes:
    return element(bytes.fromhex(name), value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


@kind("matroska")
def pixel_crop(draw: Draw) -> bytes:
    """Cropped at any edge: a little, all of it, more; now and then by numbers of nine bytes, or none."""
    rng = draw.rng
    most = rng.choice((4, 16, 24, 64, 2**32))
    crops = b"".join(
        _number(name, rng.randrange(most)) for name in ("54aa", "54bb", "54cc", "54dd") if rng.random() < 0.7
    )
    if rng.random() < 0.2:
        crops += element(bytes.fromhex("54cc"), rng.randbytes(rng.choice((0, 9, 16))))
    return edit_videos(draw.base.data, lambda content: content + crops)


@kind("matroska")
def display_size(draw: Draw) -> bytes:
    """The size to be shown at, in pixels, centimetres, inches or a shape, zero and beyond all screens."""
    rng = draw.rng
    size = [(name, rng.choice(_HUGE)) for name in ("54b0", "54ba")]
    sizes = b"".join(_number(name, value) for name, value in size if rng.random() < 0.9)
    sizes += _number("54b2", rng.choice((0, 1, 2, 3, 4, 255))) if rng.random() < 0.7 else b""
    return edit_videos(draw.base.data, lambda content: content + sizes)


@kind("matroska")
def projected(draw: Draw) -> bytes:
    """Turned by any angle, or a view of a sphere (its pose, and private data of none)."""
    rng = draw.rng
    angles = (0.0, 90.0, -90.0, 180.0, 270.0, 45.0, 1e-30, 1e30, math.inf, math.nan)
    form = rng.choice((">f", ">d"))
    pose = b"".join(
        element(bytes.fromhex(name), struct.pack(form, rng.choice(angles)))
        for name in ("7673", "7674", "7675")
        if name == "7675" or rng.random() < 0.3
    )
    projection = _number("7671", rng.choice((0, 0, 0, 1, 2, 3, 255))) + pose
    if rng.random() < 0.3:
        projection += element(bytes.fromhex("7672"), rng.randbytes(rng.choice((0, 4, 12, 20))))
    return edit_videos(draw.base.data, lambda content: content + element(bytes.fromhex("7670"), projection))
