"""Where a dataset lives: named immutable objects under one URI.

In: keys like `index/3f….parquet` and bytes or files. Out: the same bytes, whole or not at all. Everything of a dataset
goes through a `Store`, so an object store drops in beside the local one. Publishing is *create if absent*: of two
writers of one key exactly one succeeds and the other learns it.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pipelines.drill import boundary
from pipelines.s3 import is_s3

_SCRATCH = ".scratch"


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a store, as a listing tells of it; `modified_s` is unix time."""

    key: str
    size_bytes: int
    modified_s: float


class Store(Protocol):
    """Named immutable objects under one URI."""

    uri: str

    def put_new(self, key: str, content: bytes | Path) -> bool:
        """Publish an object, whole, if there is none of that name. False: there was one, and it stays."""

    def exists(self, key: str) -> bool: ...

    def read(self, key: str, most_bytes: int | None = None) -> bytes:
        """Raises FileNotFoundError; ValueError if there are more bytes than may be."""

    def read_range(self, key: str, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset`. Raises FileNotFoundError, EOFError."""

    def fetch(self, key: str, path: Path) -> None:
        """Write an object to a local path. Raises FileNotFoundError."""

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that start with `prefix` (a folder, ending in `/`, or all for ``), sorted."""

    def entries(self, prefix: str) -> Iterator[Entry]:
        """The same with sizes and times."""

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens if it is not there. Only for what no reader can look for any more."""

    def abandoned(self, older_than_s: float) -> Iterator[Entry]:
        """Work in progress that was left by a process that died: nothing in it has changed for so many seconds."""

    def discard(self, entry: Entry) -> None:
        """Remove what `abandoned` found; nothing happens if it is gone by now."""

    def scratch(self) -> AbstractContextManager[Path]:
        """A local folder for work in progress, removed at the end; files in it may publish without a copy."""


def checked_key(key: str) -> PurePosixPath:
    """A key as a relative path.

    Raises:
        ValueError: it would lead outside of the dataset, or names nothing.
    """
    relative = PurePosixPath(key)
    if not key or relative.is_absolute() or ".." in relative.parts:
        raise ValueError(f"{key!r} is no key of a dataset")
    return relative


def check_bytes(key: str, uri: str, size_bytes: int, most_bytes: int | None) -> None:
    """Raises ValueError if an object has more bytes than are read of its kind."""
    if most_bytes is not None and size_bytes > most_bytes:
        raise ValueError(f"{key} of {uri} has {size_bytes:,} bytes, and at most {most_bytes:,} are read of its kind")


class LocalStore:
    """Objects are files under a folder. Publishing: temporary file, fsync, `os.link` (which never replaces)."""

    def __init__(self, root: Path):
        self.root = root.absolute()
        self.uri = str(self.root)

    def _path(self, key: str) -> Path:
        return self.root / checked_key(key)

    def put_new(self, key: str, content: bytes | Path) -> bool:
        path = self._path(key)
        if path.exists():
            return False
        with self.scratch() as folder:
            file = folder / "object" if isinstance(content, bytes) else content
            if isinstance(content, bytes):
                file.write_bytes(content)
            elif (self.root / _SCRATCH) not in content.parents:
                file = Path(shutil.copyfile(content, folder / "object"))
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())
            boundary("object:written")
            return _link(file, path)

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def read(self, key: str, most_bytes: int | None = None) -> bytes:
        with self._path(key).open("rb") as file:
            check_bytes(key, self.uri, os.fstat(file.fileno()).st_size, most_bytes)
            return file.read()

    def read_range(self, key: str, offset: int, size: int) -> bytes:
        with self._path(key).open("rb") as file:
            there = max(os.fstat(file.fileno()).st_size - offset, 0)
            if min(offset, size) < 0:
                raise ValueError(f"{key} in {self.uri} has no offset {offset} and no size {size}")
            file.seek(offset)
            data = file.read(min(size, there))  # whoever says how much there is can be wrong by terabytes
        if len(data) != size:
            raise EOFError(f"{key} in {self.uri} ends {size - len(data)} bytes before offset {offset} + size {size}")
        return data

    def fetch(self, key: str, path: Path) -> None:
        shutil.copyfile(self._path(key), path)

    def list(self, prefix: str) -> Iterator[str]:
        folder = self.root / prefix
        keys = (p.relative_to(self.root).as_posix() for p in folder.rglob("*") if p.is_file())
        yield from sorted(key for key in keys if not key.startswith(f"{_SCRATCH}/"))

    def entries(self, prefix: str) -> Iterator[Entry]:
        for key in self.list(prefix):
            try:
                stat = (self.root / key).stat()
            except FileNotFoundError:  # deleted since it was listed
                continue
            yield Entry(key, stat.st_size, stat.st_mtime)

    def delete(self, key: str) -> None:
        path = self._path(key)
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self.root:
                break
            try:
                folder.rmdir()
            except OSError:  # not empty, or another process was first
                break

    def abandoned(self, older_than_s: float) -> Iterator[Entry]:
        base, before = self.root / _SCRATCH, time.time() - older_than_s
        for folder in sorted(base.iterdir()) if base.is_dir() else ():
            size, modified = 0, 0.0
            for path in (folder, *folder.rglob("*")):
                try:
                    stat = path.lstat()
                except FileNotFoundError:  # its owner lives and tidies up
                    continue
                size += stat.st_size if path.is_file() else 0
                modified = max(modified, stat.st_mtime)
            if modified and modified < before:
                yield Entry(f"{_SCRATCH}/{folder.name}", size, modified)

    def discard(self, entry: Entry) -> None:
        path = self._path(entry.key)
        assert path.parent == self.root / _SCRATCH, f"{entry.key} is no abandoned work"
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        base = self.root / _SCRATCH
        base.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=base) as folder:
            yield Path(folder)


def _link(file: Path, path: Path) -> bool:
    """Give a finished file its name, if that is free. A folder that a `delete` has just removed is made again."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, path)
        except FileExistsError:
            return False
        except FileNotFoundError:
            if not file.exists():
                raise
        else:
            break
    boundary("object:linked")
    with suppress(FileNotFoundError):  # deleted again by now, folder and all
        _sync_folder(path.parent)
    return True


def _sync_folder(folder: Path) -> None:
    """A link is durable only once its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_store(uri: str) -> Store:
    """The store behind a dataset's URI: a local path, `file:` URI, or `s3://bucket/prefix`. Nothing is asked yet.

    Raises:
        ValueError: the scheme is none that is known, or no bucket is named.
    """
    if is_s3(uri):
        from pipelines.s3_store import S3Store

        return S3Store(uri)
    return LocalStore(local_path(uri, what="dataset"))


def local_path(uri: str, what: str) -> Path:
    """The local path that a URI names, where only a local one will do.

    Args:
        uri: a path, or a `file:` URI.
        what: the key the user typed, for the message.

    Raises:
        ValueError: the scheme is none that is known.
    """
    scheme, separator, _ = uri.partition("://")
    if not separator:
        return Path(uri).expanduser()
    if scheme != "file":
        raise ValueError(
            f"{what}={uri}: scheme '{scheme}' is not known; use a local path, file:///path or s3://bucket/prefix"
        )
    return Path(unquote(urlsplit(uri).path))
