"""Files of several streams: which of them the film is, and what the others are.

In: a draw whose base has several streams (`benchmarks.footage.fuzz_streams`). Out: the same file, or one with
other flags or a flaw.
"""

from benchmarks.footage.mutants.damage import as_it_is
from benchmarks.footage.mutants.kinds import Draw, kind

_FLAGS = (
    b"\x88",
    b"\xb9",
    bytes.fromhex("55aa"),
    bytes.fromhex("55ae"),
)  # default, enabled, forced, original: RFC 9559


def _with_other_flags(draw: Draw) -> bytes:
    """Which tracks are on, and which are meant to be shown: as it is in every third file."""
    data, rng = bytearray(draw.base.data), draw.rng
    if rng.random() < 0.3:
        return as_it_is(draw)
    for part in draw.base.parts:
        if part.kind == b"tkhd":
            data[part.body + 3] = rng.choice((0, 1, 3, 7, 15))  # enabled, in movie, in preview
        if draw.base.container == "matroska" and part.kind in _FLAGS and part.end == part.body + 1:
            data[part.body] = rng.choice((0, 1, 1, 255))
    return bytes(data)


@kind(what="empty_first_stream")
def empty_first_stream(draw: Draw) -> bytes:
    return _with_other_flags(draw)


@kind(what="attachments")
def attachments(draw: Draw) -> bytes:
    """A cover, a font."""
    return _with_other_flags(draw)


@kind(what="preview_beside")
def preview_beside(draw: Draw) -> bytes:
    """A small picture of the film, before or behind it."""
    return _with_other_flags(draw)


@kind(what="two_films")
def two_films(draw: Draw) -> bytes:
    return _with_other_flags(draw)


@kind(what="many_sounds")
def many_sounds(draw: Draw) -> bytes:
    """Sound of every rate and number of channels."""
    return _with_other_flags(draw)
