"""An untrusted path → an open descriptor, if the path is a regular file on a disk.

In: a path. Out: a descriptor, or `MediaError`. What is opened is what was looked at: a pipe that takes a
file's place in between is refused as well, and nobody waits for its writer. Files that the kernel makes up as
they are read (`/proc`, `/sys`) look regular, and are none: their bytes are secrets of a process, or never
end.
"""

import os
import stat as modes
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from pipelines.errors import MediaError, Reason

_KINDS = (
    (modes.S_ISFIFO, "a pipe"),
    (modes.S_ISSOCK, "a socket"),
    (modes.S_ISCHR, "a device"),
    (modes.S_ISBLK, "a device"),
    (modes.S_ISDIR, "a folder"),
)
# File systems of Linux that hold no files, but what the kernel says, or lets be said to it.
_SYSTEMS = (
    "binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts efivarfs fusectl mqueue nfsd nsfs proc pstore "
    "rpc_pipefs securityfs selinuxfs smackfs sysfs tracefs"
)
_MADE_UP = frozenset(_SYSTEMS.split())
_MOUNTS = Path("/proc/self/mountinfo")
# Not blocking: opening a pipe or a device would wait for its other side. Not a terminal to be controlled by.
_HOW = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def why_no_file(status: os.stat_result) -> str | None:
    """Why a thing with this status is no footage; None if it is a regular file."""
    if not modes.S_ISREG(status.st_mode):
        kind = next((words for test, words in _KINDS if test(status.st_mode)), "no regular file")
        return f"it is {kind}; only regular files are footage"
    system = _file_system(status.st_dev)
    return (
        f"it is made up by the kernel ({system}); only regular files are footage"
        if system in _MADE_UP
        else None
    )


def open_regular(path: Path) -> int:
    """A descriptor to read a file by; who gets it closes it.

    Raises:
        MediaError: missing; unreadable, if it is no regular file.
    """
    try:
        _check(os.stat(path))  # some devices do something when they are opened
        descriptor = os.open(path, _HOW)
        try:
            _check(os.fstat(descriptor))
            os.set_blocking(descriptor, True)
        except BaseException:
            os.close(descriptor)
            raise
    except (OSError, ValueError) as error:  # a name with a zero byte is no name
        raise MediaError(Reason.MISSING, getattr(error, "strerror", None) or str(error)) from error
    return descriptor


def regular_file(path: Path) -> BinaryIO:
    """The same as a file object."""
    return os.fdopen(open_regular(path), "rb")


def _check(status: os.stat_result) -> None:
    if why := why_no_file(status):
        raise MediaError(Reason.UNREADABLE, why)


@lru_cache(maxsize=256)
def _file_system(device: int) -> str | None:
    """The kind of file system that a device's files are on; None where nobody says so: elsewhere than on
    Linux, and in a process that may not look.
    """
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return None
    for mount in mounts:
        about, _, kind = mount.partition(" - ")
        if about.split()[2:3] == [number]:
            return kind.split()[0]
    return None
