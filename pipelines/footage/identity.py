"""A file's or an object's bytes → its `video_id`, within a time that grows with how many they are.

In: a local path, read by a process that can be ended, or an object of an object store. Out: the hash of all
bytes. A file whose first bytes match no supported container is rejected before the rest is read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from pipelines.deadline import consume_with_deadline, run_with_deadline
from pipelines.ids import VideoHasher
from pipelines.measure import sandboxed
from pipelines.media.config import LimitConfig
from pipelines.media.sniff import HEAD_BYTES, sniff
from pipelines.sandbox import child


class ByteStream(Protocol):
    """An object in an object store: see `pipelines.footage.source_file.RemoteObject`."""

    @property
    def size_bytes(self) -> int: ...

    def read_range(self, offset: int, size: int) -> bytes: ...

    def iter_chunks(self) -> Iterator[bytes]: ...


def file_id(path: Path, size_bytes: int, limits: LimitConfig) -> str:
    """`video_id` of a file of this machine.

    Raises:
        MediaError: unreadable, if it is no container that we take; missing, timed_out.
    """
    return child.call(sandboxed.read_identity, path, limits=sandboxed.full_read_limits(limits, size_bytes))


def object_id(remote: ByteStream, limits: LimitConfig) -> str:
    """`video_id` of an object. Its server, not its format, decides how long that takes: a thread waits for
    it.

    Raises:
        MediaError: timed_out, and as `pieces`.
        OSError, EOFError: as `pieces`.
    """
    whole = VideoHasher()
    consume_with_deadline(
        remote.iter_chunks(), whole.update, sandboxed.full_read_limits(limits, remote.size_bytes).deadline_s
    )
    return whole.hexdigest()


def sniff_object(remote: ByteStream, limits: LimitConfig) -> None:
    """Raises MediaError, if an object begins like no container that we take; and as `object_id`."""
    size = min(HEAD_BYTES, remote.size_bytes)
    sniff(run_with_deadline(lambda: remote.read_range(0, size), limits.deadline_s) if size else b"")
