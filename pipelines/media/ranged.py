"""A remote file that is read by byte ranges; passed to a decoding child instead of a path.

In: a name, a size, and in the process that calls a function that reads a range. Out: a seekable file object,
also in the child, which has neither network nor keys: it asks its parent over a socket, for ranges of this
one file and for nothing else. A question is an offset and a size, the answer so many bytes; nothing on the
wire is interpreted further.
"""

import io
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

from pipelines.errors import MediaError, Reason
from pipelines.media.open_regular import regular_file, why_no_file
from pipelines.storage.read_ahead import ReadAhead, ReadRange

_QUESTION = struct.Struct("<QQ")  # offset, size
_MOST_BYTES = 1024**2  # of one answer: what the parent holds for a child that does not take it
_SMALL_READS = 16 * 1024  # of one who looks at boxes; FFmpeg has a buffer of its own

_wire: socket.socket | None = None  # to the parent, in a child that was handed a file


class RangedFile:
    """A remote file with random access; each read is a request. Pickles as its name and size."""

    def __init__(self, name: str, size_bytes: int, read: Callable[[int, int], bytes]):
        """read: (offset, size) → so many bytes, fewer only at the end; MediaError if they can't be had."""
        self.name, self.size_bytes, self._read = name, size_bytes, read

    def read(self, offset: int, size: int) -> bytes:
        """The bytes from `offset` on, fewer than `size` only at the end.

        Raises:
            MediaError: missing.
        """
        return self._read(offset, size)

    def open(self) -> "RangeReader":
        """Everything in it as a file object, without a buffer."""
        return RangeReader(self)

    def __reduce__(self) -> tuple[Callable[..., "RangedFile"], tuple[str, int]]:
        return _handed, (self.name, self.size_bytes)

    def __repr__(self) -> str:
        return f"RangedFile({self.name!r}, {self.size_bytes})"


File = Path | RangedFile


def read_by_ranges(name: str, size_bytes: int, read_range: ReadRange) -> RangedFile:
    """A file behind a function that reads its ranges; what is read is kept for a while.

    Args:
        read_range: (offset, size) → exactly so many bytes; MediaError, OSError or EOFError if it can't,
        retries included.
    """
    return RangedFile(name, size_bytes, ReadAhead(read_range, size_bytes).read)


def size_of(file: File) -> int:
    """Bytes in a file.

    Raises:
        MediaError: missing; unreadable, if it is no regular file.
    """
    if isinstance(file, RangedFile):
        return file.size_bytes
    try:
        status = file.stat()
    except OSError as error:
        raise MediaError(Reason.MISSING, error.strerror or type(error).__name__) from error
    if why := why_no_file(status):
        raise MediaError(Reason.UNREADABLE, why)
    return status.st_size


def open_file(file: File) -> BinaryIO:
    """A file for a few small reads.

    Raises:
        MediaError: missing; unreadable, if it is no regular file.
    """
    return (
        io.BufferedReader(file.open(), _SMALL_READS) if isinstance(file, RangedFile) else regular_file(file)
    )


class RangeReader(io.RawIOBase):
    """A position in a ranged file."""

    def __init__(self, file: RangedFile):
        super().__init__()
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.size_bytes}[whence]
        if base + offset < 0:
            raise OSError(f"seek to {base + offset}: before the beginning of {self._file.name}")
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._file.size_bytes - self._at)
        data = self._file.read(self._at, left if size is None or size < 0 else min(size, left))
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def set_range_socket(descriptor: int) -> None:
    """In a child: set the socket over which unpickled RangedFiles request their bytes."""
    global _wire
    _wire = socket.socket(fileno=descriptor)


def _handed(name: str, size_bytes: int) -> RangedFile:
    return RangedFile(
        name, size_bytes, lambda offset, size: _ask(offset, max(0, min(size, size_bytes - offset)))
    )


def _ask(offset: int, size: int) -> bytes:
    """Bytes from the parent. If it can't get them it ends this process: there is no answer that says so."""
    if _wire is None:
        raise RuntimeError(
            "a file that is read by ranges was sent to a process that was not handed a socket for it"
        )
    data, filled = bytearray(size), 0
    while filled < size:
        wanted = min(size - filled, _MOST_BYTES)
        _wire.sendall(_QUESTION.pack(offset + filled, wanted))
        into = memoryview(data)[filled : filled + wanted]
        while into:
            received = _wire.recv_into(into)
            if not received:
                raise OSError("the process that fetches the file's bytes has gone")
            into = into[received:]
        filled += wanted
    return bytes(data)


class RangeServer:
    """The parent's end: serves a child's range requests for one file. The child is untrusted: it can't read
    other files, block the parent, or queue more than one reply.
    """

    def __init__(self, file: RangedFile):
        self._file = file
        self.size_bytes = file.size_bytes
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self._question = bytearray()
        self._answer = memoryview(b"")
        self.asked_bytes = 0

    @property
    def has_pending_reply(self) -> bool:
        """Whether the child has yet to take an answer; else it may ask."""
        return bool(self._answer)

    def serve_once(self) -> float | None:
        """Send or receive what can be sent or received now: seconds it took to fetch bytes, None if the child
        hung up.

        Raises:
            MediaError: missing, if bytes can't be had; crashed, if the child asks for what is not in the
            file.
        """
        try:
            if self._answer:
                self._answer = self._answer[self.ours.send(self._answer) :]
                return 0.0
            received = self.ours.recv(_QUESTION.size - len(self._question))
        except BlockingIOError:
            return 0.0
        except ConnectionError:
            return None
        self._question += received
        if len(self._question) < _QUESTION.size:
            return 0.0 if received else None
        offset, size = _QUESTION.unpack(self._question)
        self._question.clear()
        if not 0 < size <= min(_MOST_BYTES, self._file.size_bytes - offset):
            raise MediaError(
                Reason.CRASHED, f"its process asked for {size} bytes at {offset}, which are not in the file"
            )
        self.asked_bytes += size
        began = monotonic()
        self._answer = memoryview(self._file.read(offset, size))
        return monotonic() - began

    def close(self) -> None:
        for end in (self.ours, self.theirs):
            with suppress(OSError):
                end.close()
