"""A source's URI → a file to work on: itself where it is local; elsewhere its ranges, or a copy that this
machine keeps.

In: a local path, or an object of an object store. Out: what everything in `pipelines.media` takes, for the
length of a block. An object is read by ranges if the middle of it can be read without the rest; else, and if
it is small, it is fetched whole, once per machine: its hash, header, units, captions and cuts all need it.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from pipelines.deadline import consume_with_deadline, run_with_deadline
from pipelines.errors import MediaError, Reason, is_host_error
from pipelines.footage.cache import FootageCache, node_cache
from pipelines.footage.identity import file_id, object_id, sniff_object
from pipelines.footage.listing import MEDIA_SUFFIXES, etag
from pipelines.footage.partial_reads import supports_partial_reads
from pipelines.measure import sandboxed
from pipelines.media.config import LimitConfig
from pipelines.media.ranged import File, RangedFile, read_by_ranges, size_of
from pipelines.storage.open_store import local_path

_SMALL_BYTES = 64 * 1024**2  # below, every unit would read most of it
_USUAL_LIMITS = LimitConfig()
_REMEMBERED = 2  # files per process whose index need not be read again for the next unit or clip


SourceVersion = tuple[int, str]
"""Size in bytes and ETag of a source when it was listed."""


class RemoteObject(Protocol):
    """An object in an object store."""

    @property
    def uri(self) -> str: ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def etag(self) -> str: ...

    def read_range(self, offset: int, size: int) -> bytes:
        """Exactly so many bytes, retries included. Raises MediaError, OSError or EOFError, also if it is
        another by now."""

    def iter_chunks(self) -> Iterator[bytes]:
        """All of it in order; raises the same."""


@contextmanager
def source_file(
    uri: str, expected_version: SourceVersion | None = None, limits: LimitConfig = _USUAL_LIMITS
) -> Iterator[File]:
    """A source for the length of a block.

    Args:
        expected_version: if given, what is done in the block counts only if the source is still that one at
        the block's end.
        limits: how long its disk or server may take.

    Raises:
        MediaError: missing, if it can't be had now, or has changed since it was listed; timed_out.
        ValueError: the scheme is none that is known.
    """
    from pipelines.storage import s3

    if s3.is_s3(uri):
        remote = _opened(uri)
        _check_same(uri, (remote.size_bytes, remote.etag), expected_version)
        with remote_file(remote, node_cache(), limits) as file:
            yield file  # whose reads are of this ETag only
        return
    path = local_path(uri, what="footage")
    try:
        yield path
    except Exception:
        _check_local(uri, path, expected_version, limits)
        raise
    _check_local(uri, path, expected_version, limits)


def _check_local(uri: str, path: Path, as_listed: SourceVersion | None, limits: LimitConfig) -> None:
    """A local file can be replaced while it is read; results and errors are then discarded."""
    if as_listed is not None:
        _check_same(uri, run_with_deadline(lambda: _now(path), limits.deadline_s), as_listed)


def _now(path: Path) -> SourceVersion:
    try:
        stat = path.stat()
    except OSError as error:
        raise _missing(error) from error
    return stat.st_size, etag(stat)


def _check_same(uri: str, now: SourceVersion, as_listed: SourceVersion | None) -> None:
    if as_listed is not None and now != tuple(as_listed):
        raise MediaError(
            Reason.MISSING, f"{uri} has changed since it was listed; the next run takes it as it is then"
        )


def read_video_id(
    uri: str, as_listed: SourceVersion | None = None, limits: LimitConfig = _USUAL_LIMITS
) -> str:
    """`video_id` of a source. What begins like no container that we take is refused at once; of all else
    every byte is read, once, by a process that can be ended.

    Args:
        as_listed, limits: see `source_file`.

    Raises:
        MediaError: unreadable, missing, timed_out.
        ValueError: the scheme is none that is known.
    """
    from pipelines.storage import s3

    if not s3.is_s3(uri):
        with source_file(uri, as_listed, limits) as path:
            size_bytes = (
                as_listed[0] if as_listed else run_with_deadline(lambda: size_of(path), limits.deadline_s)
            )
            assert isinstance(path, Path), "a file of this machine is read as one"
            return file_id(path, size_bytes, limits)
    remote = _opened(uri)
    _check_same(uri, (remote.size_bytes, remote.etag), as_listed)
    try:
        sniff_object(remote, limits)
        with remote_file(remote, node_cache(), limits) as file:
            return (
                file_id(file, remote.size_bytes, limits)
                if isinstance(file, Path)
                else object_id(remote, limits)
            )
    except (OSError, EOFError) as error:
        raise _missing(error) from error


def _opened(uri: str) -> RemoteObject:
    from pipelines.storage import s3

    try:
        return s3.open_object(uri)
    except OSError as error:
        raise _missing(error) from error


@contextmanager
def remote_file(
    remote: RemoteObject, cache: FootageCache, limits: LimitConfig = _USUAL_LIMITS
) -> Iterator[File]:
    """An object for the length of a block, by ranges or as a copy in the cache.

    Raises:
        MediaError: missing; timed_out, if it does not come in time.
    """
    deadline_s = sandboxed.full_read_limits(limits, remote.size_bytes).deadline_s
    ranged = None if remote.size_bytes <= _SMALL_BYTES else _remembered(remote)
    if ranged is not None and supports_partial_reads(ranged):
        yield ranged
        return

    def fetch(path: Path) -> None:
        try:
            with path.open("wb") as file:
                consume_with_deadline(remote.iter_chunks(), file.write, deadline_s)
        except (OSError, EOFError) as error:
            if is_host_error(error):
                raise
            raise _missing(error) from error

    suffix = PurePosixPath(remote.uri).suffix.lower()
    with cache.lease(
        _content(remote), remote.size_bytes, fetch, suffix if suffix in MEDIA_SUFFIXES else ""
    ) as path:
        yield path


_files: OrderedDict[str, RangedFile] = OrderedDict()
_remembering = threading.Lock()


def _remembered(remote: RemoteObject) -> RangedFile:
    """The same object for the same content, with what has been read of it."""
    content = _content(remote)
    with _remembering:
        if content not in _files:
            _files[content] = read_by_ranges(remote.uri, remote.size_bytes, remote.read_range)
        _files.move_to_end(content)
        if len(_files) > _REMEMBERED:
            _files.popitem(last=False)
        return _files[content]


def _content(remote: RemoteObject) -> str:
    return f"{remote.uri} {remote.etag} {remote.size_bytes}"


def _missing(error: OSError | EOFError) -> MediaError:
    return MediaError(Reason.MISSING, getattr(error, "strerror", None) or str(error) or type(error).__name__)
