"""What a program asks of the disk, in order: bytes and names that are put on it, names that are given, names
that go."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

SYNC, NAME, REMOVED = "sync", "name", "gone"
Event = tuple[str, str, str]


@contextmanager
def record_events() -> Iterator[list[Event]]:
    """(what, path, new path) of all that happens in a block of this process; everything does happen."""
    events: list[Event] = []
    real = {name: getattr(os, name) for name in ("fsync", "replace", "rename", "link", "unlink")}
    rmtree = shutil.rmtree

    def path(name: Any, handle: int | None) -> str:
        return _place(name) if handle is None else f"{os.readlink(f'/proc/self/fd/{handle}')}/{name}"

    def fsync(handle: Any) -> None:
        number = handle if isinstance(handle, int) else handle.fileno()
        real["fsync"](number)
        events.append((SYNC, os.path.realpath(f"/proc/self/fd/{number}"), ""))

    def naming(how: str) -> Any:
        def name(src: Any, dst: Any, **also: Any) -> None:
            event = (NAME, path(src, also.get("src_dir_fd")), path(dst, also.get("dst_dir_fd")))
            real[how](src, dst, **also)
            events.append(event)

        return name

    def unlink(name: Any, **also: Any) -> None:
        where = path(name, also.get("dir_fd"))
        real["unlink"](name, **also)
        events.append((REMOVED, where, ""))

    def remove_tree(name: Any, *args: Any, **also: Any) -> None:
        where = path(name, also.get("dir_fd"))
        with mock.patch.object(os, "unlink", real["unlink"]):
            rmtree(name, *args, **also)
        events.append((REMOVED, where, ""))

    with (
        mock.patch.object(os, "fsync", fsync),
        mock.patch.object(os, "replace", naming("replace")),
        mock.patch.object(os, "rename", naming("rename")),
        mock.patch.object(os, "link", naming("link")),
        mock.patch.object(os, "unlink", unlink),
        mock.patch.object(shutil, "rmtree", remove_tree),
    ):
        yield events


def check_durable(events: list[Event], name: Path, held: tuple[str, ...] = ()) -> int:
    """What has a name now was on the disk before, and the name is, too. Returns when: the number of the last
    event of it.

    Args:
        held: names of files in it, if it is a folder.
    """
    where = _place(name)
    at, (_, old, _) = next(
        (i, event) for i, event in enumerate(events) if event[0] == NAME and event[2] == where
    )
    for one in (old, *(f"{old}/{file}" for file in held)):
        assert (SYNC, one, "") in events[:at], f"{one} was not on the disk when it was named {where}"
    folder = (SYNC, os.path.dirname(where), "")
    assert folder in events[at:], f"the name {where} was not on the disk"
    return at + events[at:].index(folder)


def _place(path: Any) -> str:
    """Where a name is, also of a link."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
