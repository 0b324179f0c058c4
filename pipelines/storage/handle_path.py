"""A path that is walked handle by handle, beneath a folder: no step follows a link by itself.

In: a folder, and parts of names below it. Out: an open handle of where they lead, or what is there; an error
where a link leads out. Every step is taken from an open handle of the folder before it, so nothing that is
swapped meanwhile leads anywhere else.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pipelines.durable import sync_handle

_MOST_LINKS = 40  # of one way, as Linux has it
# A folder that is only passed need not be readable; where there is no O_PATH it must be.
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_IS_A_LINK = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)

T = TypeVar("T")


class LeadsOutError(PermissionError):
    """A link leads out of the folder."""


class HandlePath:
    """From a folder to one beneath it: an open handle of each on the way, which stays what it is whatever is
    renamed."""

    def __init__(self, root: Path, make: bool = False):
        if make:
            root.mkdir(parents=True, exist_ok=True)
        self._root = root
        self._handles = [os.open(root, _PASS)]  # through any link: the user named it
        self._names: list[str] = []
        self._left = _MOST_LINKS

    def copy(self) -> HandlePath:
        other = object.__new__(HandlePath)
        other._root, other._names, other._left = self._root, list(self._names), self._left
        other._handles = [os.dup(handle) for handle in self._handles]
        return other

    def __enter__(self) -> HandlePath:
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


def mode_of(handle: int, name: str) -> int:
    """Of something in a folder. Raises ELOOP if it is a link."""
    mode = os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return mode


def inode_of(about: os.stat_result) -> tuple[int, int]:
    return about.st_dev, about.st_ino


def kind_of(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((what for is_one, what in kinds if is_one(mode)), "a link")
