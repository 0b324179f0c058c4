"""Atomic and durable file writes: temporary file, fsync, rename.

In: a path and what is to be in it. Out: the file in its place, whole or not at all, also after the power was
cut: its bytes are on the disk before it has its name, and its name before the call returns.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """A text file in UTF-8, in place of what was there."""
    atomic_write(path, lambda new: new.write_bytes(text.encode()))


def write_bytes(path: Path, data: bytes) -> None:
    """A file, in place of what was there."""
    atomic_write(path, lambda new: new.write_bytes(data))


def atomic_write(path: Path, write: Callable[[Path], Any]) -> None:
    """Replace a file atomically; a link is replaced itself, not its target.

    Args:
        write: fills a new temporary file beside the path.
    """
    new = _new_beside(path)
    try:
        write(new)
        sync_file(new)
        os.replace(new, path)
    except BaseException:
        with suppress(FileNotFoundError):
            new.unlink()
        raise
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Return once a file's bytes are on the disk."""
    _sync(path, os.O_RDONLY | os.O_NOFOLLOW)


def sync_folder(path: Path) -> None:
    """Return once the names in a folder are on the disk: a file that is renamed or linked is durable only
    then."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def sync_handle(handle: int) -> None:
    """The same of what is open."""
    os.fsync(handle)
    if sys.platform == "darwin":  # there fsync ends in the disk's own cache
        import fcntl

        with suppress(OSError):
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags | os.O_CLOEXEC)
    try:
        sync_handle(handle)
    finally:
        os.close(handle)


def _new_beside(path: Path) -> Path:
    """A new empty file whose name nobody could foresee, with the rights that the umask gives: of two writers
    with one process number, in two containers, each has its own, and no link is waiting there."""
    while True:
        new = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")
        try:
            os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        except FileExistsError:
            continue
        return new
