"""A folder → the files in it, each once, whatever links lead where.

In: a folder of this machine. Out: its regular files in order, by the names under which they are found; and a
row for what is none, or can't be followed: dead links, links back to where one is, folders that can't be
read, pipes and devices. A link is followed where it leads to a file or a folder that isn't found otherwise.
What begins with a dot is hidden, as the shell has it.
"""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Iterator
from pathlib import Path

from pipelines.errors import Reason
from pipelines.media.open_regular import why_no_file
from pipelines.records import Ignored, Missing

Identity = tuple[int, int]


def walk(root: Path, max_depth: int | None = None) -> list[Path | Ignored | Missing]:
    """All that is in a folder.

    Args:
        root: absolute.
        max_depth: of folders below `root`; None for all. 0 takes the files of `root` alone.
    """
    found: list[Path | Ignored | Missing] = []
    files: set[Identity] = set()
    folders: set[Identity] = set()
    links: list[tuple[Path, int]] = []
    waiting: list[tuple[Path, int]] = [(root, 0)]
    while waiting or links:
        if waiting:  # what is here itself, before any link to it
            folder, depth = waiting.pop()
            try:
                folders.add(_identity(folder.stat()))
            except OSError as error:  # in a folder that may be listed, but not entered
                found.append(_unreadable(folder, error))
                continue
            for entry in _entries(folder, found):
                path = folder / entry.name
                if entry.is_symlink():
                    links.append((path, depth))
                elif entry.is_dir(follow_symlinks=False):
                    waiting += [(path, depth + 1)] if max_depth is None or depth < max_depth else []
                else:
                    _take(path, files, found)
            continue
        links.sort(reverse=True)
        path, depth = links.pop()
        try:
            target = path.stat()
        except OSError as error:
            why = f"a link{_target(path)}, which can't be followed: {error.strerror}"
            found.append(Missing(str(path), "plan", Reason.MISSING, why))
            continue
        if not modes.S_ISDIR(target.st_mode):
            _take(path, files, found, target)
        elif _identity(target) in folders or _leads_back(path):
            found.append(
                Ignored(
                    str(path),
                    0,
                    f"a link to {os.readlink(path)}, a folder that is found otherwise or lies around it",
                )
            )
        elif max_depth is None or depth < max_depth:
            waiting.append((path, depth + 1))
    return sorted(found, key=_name)


def _take(path: Path, files: set[Identity], found: list, status: os.stat_result | None = None) -> None:
    """Add a file, or the reason why it is skipped; a file that was added before is not added again. `status`
    is that of a link's target."""
    linked = status is not None
    try:
        status = status or path.lstat()
    except OSError as error:  # gone since it was listed
        found.append(Missing(str(path), "plan", Reason.MISSING, error.strerror or type(error).__name__))
        return
    if why := why_no_file(status):
        found.append(Missing(str(path), "plan", Reason.UNREADABLE, why))
    elif linked and _identity(status) in files:
        found.append(
            Ignored(
                str(path), status.st_size, f"a link to {os.readlink(path)}, a file that is found otherwise"
            )
        )
    else:
        files.add(_identity(status))
        found.append(path)


def _entries(folder: Path, found: list) -> Iterator[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        found.append(_unreadable(folder, error))


def _unreadable(folder: Path, error: OSError) -> Missing:
    return Missing(
        str(folder),
        "plan",
        Reason.MISSING,
        f"the folder can't be read: {error.strerror or type(error).__name__}",
    )


def _target(link: Path) -> str:
    try:
        return f" to {os.readlink(link)}"
    except OSError:  # in a folder that may be listed, but not entered
        return ""


def _leads_back(link: Path) -> bool:
    """Whether a link leads to a folder that it lies in, itself or through other links."""
    target = link.stat()
    return any(
        os.path.samestat(target, parent.stat())
        for parent in (*link.parents, *Path(os.path.realpath(link.parent)).parents)
    )


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _name(found: Path | Ignored | Missing) -> str:
    return (
        str(found)
        if isinstance(found, Path)
        else found.uri
        if isinstance(found, Ignored)
        else found.source_uri
    )
