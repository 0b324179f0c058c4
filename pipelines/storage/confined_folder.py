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
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar

from pipelines.durable import sync_handle

_MOST_LINKS = 40  # of one way, as Linux has it
# A folder that is only passed need not be readable; where there is no O_PATH it must be.
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO would be waited for
_IS_A_LINK = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)
_DEEPEST = 16  # folders in one another: a dataset has five, and each costs open handles
_GONE_BETWEEN = 100  # times that a folder may be removed while something is put into it

T = TypeVar("T")


class LeadsOutError(PermissionError):
    """A link leads out of the folder."""


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
            mode = _mode_of(handle, name)
            if not stat.S_ISREG(mode):  # a device may do something for being opened
                raise PermissionError(
                    f"{self._root / key} is {_kind(mode)}, not a regular file, and is not opened"
                )
            return os.open(name, _READ, dir_fd=handle)

        handle = self._reach(key, opened)
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):  # by now
            os.close(handle)
            raise PermissionError(
                f"{self._root / key} is {_kind(mode)}, not a regular file, and is not opened"
            )
        os.set_blocking(handle, True)
        return os.fdopen(handle, "rb")

    def exists(self, key: str) -> bool:
        """Whether there is a regular file."""

        try:
            return stat.S_ISREG(self._reach(key, _mode_of))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def link(self, file: Path, key: str) -> bool:
        """Give a finished file a name, if that is free, for good. Folders on the way are made; one that is
        removed meanwhile, again."""
        *folders, name = PurePosixPath(key).parts
        for _ in range(_GONE_BETWEEN):
            try:
                with self._naming(key), _Way(self._root, make=True) as way:
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
            with self._naming(key), _Way(self._root) as way:
                way.go(folders)
                os.unlink(name, dir_fd=way.here)
                way.remove_empty()
        except (FileNotFoundError, NotADirectoryError):
            return

    def remove_tree(self, key: str) -> None:
        """Remove a folder with all that is in it; through no link, and nothing happens if it is gone."""
        *folders, name = PurePosixPath(key).parts
        try:
            with self._naming(key), _Way(self._root) as way:
                way.go(folders)
                shutil.rmtree(name, dir_fd=way.here)
        except (FileNotFoundError, NotADirectoryError):
            return

    def names(self, key: str) -> list[str]:
        """Of everything in a folder."""
        with _Way(self._root) as way:
            way.go(PurePosixPath(key).parts)
            return way.names()

    def tree(self, key: str) -> tuple[int, float] | None:
        """Total bytes and latest modification time of a folder tree. None if the path is not a folder (a link
        is not), crosses a file system, or is nested too deeply.
        """
        *folders, name = PurePosixPath(key).parts
        with _Way(self._root) as way:
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
        with self._naming(key), _Way(self._root, make=True) as way:
            way.go(folders, make=True)
            os.mkdir(name, mode, dir_fd=way.here)
            way.sync()
        return self._root / key

    def walk(self, prefix: str = "") -> Iterator[FoundFile | StrayEntry]:
        """Everything below a folder, by its names, in no order: regular files, and what is none.

        Links to files and folders that are beneath are followed, a folder of many links once.
        """
        try:
            with self._naming(prefix), _Way(self._root) as way:
                way.go(PurePosixPath(prefix).parts)
                yield from self._walk(way, prefix.rstrip("/"), way.linked, frozenset(), set())
        except (FileNotFoundError, NotADirectoryError):
            return
        except LeadsOutError as error:
            yield StrayEntry(prefix.rstrip("/"), str(error))

    def _walk(
        self,
        way: _Way,
        prefix: str,
        linked: bool,
        above: frozenset[tuple[int, int]],
        through: set[tuple[int, int]],
    ) -> Iterator[FoundFile | StrayEntry]:
        above |= {_identity(os.fstat(way.here))}
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
                    yield StrayEntry(key, _kind(about.st_mode))
            except (FileNotFoundError, NotADirectoryError):  # removed since the folder was read
                continue
            except LeadsOutError as error:
                yield StrayEntry(key, str(error))
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EPERM, errno.ELOOP):
                    raise
                yield StrayEntry(key, os.strerror(error.errno))

    def _through(
        self, way: _Way, name: str, key: str, above: frozenset[tuple[int, int]], through: set[tuple[int, int]]
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
                yield StrayEntry(key, f"a link to {_kind(about.st_mode)}")
            elif (
                (identity := _identity(about)) not in above
                and identity not in through
                and len(above) <= _DEEPEST
            ):
                through.add(identity)
                below.go((last,))
                yield from self._walk(below, key, True, above, through)

    def _reach(self, key: str, do: Callable[[int, str], T]) -> T:
        with self._naming(key), _Way(self._root) as way:
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


class _Way:
    """From a folder to one beneath it: an open handle of each on the way, which stays what it is whatever is
    renamed."""

    def __init__(self, root: Path, make: bool = False):
        if make:
            root.mkdir(parents=True, exist_ok=True)
        self._root = root
        self._handles = [os.open(root, _PASS)]  # through any link: the user named it
        self._names: list[str] = []
        self._left = _MOST_LINKS

    def copy(self) -> _Way:
        other = object.__new__(_Way)
        other._root, other._names, other._left = self._root, list(self._names), self._left
        other._handles = [os.dup(handle) for handle in self._handles]
        return other

    def __enter__(self) -> _Way:
        return self

    def __exit__(self, *error: object) -> None:
        while self._handles:
            os.close(self._handles.pop())

    @property
    def here(self) -> int:
        return self._handles[-1]

    @property
    def linked(self) -> bool:
        """Whether a link was followed."""
        return self._left < _MOST_LINKS

    def go(self, parts: Iterable[str], make: bool = False) -> None:
        """Into a folder below."""
        waiting = deque(parts)
        while waiting:
            self._step(waiting, make)

    def reach(self, parts: Iterable[str], do: Callable[[int, str], T]) -> T:
        """Do something with what is below, whose name may be a link.

        Args:
            do: gets a folder's handle and the name in it, and raises ELOOP if that is a link.
        """
        waiting = deque(parts)
        while True:
            while len(waiting) > 1:
                self._step(waiting, make=False)
            name = waiting.popleft() if waiting else "."
            if name == "..":
                self._up()
                continue
            try:
                return do(self.here, name)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.EMLINK) or (target := self._target(name)) is None:
                    raise
            self._turn(name, target, waiting)

    def stat(self, name: str) -> tuple[str, os.stat_result]:
        """What a link leads to: its name in the folder that this then has gone to, and what is there."""

        def looked(handle: int, last: str) -> tuple[str, os.stat_result]:
            about = os.stat(last, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISLNK(about.st_mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            return last, about

        return self.reach((name,), looked)

    def names(self) -> list[str]:
        """Of everything in the folder that this has led to."""
        handle = os.open(".", _LIST, dir_fd=self.here)
        try:
            return os.listdir(handle)
        finally:
            os.close(handle)

    def sync(self) -> None:
        """A name is there for good once its folder is on the disk."""
        try:
            handle = os.open(".", _LIST, dir_fd=self.here)
        except FileNotFoundError:  # removed again by now
            return
        try:
            sync_handle(handle)
        finally:
            os.close(handle)

    def remove_empty(self) -> None:
        """Remove the folder that this has led to, and those above it, as far as nothing is in them."""
        if self.linked:
            return
        for number in range(len(self._names) - 1, -1, -1):
            try:
                os.rmdir(self._names[number], dir_fd=self._handles[number])
            except OSError:  # not empty, or another process was first
                return

    def _step(self, waiting: deque[str], make: bool) -> None:
        name = waiting.popleft()
        if name in ("", "."):
            return
        if name == "..":
            self._up()
            return
        try:
            handle = os.open(name, _PASS | os.O_NOFOLLOW, dir_fd=self.here)
        except FileNotFoundError:
            if not make:
                raise
            self._make(name)
            waiting.appendleft(name)
            return
        except OSError as error:
            if error.errno not in _IS_A_LINK or (target := self._target(name)) is None:
                raise
            self._turn(name, target, waiting)
            return
        self._handles.append(handle)
        self._names.append(name)

    def _make(self, name: str) -> None:
        try:
            os.mkdir(name, dir_fd=self.here)
        except FileExistsError:  # by another
            return
        self.sync()

    def _up(self) -> None:
        if not self._names:
            raise LeadsOutError(f"a link in {self._root} leads out of it; nothing outside is read or written")
        os.close(self._handles.pop())
        self._names.pop()

    def _target(self, name: str) -> str | None:
        """Of a link; None if it is none."""
        try:
            return os.readlink(name, dir_fd=self.here)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return None
            raise

    def _turn(self, name: str, target: str, waiting: deque[str]) -> None:
        """Go where a link says, instead of the name that was it."""
        link = self._root.joinpath(*self._names, name)
        self._left -= 1
        if self._left < 0:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(link))
        path = PurePosixPath(target)
        if path.is_absolute():
            bases = (
                base for base in (self._root, Path(os.path.realpath(self._root))) if path.is_relative_to(base)
            )
            base = next(bases, None)
            if base is None:
                raise _leads_out(self._root, link, target)
            path = path.relative_to(base)
            while self._names:
                self._up()
        depth = len(self._names)
        for part in path.parts:  # of what a link says itself, so that it can be named
            depth += -1 if part == ".." else 1
            if depth < 0:
                raise _leads_out(self._root, link, target)
        waiting.extendleft(reversed(path.parts))


def _leads_out(root: Path, link: Path, target: str) -> LeadsOutError:
    return LeadsOutError(
        f"{link} is a link to {target}, out of {root}, where nothing is read, written or removed; put what "
        "it leads to in its place"
    )


def _mode_of(handle: int, name: str) -> int:
    """Of something in a folder. Raises ELOOP if it is a link."""
    mode = os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return mode


def _identity(about: os.stat_result) -> tuple[int, int]:
    return about.st_dev, about.st_ino


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((what for is_one, what in kinds if is_one(mode)), "a link")
