"""A source's URI → a file to work on: itself where it is local; elsewhere its ranges, or a copy that this machine keeps.

In: a local path, or an object of an object store. Out: what everything in `pipelines.media` takes, for the length of a
block. An object is read by ranges if the middle of it can be read without the rest; else, and if it is small, it is fetched
whole, once per machine: its hash, header, units, captions and cuts all need it.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from pipelines.errors import MediaError, Reason
from pipelines.footage import MEDIA_SUFFIXES, etag
from pipelines.footage_cache import FootageCache, node_cache
from pipelines.ids import video_id, video_id_of
from pipelines.media.partial import reads_in_part
from pipelines.media.ranged import File, RangedFile, read_by_ranges
from pipelines.store import local_path

_SMALL_BYTES = 64 * 1024**2  # below, every unit would read most of it
_REMEMBERED = 2  # files per process whose index need not be read again for the next unit or clip


AsListed = tuple[int, str]
"""Size in bytes and ETag of a source when it was listed."""


class Remote(Protocol):
    """An object in an object store."""

    uri: str
    size_bytes: int
    etag: str

    def read_range(self, offset: int, size: int) -> bytes:
        """Exactly so many bytes, retries included. Raises MediaError, OSError or EOFError, also if it is another by now."""

    def pieces(self) -> Iterator[bytes]:
        """All of it in order; raises the same."""

    def download(self, path: Path) -> None:
        """Write all of it to a path; raises the same."""


@contextmanager
def source_file(uri: str, as_listed: AsListed | None = None) -> Iterator[File]:
    """A source for the length of a block.

    Args:
        as_listed: if given, what is done in the block counts only if the source is still that one at the block's end.

    Raises:
        MediaError: missing, if it can't be had now, or has changed since it was listed.
        ValueError: the scheme is none that is known.
    """
    from pipelines import s3

    if s3.is_s3(uri):
        remote = _opened(uri)
        _check_same(uri, (remote.size_bytes, remote.etag), as_listed)
        with remote_file(remote, node_cache()) as file:
            yield file  # whose reads are of this ETag only
        return
    path = local_path(uri, what="footage")
    try:
        yield path
    except Exception:
        _check_local(uri, path, as_listed)
        raise
    _check_local(uri, path, as_listed)


def _check_local(uri: str, path: Path, as_listed: AsListed | None) -> None:
    """Nobody keeps a local file from being replaced meanwhile: then neither results nor errors are about it."""
    if as_listed is not None:
        _check_same(uri, _now(path), as_listed)


def _now(path: Path) -> AsListed:
    try:
        stat = path.stat()
    except OSError as error:
        raise _missing(error) from error
    return stat.st_size, etag(stat)


def _check_same(uri: str, now: AsListed, as_listed: AsListed | None) -> None:
    if as_listed is not None and now != tuple(as_listed):
        raise MediaError(Reason.MISSING, f"{uri} has changed since it was listed; the next run takes it as it is then")


def read_video_id(uri: str, as_listed: AsListed | None = None) -> str:
    """`video_id` of a source: all its bytes are read, once.

    Args:
        as_listed: see `source_file`.

    Raises:
        MediaError: missing.
        ValueError: the scheme is none that is known.
    """
    with source_file(uri, as_listed) as file:
        try:
            if isinstance(file, Path):
                return video_id(file)
            remote = _opened(uri)
            _check_same(uri, (remote.size_bytes, remote.etag), as_listed)
            return video_id_of(remote.pieces())
        except (OSError, EOFError) as error:
            raise _missing(error) from error


def _opened(uri: str) -> Remote:
    from pipelines import s3

    try:
        return s3.open_object(uri)
    except OSError as error:
        raise _missing(error) from error


@contextmanager
def remote_file(remote: Remote, cache: FootageCache) -> Iterator[File]:
    """An object for the length of a block, by ranges or as a copy in the cache.

    Raises:
        MediaError: missing.
    """
    ranged = None if remote.size_bytes <= _SMALL_BYTES else _remembered(remote)
    if ranged is not None and reads_in_part(ranged):
        yield ranged
        return

    def fetch(path: Path) -> None:
        try:
            remote.download(path)
        except (OSError, EOFError) as error:
            raise _missing(error) from error

    suffix = PurePosixPath(remote.uri).suffix.lower()
    with cache.held(_content(remote), remote.size_bytes, fetch, suffix if suffix in MEDIA_SUFFIXES else "") as path:
        yield path


_files: OrderedDict[str, RangedFile] = OrderedDict()
_remembering = threading.Lock()


def _remembered(remote: Remote) -> RangedFile:
    """The same object for the same content, with what has been read of it."""
    content = _content(remote)
    with _remembering:
        if content not in _files:
            _files[content] = read_by_ranges(remote.uri, remote.size_bytes, remote.read_range)
        _files.move_to_end(content)
        if len(_files) > _REMEMBERED:
            _files.popitem(last=False)
        return _files[content]


def _content(remote: Remote) -> str:
    return f"{remote.uri} {remote.etag} {remote.size_bytes}"


def _missing(error: OSError | EOFError) -> MediaError:
    return MediaError(Reason.MISSING, getattr(error, "strerror", None) or str(error) or type(error).__name__)
