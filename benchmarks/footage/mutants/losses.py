"""Damage in the middle of a recording, as failing disks, cards and receivers do it: what comes before and
behind is whole.

In: a draw whose base is a recording of some seconds (`benchmarks.footage.fuzz_changing`). Out: bytes.
"""

from benchmarks.footage.mutants.damage import flipped
from benchmarks.footage.mutants.kinds import Draw, kind
from benchmarks.footage.mutants.parts import Part

_RECORDED = ("recording", "recording_in_fragments")
_CLUSTER, _BLOCKS = bytes.fromhex("1f43b675"), (b"\xa3", b"\xa0")
_TS_BYTES, _SECTOR = 188, 512


def _middle(draw: Draw) -> tuple[int, int]:
    """[first, last) of the media data, without its beginning and end."""
    media = [part for part in draw.base.parts if part.kind in (b"mdat", _CLUSTER)]
    first, last = (media[0].body, media[-1].end) if media else (0, len(draw.base.data))
    tenth = (last - first) // 10
    return first + tenth, last - tenth


def _stretch(draw: Draw) -> tuple[int, int]:
    """Somewhere in it: a sector or some, or a share of the file."""
    first, last = _middle(draw)
    length = draw.rng.choice((_SECTOR, 8 * _SECTOR, draw.rng.randint(1, max(1, (last - first) // 5))))
    start = draw.rng.randrange(first, max(first + 1, last - length))
    return start, min(last, start + length)


@kind(what=_RECORDED, damage=True)
def stretch_zeroed(draw: Draw) -> bytes:
    start, end = _stretch(draw)
    return draw.base.data[:start] + bytes(end - start) + draw.base.data[end:]


@kind(what=_RECORDED, damage=True)
def stretch_overwritten(draw: Draw) -> bytes:
    """With noise, with ones, or with what lies elsewhere in the file."""
    data, (start, end) = draw.base.data, _stretch(draw)
    length, other = end - start, draw.rng.randrange(len(draw.base.data))
    junk = draw.rng.choice((draw.rng.randbytes(length), b"\xff" * length, data[other : other + length]))
    return data[:start] + junk.ljust(length, b"\0") + data[end:]


@kind(what=_RECORDED, damage=True)
def stretch_lost(draw: Draw) -> bytes:
    """What comes behind it moves up."""
    start, end = _stretch(draw)
    return draw.base.data[:start] + draw.base.data[end:]


@kind(what=_RECORDED, damage=True)
def single_bits(draw: Draw) -> bytes:
    return flipped(draw.base.data, draw.rng, *_middle(draw), draw.rng.randint(1, 3))


@kind("mpegts", what=_RECORDED, damage=True)
def packets_lost(draw: Draw) -> bytes:
    """Bursts of packets that were not received."""
    data, rng = draw.base.data, draw.rng
    packets = [data[at : at + _TS_BYTES] for at in range(0, len(data), _TS_BYTES)]
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(packets) // 10, len(packets) * 9 // 10)
        del packets[at : at + rng.choice((1, 2, 7, 30))]
    return b"".join(packets)


def _gone(draw: Draw, first: Part, last: Part) -> bytes:
    """Parts that follow each other: lost, or there and empty."""
    data = draw.base.data
    left = bytes(last.end - first.start) if draw.rng.random() < 0.3 else b""
    return data[: first.start] + left + data[last.end :]


@kind("matroska", what=_RECORDED, damage=True)
def cluster_lost(draw: Draw) -> bytes:
    """A cluster, or some blocks; neither the first nor the last."""
    clusters, blocks = (
        [part for part in draw.base.parts if part.kind in names] for names in ((_CLUSTER,), _BLOCKS)
    )
    found = clusters if len(clusters) > 2 and draw.rng.random() < 0.5 else blocks
    at = draw.rng.randrange(1, len(found) - 1)
    return _gone(draw, found[at], found[min(len(found) - 2, at + draw.rng.choice((0, 0, 3)))])


@kind("mov", what="recording_in_fragments", damage=True)
def fragment_lost(draw: Draw) -> bytes:
    """With its index, or one of both alone; not the first."""
    fragments = [part for part in draw.base.parts if part.kind in (b"moof", b"mdat")]
    at = draw.rng.randrange(2, len(fragments) - 1)
    return _gone(draw, fragments[at], fragments[at + draw.rng.choice((0, 1, 1))])


@kind("avi", "flv", "ogg", "asf", "mpeg", what=_RECORDED, damage=True)
def parts_lost(draw: Draw) -> bytes:
    """Some chunks, tags, pages, packets or packs that follow each other."""
    first, last = _middle(draw)
    found = [part for part in draw.base.parts if first <= part.start and part.end <= last]
    if not found:  # of this container only the frame is known
        return stretch_lost(draw)
    at = draw.rng.randrange(len(found))
    return _gone(draw, found[at], found[min(len(found) - 1, at + draw.rng.choice((0, 0, 2, 5)))])
