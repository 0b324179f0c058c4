"""Where a dataset lives: named immutable objects under one URI.

In: keys like `index/3f….parquet` and bytes or files. Out: the same bytes, whole or not at all. Everything of a dataset
goes through a `Store`, so an object store drops in beside the local one. Publishing is *create if absent*: of two
writers of one key exactly one succeeds and the other learns it.
"""

import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pipelines.drill import boundary
from pipelines.durable import sync_file
from pipelines.storage.beneath import Beneath, Found, LeadsOutError, Stray
from pipelines.storage.s3 import is_s3

_SCRATCH, _SCRATCH_PREFIX = ".scratch", "rushes-"
_OF_SCRATCH = re.compile(r"(rushes-|tmp)[a-z0-9_]{8}")  # tmp: of earlier versions
_LONGEST_KEY = 1024  # as S3 has it
_COPIED_BYTES = 4 * 1024**2


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a store, as a listing tells of it; `modified_s` is unix time. `linked`: a link is it or leads to it, so that
    it has another name in the store, too.
    """

    key: str
    size_bytes: int
    modified_s: float
    linked: bool = False


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

    def strays(self, prefix: str) -> Iterator[tuple[str, str]]:
        """What lies there and is no object, such as a link that leads out of the store: its name, and what it is."""

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens if it is not there. Only for what no reader can look for any more."""

    def abandoned(self, older_than_s: float) -> Iterator[Entry]:
        """Work in progress that was left by a process that died: nothing in it has changed for so many seconds."""

    def strange_scratch(self) -> Iterator[str]:
        """What lies where work in progress does, and is none."""

    def discard(self, entry: Entry) -> None:
        """Remove what `abandoned` found; nothing happens if it is gone by now."""

    def scratch(self) -> AbstractContextManager[Path]:
        """A local folder for work in progress, removed at the end; files in it may publish without a copy."""


def checked_key(key: str) -> PurePosixPath:
    """A key as a relative path.

    Raises:
        ValueError: it would lead outside of the dataset, or names nothing. Keys come out of manifests and rows, which anybody may
            have written.
    """
    if not is_key(key):
        raise ValueError(f"{key!r} is no key of a dataset")
    return PurePosixPath(key)


def is_key(key: object) -> bool:
    """Whether something is a relative path without `..`, in one way of writing only."""
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_KEY or "\0" in key or key.startswith("/"):
        return False
    return ".." not in key.split("/") and str(PurePosixPath(key)) == key


def checked_prefix(prefix: str) -> str:
    """A folder's key with the `/` behind it, or nothing for all. Raises ValueError as `checked_key`."""
    if prefix:
        checked_key(prefix.removesuffix("/"))
    return prefix


def check_bytes(key: str, uri: str, size_bytes: int, most_bytes: int | None) -> None:
    """Raises ValueError if an object has more bytes than are read of its kind."""
    if most_bytes is not None and size_bytes > most_bytes:
        raise ValueError(f"{key} of {uri} has {size_bytes:,} bytes, and at most {most_bytes:,} are read of its kind")


class LocalStore:
    """Objects are files under a folder. Publishing: temporary file, fsync, link (which never replaces).

    No link leads out: through one whose target is not beneath the folder nothing is read, written, listed or removed.

    Raises, whatever is asked: LeadsOutError, naming the link.
    """

    def __init__(self, root: Path):
        self.root = root.absolute()
        self.uri = str(self.root)
        self._beneath = Beneath(self.root)

    def put_new(self, key: str, content: bytes | Path) -> bool:
        checked_key(key)
        if self._beneath.exists(key):
            return False
        with self.scratch() as folder:
            file = folder / "object" if isinstance(content, bytes) else content
            if isinstance(content, bytes):
                file.write_bytes(content)
            elif (self.root / _SCRATCH) not in content.parents:
                file = Path(shutil.copyfile(content, folder / "object"))
            sync_file(file)
            boundary("object:written")
            new = self._beneath.link(file, key)
            if new:
                boundary("object:linked")
            return new

    def exists(self, key: str) -> bool:
        checked_key(key)
        return self._beneath.exists(key)

    def read(self, key: str, most_bytes: int | None = None) -> bytes:
        checked_key(key)
        with self._beneath.open(key) as file:
            check_bytes(key, self.uri, os.fstat(file.fileno()).st_size, most_bytes)
            return file.read()

    def read_range(self, key: str, offset: int, size: int) -> bytes:
        checked_key(key)
        with self._beneath.open(key) as file:
            there = max(os.fstat(file.fileno()).st_size - offset, 0)
            if min(offset, size) < 0:
                raise ValueError(f"{key} in {self.uri} has no offset {offset} and no size {size}")
            file.seek(offset)
            data = file.read(min(size, there))  # whoever says how much there is can be wrong by terabytes
        if len(data) != size:
            raise EOFError(f"{key} in {self.uri} ends {size - len(data)} bytes before offset {offset} + size {size}")
        return data

    def fetch(self, key: str, path: Path) -> None:
        checked_key(key)
        with self._beneath.open(key) as file, path.open("wb") as out:
            shutil.copyfileobj(file, out, _COPIED_BYTES)

    def list(self, prefix: str) -> Iterator[str]:
        return (entry.key for entry in self.entries(prefix))

    def entries(self, prefix: str) -> Iterator[Entry]:
        found = (item for item in self._walk(prefix) if isinstance(item, Found))
        for item in sorted(found, key=lambda item: item.key):
            yield Entry(item.key, item.size_bytes, item.modified_s, item.linked)

    def strays(self, prefix: str) -> Iterator[tuple[str, str]]:
        found = (item for item in self._walk(prefix) if isinstance(item, Stray))
        yield from sorted((item.key, item.what) for item in found)

    def _walk(self, prefix: str) -> Iterator[Found | Stray]:
        inside = f"{_SCRATCH}/"
        return (item for item in self._beneath.walk(checked_prefix(prefix)) if not f"{item.key}/".startswith(inside))

    def delete(self, key: str) -> None:
        checked_key(key)
        self._beneath.remove(key)

    def new_folder(self, key: str, mode: int = 0o777) -> Path:
        """A folder that was not there, for files that are written one by one.

        Raises:
            FileExistsError: something is there.
        """
        checked_key(key)
        return self._beneath.make_folder(key, mode)

    def abandoned(self, older_than_s: float) -> Iterator[Entry]:
        before = time.time() - older_than_s
        for name, entry in self._in_scratch():
            if _OF_SCRATCH.fullmatch(name) and entry is not None and entry.modified_s < before:
                yield entry

    def strange_scratch(self) -> Iterator[str]:
        return (
            f"{_SCRATCH}/{name}"
            for name, entry in self._in_scratch()
            if entry is None or not _OF_SCRATCH.fullmatch(name)
        )

    def _in_scratch(self) -> Iterator[tuple[str, Entry | None]]:
        """What lies in there by its name; with None what is no folder, or has another disk in it."""
        try:
            names = self._beneath.names(_SCRATCH)
        except (FileNotFoundError, NotADirectoryError, LeadsOutError):
            return
        for name in sorted(names):
            try:
                about = self._beneath.tree(f"{_SCRATCH}/{name}")
            except FileNotFoundError:  # its owner lives and tidies up
                continue
            yield name, about and Entry(f"{_SCRATCH}/{name}", *about)

    def discard(self, entry: Entry) -> None:
        folder, _, name = entry.key.partition("/")
        assert folder == _SCRATCH, f"{entry.key} is no abandoned work"
        assert _OF_SCRATCH.fullmatch(name), f"{entry.key} is no abandoned work"
        self._beneath.remove_tree(entry.key)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        key = f"{_SCRATCH}/{_SCRATCH_PREFIX}{secrets.token_hex(4)}"
        try:
            yield self._beneath.make_folder(key, 0o700)
        finally:
            self._beneath.remove_tree(key)


def prove_room(folder: Path, size_bytes: int = 64 * 1024**2) -> None:
    """Write so many bytes, and throw them away: whether a disk is full is not taken from a process that a file may have taken over.

    Raises:
        OSError: they can't be written.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for _ in range(0, size_bytes, 1024**2):
                file.write(bytes(1024**2))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


def open_store(uri: str) -> Store:
    """The store behind a dataset's URI: a local path, `file:` URI, or `s3://bucket/prefix`. Nothing is asked yet.

    Raises:
        ValueError: the scheme is none that is known, or no bucket is named.
    """
    if is_s3(uri):
        from pipelines.storage.s3_store import S3Store

        return S3Store(uri)
    return LocalStore(local_path(uri, what="dataset"))


def local_path(uri: str, what: str) -> Path:
    """The local path that a URI names, where only a local one will do.

    Args:
        uri: a path, or a `file:` URI.
        what: the key the user typed, for the message.

    Raises:
        ValueError: the scheme is none that is known, the URI names another machine, or `~` no home folder that is known.
    """
    scheme, separator, _ = uri.partition("://")
    if not separator:
        try:
            return Path(uri).expanduser()
        except RuntimeError as error:
            raise ValueError(
                f"{what}={uri}: no home folder is known for {uri.partition('/')[0]}; write the path out"
            ) from error
    if scheme != "file":
        raise ValueError(
            f"{what}={uri}: scheme '{scheme}' is not known; use a local path, file:///path or s3://bucket/prefix"
        )
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise ValueError(f"{what}={uri}: it is no URI ({error}); use a local path or file:///path") from error
    if parts.netloc not in ("", "localhost"):
        raise ValueError(
            f"{what}={uri}: it names the machine '{parts.netloc}'; a file: URI is of this one: use file:///path"
        )
    if parts.query or parts.fragment:
        raise ValueError(f"{what}={uri}: a file: URI ends with its path; write '?' as %3F and '#' as %23 in a name")
    path = unquote(parts.path)
    if "\0" in path:
        raise ValueError(f"{what}={uri}: it holds a byte of zero, which no path may")
    return Path(path)
