"""What a store is: named immutable objects under one URI.

In: keys like `index/3f….parquet` and bytes or files. Out: the same bytes, whole or not at all. Publishing is
*create if absent*: of two writers of one key exactly one succeeds and the other learns it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

_LONGEST_KEY = 1024  # as S3 has it


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a store, as a listing tells of it; `modified_s` is unix time. `linked`: a link is it or
    leads to it, so that it has another name in the store, too.
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
        """Entries that are not objects, such as a link out of the store: (name, description)."""

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens if it is not there. Only for what no reader can look for any
        more."""

    def abandoned(self, older_than_s: float) -> Iterator[Entry]:
        """Scratch folders and uploads of dead processes: unchanged for at least `older_than_s` seconds."""

    def stray_scratch(self) -> Iterator[str]:
        """Names of unknown entries in the scratch folder."""

    def discard(self, entry: Entry) -> None:
        """Remove what `abandoned` found; nothing happens if it is gone by now."""

    def scratch(self) -> AbstractContextManager[Path]:
        """A local folder for work in progress, removed at the end; files in it may publish without a copy."""


def checked_key(key: str) -> PurePosixPath:
    """A key as a relative path.

    Raises:
        ValueError: it would lead outside of the dataset, or names nothing. Keys come out of manifests and
            rows, which anybody may have written.
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
        raise ValueError(
            f"{key} of {uri} has {size_bytes:,} bytes, and at most {most_bytes:,} are read of its kind"
        )
