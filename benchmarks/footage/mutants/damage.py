"""Damage as disks, networks and careless tools do it: cut off, flipped, zeroed, doubled, joined, misnamed.
Any container.

In: a draw. Out: bytes, or bytes with another name.
"""

from random import Random

from benchmarks.footage.mutants.kinds import Draw, File, kind
from benchmarks.footage.mutants.parts import Part, edges, with_size

_MEDIA = (b"mdat", bytes.fromhex("1f43b675"), b"LIST")  # the large parts that hold pictures
_EXTREMES = (
    0,
    1,
    2,
    7,
    8,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFF0,
    0xFFFFFFFF,
    1 << 62,
    (1 << 64) - 1,
)
_SUFFIXES = (
    "mp4",
    "mkv",
    "avi",
    "ts",
    "mpg",
    "flv",
    "webm",
    "wmv",
    "mov",
    "MP4",
    "ogv",
    "m2ts",
    "3gp",
    "mxf",
    "dv",
)


@kind()
def cut_at_edge(draw: Draw) -> bytes:
    """Ends where a part begins, has its content or ends; or a byte before or behind."""
    return draw.base.data[: max(0, draw.rng.choice(edges(draw.base.data)) + draw.rng.choice((-1, 0, 0, 1)))]


@kind(damage=True)
def cut_anywhere(draw: Draw) -> bytes:
    return draw.base.data[: draw.rng.randrange(len(draw.base.data))]


@kind()
def begun_anywhere(draw: Draw) -> bytes:
    """The beginning is lost, but for the first bytes now and then."""
    data, start = draw.base.data, draw.rng.randrange(1, len(draw.base.data))
    return data[: draw.rng.choice((0, 0, 16, 64))] + data[start:]


def flipped(data: bytes, rng: Random, first: int, last: int, count: int) -> bytes:
    """So many bits of [first, last) the other way."""
    changed = bytearray(data)
    for _ in range(count):
        changed[rng.randrange(first, last)] ^= 1 << rng.randrange(8)
    return bytes(changed)


@kind(damage=True)
def few_flips(draw: Draw) -> bytes:
    return flipped(draw.base.data, draw.rng, 0, len(draw.base.data), draw.rng.randint(1, 8))


@kind(damage=True)
def many_flips(draw: Draw) -> bytes:
    share = draw.rng.choice((0.001, 0.01, 0.1))
    return flipped(draw.base.data, draw.rng, 0, len(draw.base.data), 1 + int(share * len(draw.base.data)))


@kind()
def header_flips(draw: Draw) -> bytes:
    """Only outside of the parts that hold pictures; the head of the file where there are none such."""
    data, rng, changed = draw.base.data, draw.rng, bytearray(draw.base.data)
    media = [part for part in draw.base.parts if part.kind in _MEDIA and part.end - part.start > 256]
    spots = (
        [k for k in range(len(data)) if not any(part.body <= k < part.end for part in media)]
        if media
        else range(min(512, len(data)))
    )
    for _ in range(rng.randint(1, 12)):
        changed[rng.choice(spots)] ^= 1 << rng.randrange(8)
    return bytes(changed)


@kind(damage=True)
def media_flips(draw: Draw) -> bytes:
    """Only in pictures."""
    media = max(draw.base.parts, key=lambda part: part.end - part.body if part.kind in _MEDIA else 0)
    first, last = (
        (media.body, media.end)
        if media.end - media.body > 1
        else (len(draw.base.data) // 4, len(draw.base.data))
    )
    return flipped(draw.base.data, draw.rng, first, last, draw.rng.choice((1, 3, 30, 300)))


@kind(damage=True)
def zeros_inside(draw: Draw) -> bytes:
    data = draw.base.data
    first = draw.rng.randrange(len(data))
    last = min(len(data), first + draw.rng.randint(1, len(data) // 2 + 1))
    return data[:first] + bytes(last - first) + data[last:]


@kind(damage=True)
def noise_inside(draw: Draw) -> bytes:
    data = draw.base.data
    first = draw.rng.randrange(len(data))
    last = min(len(data), first + draw.rng.randint(1, len(data) // 4 + 1))
    return data[:first] + draw.rng.randbytes(last - first) + data[last:]


@kind()
def nothing_but_a_head(draw: Draw) -> bytes:
    """Nothing, zeros, noise, or a few sound bytes and then one of these."""
    head = draw.base.data[: draw.rng.choice((0, 4, 12, 40, 200))]
    rest = draw.rng.choice(
        (b"", bytes(draw.rng.randint(1, 100_000)), draw.rng.randbytes(draw.rng.randint(1, 20_000)))
    )
    return head + rest


@kind()
def wrong_size_of_part(draw: Draw) -> bytes:
    """A box, element, chunk or tag says that it is of another size."""
    sized = [part for part in draw.base.parts if part.size_bytes]
    if not sized:
        return cut_anywhere(draw)
    data = draw.base.data
    for part in draw.rng.sample(sized, min(len(sized), draw.rng.choice((1, 1, 2, 5)))):
        written = int.from_bytes(data[part.size_at : part.size_at + part.size_bytes], "big")
        near = (
            part.end - part.start + draw.rng.choice((-8, -1, 1, 8)),
            written ^ 1 << draw.rng.randrange(8 * part.size_bytes),
        )
        data = with_size(data, part, draw.rng.choice((*near, *_EXTREMES)))
    return data


def _taken(draw: Draw) -> Part:
    return draw.rng.choice([part for part in draw.base.parts if part.end > part.start])


@kind()
def part_lost(draw: Draw) -> bytes:
    part = _taken(draw)
    return draw.base.data[: part.start] + draw.base.data[part.end :]


@kind()
def part_twice(draw: Draw) -> bytes:
    """A part again, many times over, behind itself or at the end."""
    data, part = draw.base.data, _taken(draw)
    again = data[part.start : part.end] * draw.rng.choice((1, 2, 50))
    again = again[:400_000]
    at = draw.rng.choice((part.end, len(data)))
    return data[:at] + again + data[at:]


@kind()
def parts_swapped(draw: Draw) -> bytes:
    first, second = sorted((_taken(draw), _taken(draw)), key=lambda part: part.start)
    data = draw.base.data
    if second.start < first.end:  # one inside the other
        return part_lost(draw)
    middle = data[first.end : second.start]
    return (
        data[: first.start]
        + data[second.start : second.end]
        + middle
        + data[first.start : first.end]
        + data[second.end :]
    )


@kind()
def part_of_another(draw: Draw) -> bytes:
    """A part replaced by one of another file."""
    data, part, other = draw.base.data, _taken(draw), draw.rng.choice(draw.others)
    same = [o for o in other.parts if o.kind == part.kind] or other.parts
    taken = draw.rng.choice(same)
    return data[: part.start] + other.data[taken.start : taken.end] + data[part.end :]


@kind()
def joined(draw: Draw) -> bytes:
    """One file behind the other, or the head of one and the tail of the other."""
    a, b = draw.base.data, draw.rng.choice(draw.others).data
    if draw.rng.random() < 0.5:
        return a + b
    return a[: draw.rng.randrange(len(a))] + b[draw.rng.randrange(len(b)) :]


@kind()
def misnamed(draw: Draw) -> File:
    """A name that the content is not, and a flaw in every other one."""
    suffix = draw.rng.choice([suffix for suffix in _SUFFIXES if suffix != draw.base.suffix])
    return File(suffix, draw.base.data if draw.rng.random() < 0.5 else few_flips(draw))


def as_it_is(draw: Draw) -> bytes:
    """Odd, and sound; or with a few flips."""
    return draw.base.data if draw.rng.random() < 0.5 else few_flips(draw)


# What needs an encoder is rendered (`benchmarks.footage.fuzz_bases`); broken it is here.


@kind(what="sound_only")
def sound_only(draw: Draw) -> bytes:
    return as_it_is(draw)


@kind(what="cover_only")
def cover_only(draw: Draw) -> bytes:
    return as_it_is(draw)


@kind(what="one_frame")
def one_frame(draw: Draw) -> bytes:
    return as_it_is(draw)


@kind(what="ten_bit")
def ten_bit(draw: Draw) -> bytes:
    return as_it_is(draw)


@kind(what="odd_size")
def odd_size(draw: Draw) -> bytes:
    return as_it_is(draw)


@kind(what="many_streams")
def many_streams(draw: Draw) -> bytes:
    return as_it_is(draw)
