"""Ranges of a far file → the same bytes, asked for in larger pieces, and those of its index only once.

In: a function that reads a range, at a price per question; small reads in any order. Out: their bytes.
Sequential readers are prefetched by half the distance they have read, so at most a third of the fetched bytes
is unused; several sequential readers are tracked separately. Blocks that are read again, such as the index,
stay in the cache longer than blocks that are read once.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable

from pipelines.errors import MediaError, Reason

ReadRange = Callable[[int, int], bytes]

_KIB, _MIB = 1024, 1024**2
BLOCK_BYTES = 256 * _KIB  # what a question is worth: about as long to send as to ask for
_MOST_BLOCKS = 8 * _MIB // BLOCK_BYTES  # of one question
_PASSING_BLOCKS = 16 * _MIB // BLOCK_BYTES
_KEPT_BLOCKS = 24 * _MIB // BLOCK_BYTES
_MOST_RUNS = 16  # readers at different places that are told apart: a container interleaves two or three


class ReadAhead:
    """Bytes of one file. Holds at most 40 MiB of them; several threads may read."""

    def __init__(self, read_range: ReadRange, size_bytes: int):
        """read_range: (offset, size) → exactly so many bytes, or MediaError, OSError, EOFError."""
        self._read_range, self._size_bytes = read_range, size_bytes
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._passing: OrderedDict[int, bytes] = OrderedDict()
        self._seen: set[int] = set()  # of those passing, who was read and left
        # the block that a reader needs next → how many it has read
        self._runs: OrderedDict[int, int] = OrderedDict()
        self._last = -1
        self._lock = threading.Lock()

    def read(self, offset: int, size: int) -> bytes:
        """The bytes from `offset` on, fewer than `size` only at the end of the file.

        Raises:
            MediaError: missing, whatever went wrong: another time it may go well.
        """
        size = max(0, min(size, self._size_bytes - offset))
        if not size:
            return b""
        first, last = offset // BLOCK_BYTES, (offset + size - 1) // BLOCK_BYTES
        with self._lock:
            data = b"".join([self._block(number, last - number + 1) for number in range(first, last + 1)])
        return data[offset - first * BLOCK_BYTES :][:size]

    def _block(self, number: int, wanted: int) -> bytes:
        if number in self._kept:
            self._kept.move_to_end(number)
            self._last = number
            return self._kept[number]
        if number not in self._passing:
            self._fetch(number, wanted)
        data = self._passing[number]
        if number != self._last and number in self._seen:
            self._keep(number)
        self._seen.add(number)
        self._last = number
        return data

    def _keep(self, number: int) -> None:
        self._kept[number] = self._passing.pop(number)
        if len(self._kept) > _KEPT_BLOCKS:
            self._kept.popitem(last=False)

    def _fetch(self, first: int, wanted: int) -> None:
        """Read a block and some behind it; none that is here already."""
        read = self._runs.pop(first, 0)
        most = min(max(wanted, read // 2, 1), _MOST_BLOCKS)
        after = first + 1
        while after < first + most and after not in self._kept and after not in self._passing:
            after += 1
        offset = first * BLOCK_BYTES
        data = self._exactly(offset, min(after * BLOCK_BYTES, self._size_bytes) - offset)
        for number in range(first, after):
            begin = (number - first) * BLOCK_BYTES
            if begin < len(data):
                self._passing[number] = data[begin : begin + BLOCK_BYTES]
                self._seen.discard(number)
        while len(self._passing) > _PASSING_BLOCKS:
            gone, _ = self._passing.popitem(last=False)
            self._seen.discard(gone)
        self._runs[after] = read + after - first
        if len(self._runs) > _MOST_RUNS:
            self._runs.popitem(last=False)

    def _exactly(self, offset: int, size: int) -> bytes:
        try:
            data = self._read_range(offset, size)
        except (OSError, EOFError) as error:
            raise MediaError(Reason.MISSING, f"bytes from {offset} on can't be read: {error}") from error
        if len(data) != size:
            raise MediaError(Reason.MISSING, f"{len(data)} of {size} bytes from {offset} on came")
        return data
