"""Bytes read through the read-ahead are the file's; few are fetched in vain, and what is come back to is
fetched once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import MediaError, Reason
from pipelines.storage.read_ahead import BLOCK_BYTES, ReadAhead

CONTENT = np.random.default_rng(0).integers(0, 256, 80 * BLOCK_BYTES + 1234, dtype=np.uint8).tobytes()


class Counted:
    """A far file that notes what it was asked for."""

    def __init__(self, content: bytes = CONTENT):
        self._content = content
        self.asked: list[tuple[int, int]] = []

    def __call__(self, offset: int, size: int) -> bytes:
        assert size > 0
        assert 0 <= offset <= len(self._content) - size
        self.asked.append((offset, size))
        return self._content[offset : offset + size]

    @property
    def fetched(self) -> int:
        return sum(size for _, size in self.asked)


places = st.integers(0, len(CONTENT) + 10)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(places, st.integers(0, 3 * BLOCK_BYTES)), max_size=20))
def test_bytes_read_in_any_order_are_the_files(reads):
    ahead = ReadAhead(Counted(), len(CONTENT))
    for offset, size in reads:
        assert ahead.read(offset, size) == CONTENT[offset : offset + size]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 60 * BLOCK_BYTES), st.integers(1, 80 * BLOCK_BYTES))
def test_who_reads_on_makes_few_fetches_and_few_in_vain(begin, size):
    size = min(size, len(CONTENT) - begin)
    far = Counted()
    ahead = ReadAhead(far, len(CONTENT))
    for at in range(begin, begin + size, 32768):
        ahead.read(at, min(32768, begin + size - at))
    blocks = size // BLOCK_BYTES + 2
    assert far.fetched <= 1.5 * blocks * BLOCK_BYTES
    assert len(far.asked) <= min(blocks, 16)


def test_two_who_read_on_at_different_places_are_both_read_ahead_for():
    far = Counted()
    ahead = ReadAhead(far, len(CONTENT))
    middle = 40 * BLOCK_BYTES
    for at in range(0, middle, 32768):
        assert ahead.read(at, 32768) == CONTENT[at : at + 32768]
        assert ahead.read(middle + at, 32768) == CONTENT[middle + at : middle + at + 32768]
    assert far.fetched <= len(CONTENT)
    assert len(far.asked) <= 24


def test_an_index_that_is_read_again_outlasts_the_whole_file_going_by():
    content = CONTENT * 3
    far = Counted(content)
    ahead = ReadAhead(far, len(content))
    index = len(content) - 4 * BLOCK_BYTES
    for _ in range(2):
        ahead.read(0, 1000)
        ahead.read(index, 4 * BLOCK_BYTES)
    for at in range(0, index, BLOCK_BYTES):
        ahead.read(at, BLOCK_BYTES)
    before = len(far.asked)
    assert ahead.read(0, 1000) == content[:1000]
    assert ahead.read(index, 4 * BLOCK_BYTES) == content[index:]
    assert len(far.asked) == before


def test_no_more_is_held_than_promised():
    content = CONTENT * 3
    ahead = ReadAhead(Counted(content), len(content))
    for _ in range(2):
        for at in range(0, len(content), BLOCK_BYTES // 2):
            ahead.read(at, 100)
            ahead.read((at * 7) % len(content), 100)
    held = [*ahead._kept.values(), *ahead._passing.values()]
    assert sum(map(len, held)) <= 40 * 1024**2
    assert len(ahead._runs) <= 16


@pytest.mark.parametrize(
    ("far", "message"),
    [
        (lambda offset, size: bytes(size - 1), "262143 of 262144 bytes from 0 on came"),
        (lambda offset, size: bytes(size + 1), "262145 of 262144 bytes"),
        (lambda offset, size: (_ for _ in ()).throw(ConnectionResetError("gone")), "can't be read: gone"),
        (lambda offset, size: (_ for _ in ()).throw(EOFError("ends early")), "ends early"),
    ],
)
def test_what_can_not_be_fetched_is_missing_and_may_come_another_time(far, message):
    with pytest.raises(MediaError, match=message) as caught:
        ReadAhead(far, len(CONTENT)).read(10, 20)
    assert caught.value.reason is Reason.MISSING
    assert not caught.value.permanent
