"""What changes on the way: the size of pictures, the shape of a pixel, the programme of a broadcast.

In: a draw whose base is of such footage (`benchmarks.footage.fuzz_changing`). Out: bytes.
"""

from benchmarks.footage.mutants.damage import as_it_is, flipped
from benchmarks.footage.mutants.kinds import Draw, kind
from tests.support.edit_bytes import with_times_later

_TICKS_PER_S = 90_000


@kind(what="size_changes")
def size_changes(draw: Draw) -> bytes:
    return as_it_is(draw)


@kind(what="shape_changes")
def shape_changes(draw: Draw) -> bytes:
    """The same size, and pixels of another shape."""
    return as_it_is(draw)


@kind(what="programme")
def joined_programmes(draw: Draw) -> bytes:
    """Programmes of a broadcast, each of another size, shape, codec or scan; one after another, with a pause
    now and then, and the seam anywhere.
    """
    rng, joined = draw.rng, b""
    programmes = [base for base in draw.others if base.what == "programme"]
    start_s = 0.0
    for number, base in enumerate(
        [draw.base, *rng.sample(programmes, min(len(programmes), rng.randint(1, 3)))]
    ):
        data = base.data
        if number and rng.random() < 0.3:  # it was tuned in on the way
            data = data[188 * rng.randrange(len(data) // 188) :]
        joined += with_times_later(data, int(start_s * _TICKS_PER_S))
        start_s += 1.0 + rng.choice((0, 0, 0, 0.5, 20))
    return joined if rng.random() < 0.8 else flipped(joined, rng, 0, len(joined), rng.randint(1, 8))
