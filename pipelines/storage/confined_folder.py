"""File access confined to a folder: no link is followed out of it.

In: a folder, and names below it, of which any may be a link that somebody else has put there, also while we
look. Out: files to read, names that are given, taken away or listed: all of it beneath the folder, whatever
is swapped meanwhile. Links whose target is beneath the folder are followed; the folder itself may be reached
through any link, since the user named it.

Every step is taken from an open handle of the folder before it and follows no link by itself, so there is no
moment between looking and doing (openat2 with RESOLVE_BENEATH does the same, where it can be called).
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar

from pipelines.storage.handle_path import HandlePath, LeadsOutError, inode_of, kind_of, mode_of

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO would be waited for
_DEEPEST = 16  # folders in one another: a dataset has five, and each costs open handles
_GONE_BETWEEN = 100  # times that a folder may be removed while something is put into it

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A regular file. `linked`: a link is it, or is on the way to it; so it has another name, too."""

    key: str
    size_bytes: int
    modified_s: float
    linked: bool


@dataclass(frozen=True, slots=True)
class StrayEntry:
    """Something that is no regular file beneath the folder, and what it is."""

    key: str
    what: str


class ConfinedFolder:
    """What is beneath a folder. Keys are relative paths without `..`.

    Raises, whatever is asked: LeadsOutError, if the way to it leads out.
    """

    def __init__(self, root: Path):
        self._root = root

    def open(self, key: str) -> BinaryIO:
        """A file, to be read.

        Raises:
            FileNotFoundError: there is none.
            PermissionError: it is no regular file.
        """

        def opened(handle: int, name: str) -> int:
            mode = mode_of(handle, name)
            if not stat.S_ISREG(mode):  # a device may do something for being opened
                raise PermissionError(
                    f"{self._root / key} is {kind_of(mode)}, not a regular file, and is not opened"
                )
            return os.open(name, _READ, dir_fd=handle)

        handle = self._reach(key, opened)
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):  # by now
            os.close(handle)
            raise PermissionError(
                f"{self._root / key} is {kind_of(mode)}, not a regular file, and is not opened"
            )
        os.set_blocking(handle, True)
        return os.fdopen(handle, "rb")

    def exists(self, key: str) -> bool:
        """Whether there is a regular file."""

        try:
            return stat.S_ISREG(self._reach(key, mode_of))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def link(self, file: Path, key: str) -> bool:
        """Give a finished file a name, if that is free, for good. Folders on the way are made; one that is
        removed meanwhile, again."""
        *folders, name = PurePosixPath(key).parts
        for _ in range(_GONE_BETWEEN):
            try:
                with self._naming(key), HandlePath(self._root, make=True) as way:
                    way.go(folders, make=True)
                    os.link(file, name, dst_dir_fd=way.here, follow_symlinks=False)
                    way.sync()
            except FileExistsError:
                return False
            except FileNotFoundError:
                if not file.exists():
                    raise
            else:
                return True
        raise OSError(errno.EAGAIN, "its folder is removed again and again", str(self._root / key))

    def remove(self, key: str) -> None:
        """Take a name away, and folders that are empty then; nothing happens if there is none. Of a link, the
        link itself."""
        *folders, name = PurePosixPath(key).parts
        try:
            with self._naming(key), HandlePath(self._root) as way:
                way.go(folders)
                os.unlink(name, dir_fd=way.here)
                way.remove_empty()
        except (FileNotFoundError, NotADirectoryError):
            return

    def remove_tree(self, key: str) -> None:
        """Remove a folder with all that is in it; through no link, and nothing happens if it is gone."""
        *folders, name = PurePosixPath(key).parts
        try:
            with self._naming(key), HandlePath(self._root) as way:
                way.go(folders)
                shutil.rmtree(name, dir_fd=way.here)
        except (FileNotFoundError, NotADirectoryError):
            return

    def names(self, key: str) -> list[str]:
        """Of everything in a folder."""
        with HandlePath(self._root) as way:
            way.go(PurePosixPath(key).parts)
            return way.names()

    def tree(self, key: str) -> tuple[int, float] | None:
        """Total bytes and latest modification time of a folder tree. None if the path is not a folder (a link
        is not), crosses a file system, or is nested too deeply.
        """
        *folders, name = PurePosixPath(key).parts
        with HandlePath(self._root) as way:
            way.go(folders)
            about = os.stat(name, dir_fd=way.here, follow_symlinks=False)
            size, modified = 0, about.st_mtime
            if not stat.S_ISDIR(about.st_mode):
                return None
            for path, inner, files, handle in os.fwalk(name, dir_fd=way.here, follow_symlinks=False):
                if os.fstat(handle).st_dev != about.st_dev or path.count("/") > _DEEPEST:
                    return None
                for inside in (*inner, *files):
                    try:
                        one = os.stat(inside, dir_fd=handle, follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    size += one.st_size if stat.S_ISREG(one.st_mode) else 0
                    modified = max(modified, one.st_mtime)
        return size, modified

    def make_folder(self, key: str, mode: int = 0o777) -> Path:
        """A new folder. Those on the way are made if they are not there.

        Raises:
            FileExistsError: something has that name.
        """
        *folders, name = PurePosixPath(key).parts
        with self._naming(key), HandlePath(self._root, make=True) as way:
            way.go(folders, make=True)
            os.mkdir(name, mode, dir_fd=way.here)
            way.sync()
        return self._root / key

    def walk(self, prefix: str = "") -> Iterator[FoundFile | StrayEntry]:
        """Everything below a folder, by its names, in no order: regular files, and what is none.

        Links to files and folders that are beneath are followed, a folder of many links once.
        """
        try:
            with self._naming(prefix), HandlePath(self._root) as way:
                way.go(PurePosixPath(prefix).parts)
                yield from self._walk(way, prefix.rstrip("/"), way.linked, frozenset(), set())
        except (FileNotFoundError, NotADirectoryError):
            return
        except LeadsOutError as error:
            yield StrayEntry(prefix.rstrip("/"), str(error))

    def _walk(
        self,
        way: HandlePath,
        prefix: str,
        linked: bool,
        above: frozenset[tuple[int, int]],
        through: set[tuple[int, int]],
    ) -> Iterator[FoundFile | StrayEntry]:
        above |= {inode_of(os.fstat(way.here))}
        for name in way.names():
            key = f"{prefix}/{name}" if prefix else name
            try:
                about = os.stat(name, dir_fd=way.here, follow_symlinks=False)
                if stat.S_ISREG(about.st_mode):
                    yield FoundFile(key, about.st_size, about.st_mtime, linked)
                elif stat.S_ISDIR(about.st_mode) and len(above) > _DEEPEST:
                    yield StrayEntry(key, f"a folder below {_DEEPEST} others")
                elif stat.S_ISDIR(about.st_mode):
                    with way.copy() as below:
                        below.go((name,))
                        yield from self._walk(below, key, linked or below.linked, above, through)
                elif stat.S_ISLNK(about.st_mode):
                    yield from self._through(way, name, key, above, through)
                else:
                    yield StrayEntry(key, kind_of(about.st_mode))
            except (FileNotFoundError, NotADirectoryError):  # removed since the folder was read
                continue
            except LeadsOutError as error:
                yield StrayEntry(key, str(error))
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EPERM, errno.ELOOP):
                    raise
                yield StrayEntry(key, os.strerror(error.errno))

    def _through(
        self,
        way: HandlePath,
        name: str,
        key: str,
        above: frozenset[tuple[int, int]],
        through: set[tuple[int, int]],
    ) -> Iterator[FoundFile | StrayEntry]:
        with way.copy() as below:
            try:
                last, about = below.stat(name)
            except (FileNotFoundError, NotADirectoryError):
                yield StrayEntry(key, "a link to nothing")
                return
            if stat.S_ISREG(about.st_mode):
                yield FoundFile(key, about.st_size, about.st_mtime, linked=True)
            elif not stat.S_ISDIR(about.st_mode):
                yield StrayEntry(key, f"a link to {kind_of(about.st_mode)}")
            elif (
                (identity := inode_of(about)) not in above
                and identity not in through
                and len(above) <= _DEEPEST
            ):
                through.add(identity)
                below.go((last,))
                yield from self._walk(below, key, True, above, through)

    def _reach(self, key: str, do: Callable[[int, str], T]) -> T:
        with self._naming(key), HandlePath(self._root) as way:
            return way.reach(PurePosixPath(key).parts, do)

    @contextmanager
    def _naming(self, key: str) -> Iterator[None]:
        """Errors name the whole path, where a step only knows the name in its folder."""
        try:
            yield
        except OSError as error:
            if error.errno is None:
                raise
            raise OSError(error.errno, error.strerror, str(self._root / key)) from error
