"""Which files of some folders were opened, read, written or deleted meanwhile, as the kernel tells it
(inotify).

In: folders. Out: paths, by what was done. Nothing runs slower for it, unlike under strace; who did it isn't
told, so nobody else may touch the folders meanwhile. Linux only.
"""

import ctypes
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_EVENTS = {
    0x00000001: "read",
    0x00000002: "written to",
    0x00000004: "changed in its rights",
    0x00000020: "opened",
    0x00000100: "made",
    0x00000200: "deleted",
    0x00000040: "moved away",
    0x00000080: "moved here",
}
_IN_ISDIR, _IN_NONBLOCK = 0x40000000, 0o4000
_HEAD = struct.Struct("iIII")
_MOST_BYTES = 1 << 22


@contextmanager
def watched(folders: Iterable[Path]) -> Iterator[list[str]]:
    """A block during which folders and all below them are watched; the list is filled at its end: `opened
    /a/b`, …

    Raises:
        OSError: the kernel gives no watch.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(_IN_NONBLOCK)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "the kernel gives no inotify")
    seen: list[str] = []
    try:
        names = {}
        # all first: to look for them opens them
        for folder in [below for top in folders for below in _folders(top)]:
            number = libc.inotify_add_watch(descriptor, os.fsencode(folder), sum(_EVENTS))
            if number < 0:
                raise OSError(ctypes.get_errno(), f"the kernel doesn't watch {folder}")
            names[number] = folder
        yield seen
        seen += sorted(set(_read(descriptor, names)))
    finally:
        os.close(descriptor)


def _folders(top: Path) -> Iterator[Path]:
    for base, _, _ in os.walk(top):
        yield Path(base)


def _read(descriptor: int, names: dict[int, Path]) -> Iterator[str]:
    while True:
        try:
            data = os.read(descriptor, _MOST_BYTES)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            number, mask, _, length = _HEAD.unpack_from(data, at)
            name = data[at + _HEAD.size : at + _HEAD.size + length].rstrip(b"\0")
            at += _HEAD.size + length
            if number not in names:  # more happened than the kernel keeps
                yield "more than can be told"
                continue
            path = names[number] / os.fsdecode(name) if name else names[number]
            yield from (f"{what} {path}" for bit, what in _EVENTS.items() if mask & bit)
