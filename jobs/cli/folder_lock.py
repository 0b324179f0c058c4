"""An output folder that a run locks while it works.

In: what `out=` names. Out: the folder, made if it was not there, with a lock on it. One that is there already
may be anybody's: of somebody else, or with links in it that lead elsewhere (a run that was downloaded), it
would decide what is written over.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from jobs.cli.file_lock import LockedError, acquire_lock

_LOCK = ".run.lock"
_PATIENCE_S = 1.0  # for the process before this one, if that was just killed
_DEPTH = 4  # of folders in a run's that are written into: export/vae is one
_DATASET = "dataset"  # a workflow's, which sees to its own links

_held: dict[Path, int | None] = {}


def lock_folder(folder: Path) -> Path:
    """Make or take a folder, and hold it until `unlock_folder`.

    Raises:
        ValueError: another run holds it.
        PermissionError: it is a link, belongs to somebody else, can be written to by everybody, or links in
        it lead out.
        NotADirectoryError: it is none.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o755)
    except FileExistsError:
        _check(folder)
    path = folder.absolute()
    if path in _held:  # by a run of this process, which this one goes on
        return folder
    try:
        _held[path] = acquire_lock(path / _LOCK, _PATIENCE_S)
    except LockedError as error:
        raise ValueError(
            f"another run writes into {folder}; wait until it ends, or give another folder"
        ) from error
    return folder


def unlock_folder(folder: Path) -> None:
    """Unlock the folder; does nothing if it is not locked."""
    lock = _held.pop(folder.absolute(), None)
    if lock is not None:
        os.close(lock)


def _check(folder: Path) -> None:
    about = folder.lstat()
    if stat.S_ISLNK(about.st_mode):
        raise PermissionError(
            f"{folder} is a link to {os.readlink(folder)}, and a run writes through none; give that folder "
            "itself"
        )
    if not stat.S_ISDIR(about.st_mode):
        raise NotADirectoryError(f"{folder} is no folder; give another")
    if about.st_uid != os.geteuid():
        raise PermissionError(
            f"{folder} belongs to somebody else, who could change what a run relies on; give another"
        )
    if about.st_mode & stat.S_IWOTH:
        raise PermissionError(
            f"{folder} can be written to by everybody; take that away (chmod o-w), or give another folder"
        )
    root = Path(os.path.realpath(folder))
    for link in _links(folder, _DEPTH, without=_DATASET):
        if not Path(os.path.realpath(link)).is_relative_to(root):
            raise PermissionError(
                f"{link} is a link to {os.readlink(link)}, out of the run's folder, where nothing is "
                "written; put what it leads to in its place, or give another folder"
            )


def _links(folder: str | Path, depth: int, without: str = "") -> list[str]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                found.append(entry.path)
            elif depth > 1 and entry.name != without and entry.is_dir():
                found += _links(entry.path, depth - 1)
    return found
