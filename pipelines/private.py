"""Private folders for scratch files and caches inside a shared folder such as /tmp.

In: a path. Out: a folder that only this user can access, or an error. Without the check another user could
place a link or a folder there first, and control what is read and overwritten.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

_ALONE = 0o700


def private_folder(path: Path) -> Path:
    """A folder for us alone, which may be there already.

    Raises:
        PermissionError: it is a link or no folder, belongs to somebody else, or others may write into it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir(mode=_ALONE)
    handle = _opened(path)
    try:
        about = os.fstat(handle)
        if about.st_uid != os.geteuid():
            raise _refused(path, "belongs to somebody else")
        mode = stat.S_IMODE(about.st_mode)
        if mode & 0o022:
            raise _refused(path, "can be written to by others", "remove it, or ")
        # of an earlier version, which let others read; or of a umask that takes more than that
        if mode != _ALONE:
            os.fchmod(handle, _ALONE)
    finally:
        os.close(handle)
    return path


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (NotADirectoryError, PermissionError) as error:
        if isinstance(error, PermissionError):
            raise _refused(path, "belongs to somebody else") from error
        raise _refused(path, "is a link, or no folder", "remove it, or ") from error
    except OSError as error:
        if path.is_symlink():
            raise _refused(path, "is a link", "remove it, or ") from error
        raise


def _refused(path: Path, why: str, first: str = "") -> PermissionError:
    return PermissionError(f"{path} {why}, so it is not used; {first}set TMPDIR to a folder of your own")
