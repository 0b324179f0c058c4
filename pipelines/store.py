"""Where a dataset lives: named immutable objects under one URI.

In: keys like `index/3f….parquet` and bytes or files. Out: the same bytes, whole or not at all. Everything of a dataset
goes through a `Store`, so an object store drops in beside the local one. Publishing is *create if absent*: of two
writers of one key exactly one succeeds and the other learns it.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit

_SCRATCH = ".scratch"


class Store(Protocol):
    """Named immutable objects under one URI."""

    uri: str

    def put_new(self, key: str, content: bytes | Path) -> bool:
        """Publish an object, whole, if there is none of that name. False: there was one, and it stays."""

    def exists(self, key: str) -> bool: ...

    def read(self, key: str) -> bytes:
        """Raises FileNotFoundError."""

    def read_range(self, key: str, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset`. Raises FileNotFoundError, EOFError."""

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that start with `prefix` (a folder, ending in `/`), sorted."""

    def scratch(self) -> "contextmanager[Path]":
        """A local folder for work in progress, removed at the end; files in it may publish without a copy."""


class LocalStore:
    """Objects are files under a folder. Publishing: temporary file, fsync, `os.link` (which never replaces)."""

    def __init__(self, root: Path):
        self.root = root.absolute()
        self.uri = str(self.root)

    def _path(self, key: str) -> Path:
        relative = PurePosixPath(key)
        if not key or relative.is_absolute() or ".." in relative.parts:
            raise ValueError(f"{key!r} is no key of a dataset")
        return self.root / relative

    def put_new(self, key: str, content: bytes | Path) -> bool:
        path = self._path(key)
        if path.exists():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.scratch() as folder:
            file = folder / "object" if isinstance(content, bytes) else content
            if isinstance(content, bytes):
                file.write_bytes(content)
            elif (self.root / _SCRATCH) not in content.parents:
                file = Path(shutil.copyfile(content, folder / "object"))
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())
            try:
                os.link(file, path)
            except FileExistsError:
                return False
        _sync_folder(path.parent)
        return True

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def read(self, key: str) -> bytes:
        return self._path(key).read_bytes()

    def read_range(self, key: str, offset: int, size: int) -> bytes:
        with self._path(key).open("rb") as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise EOFError(f"{key} in {self.uri} ends {size - len(data)} bytes before offset {offset} + size {size}")
        return data

    def list(self, prefix: str) -> Iterator[str]:
        folder = self.root / prefix
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            yield path.relative_to(self.root).as_posix()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        base = self.root / _SCRATCH
        base.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=base) as folder:
            yield Path(folder)


def _sync_folder(folder: Path) -> None:
    """A link is durable only once its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_store(uri: str) -> Store:
    """The store behind a dataset's URI: a local path or `file:` URI.

    Raises:
        ValueError: the scheme is none that is known.
    """
    return LocalStore(local_path(uri, what="dataset"))


@contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """Footage as a local file for the length of a block: the file itself where it is local already.

    Raises:
        ValueError: the scheme is none that is known.
    """
    yield local_path(uri, what="footage")


def local_path(uri: str, what: str) -> Path:
    """The local path that a URI names.

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
        raise ValueError(f"{what}={uri}: scheme '{scheme}' is not known; use a local path or file:///path")
    return Path(unquote(urlsplit(uri).path))
