"""Namespaces (Linux): a root folder of its own, where there is no Landlock; nothing is in it but what a
process is given.

In: folders and files that are given. Out: a process without network, shared memory and all other files. Root
has the privilege to do this; others get it in a user namespace, where the kernel lets them. Who is in one
can't look into a process that is not.
"""

import ctypes
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from pipelines.sandbox import capabilities

_NEW_MOUNTS, _NEW_IPC, _NEW_USER, _NEW_NET = 0x00020000, 0x08000000, 0x10000000, 0x40000000
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_PROGRAMS, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = (
    1 << bit for bit in (0, 1, 2, 3, 5, 12, 14, 18)
)
_NO_ATIME, _NO_DIR_ATIME, _RELATIVE_ATIME = 1 << 10, 1 << 11, 1 << 21
_DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
# a folder that is everywhere, and that nobody is given anything of: the new root is made on it
_HIDDEN = "/proc"
# What a file system was mounted with has to be said again to make it read-only: statvfs's bit, and mount's.
_KEPT = (
    (os.ST_NOSUID, _NO_SUID), (os.ST_NODEV, _NO_DEVICES), (os.ST_NOEXEC, _NO_PROGRAMS),
    (os.ST_NOATIME, _NO_ATIME),
    (os.ST_NODIRATIME, _NO_DIR_ATIME), (os.ST_RELATIME, _RELATIVE_ATIME),
) if hasattr(os, "ST_NODEV") else ()  # fmt: skip


def enter() -> None:
    """Separate this process, which has one thread, from others: once, in the process that forks those that
    decode.

    Raises:
        OSError: the kernel, or who administers it, does not allow it.
    """
    uid, gid = os.geteuid(), os.getegid()
    alone = capabilities.MOUNT not in capabilities.current()
    _unshare(_NEW_MOUNTS | _NEW_IPC | _NEW_NET | (_NEW_USER if alone else 0))
    if alone:
        for file, line in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            Path("/proc/self", file).write_text(line)
    _mount(None, "/", None, _RECURSIVE | _PRIVATE)
    restrict_files((), (), None, only_try=True)


def restrict_files(
    libraries: Iterable[str], reads: Iterable[str], writes: str | None, only_try: bool = False
) -> None:
    """From now on there are no files but these, at the paths where they were, and the working folder, which
    is empty.

    Args:
        libraries: folders that may be read, with all below.
        reads: files that may be read; what is no regular file is not there.
        writes: a folder that may be written to.
        only_try: whether this could be done; it is undone with the process's next namespace.

    Raises:
        OSError: it can't be done.
    """
    here = os.getcwd()
    _unshare(_NEW_MOUNTS)
    _mount("none", _HIDDEN, "tmpfs", _NO_SUID | _NO_DEVICES, b"size=1m,mode=0755")
    for path in libraries:
        os.makedirs(_HIDDEN + path, exist_ok=True)
        _give(path, read_only=True)
    if writes is not None:
        os.makedirs(_HIDDEN + writes, exist_ok=True)
        _give(writes, read_only=False)
    for path in reads:
        if stat.S_ISREG(os.stat(path).st_mode) and not os.path.exists(_HIDDEN + path):
            os.makedirs(os.path.dirname(_HIDDEN + path), exist_ok=True)
            os.close(os.open(_HIDDEN + path, os.O_CREAT | os.O_WRONLY, 0o600))
            _give(path, read_only=True)
    os.makedirs(_HIDDEN + here, exist_ok=True)
    if only_try:
        _done(
            ctypes.CDLL(None, use_errno=True).umount2(_HIDDEN.encode(), _DETACH), "a root folder of its own"
        )
        return
    _mount(None, _HIDDEN, None, _REMOUNT | _READ_ONLY | _NO_SUID | _NO_DEVICES)
    os.chdir(_HIDDEN)
    libc = ctypes.CDLL(None, use_errno=True)
    _done(libc.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "a root folder of its own")
    _done(libc.umount2(b".", _DETACH), "a root folder of its own")  # the old one, which lies on the new one
    os.chdir(here)


def _give(path: str, read_only: bool) -> None:
    inside = _HIDDEN + path
    _mount(path, inside, None, _BIND | _RECURSIVE)
    flags = _NO_SUID | _NO_DEVICES | (_READ_ONLY if read_only else 0)
    there = os.statvfs(inside).f_flag
    _mount(
        None,
        inside,
        None,
        _BIND | _REMOUNT | flags | sum(mount for bit, mount in _KEPT if there & bit and not flags & mount),
    )


def _unshare(flags: int) -> None:
    _done(ctypes.CDLL(None, use_errno=True).unshare(ctypes.c_int(flags)), "namespaces")


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, options: bytes | None = None
) -> None:
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    _done(
        ctypes.CDLL(None, use_errno=True).mount(*texts, ctypes.c_ulong(flags), options), f"mounts ({target})"
    )


def _done(failed: int, what: str) -> None:
    if failed:
        raise OSError(ctypes.get_errno(), f"the kernel does not allow {what}")
