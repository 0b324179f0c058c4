"""Landlock (Linux 5.13 and later, no privileges needed): which files this process and all that it forks may
open, for good.

In: files and folders that are open, as handles. Out: a kernel that refuses all others, whatever the file
modes say. Who is under it can neither trace nor look into a process that is not, nor read of it what /proc
shows to its owner. Later kernels add TCP (6.7), signals and abstract sockets (6.12): all that is there is
taken away. See `man 7 landlock`.
"""

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # on every machine
_ASK_VERSION, _BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS = 38
_WRITE, _READ, _LIST, _REMOVE_FILE, _MAKE_CHAR, _MAKE_FILE, _MAKE_BLOCK, _TRUNCATE = (
    1 << bit for bit in (1, 2, 3, 5, 6, 8, 11, 14)
)
_FIRST_RIGHTS = 13
_MOVES, _TRUNCATES, _NETWORK, _DEVICES, _SCOPES = (
    2,
    3,
    4,
    5,
    6,
)  # versions, by what came with them: rights, but for the fourth
UNSTABLE_FILE_SYSTEMS = {0x01021997}  # V9FS_MAGIC
_STATFS_BYTES = 256
_TCP, _OTHERS = 0b11, 0b11  # bind and connect; abstract sockets and signals


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


def has_unstable_inodes(handle: int) -> bool:
    """Whether a file lies on a file system that, each time it is asked, makes a file out of nothing (9P, by
    which WSL and some virtual machines show the host's disks): a rule about that file is about none that is
    opened later. Its root folder stays.
    """
    about = ctypes.create_string_buffer(_STATFS_BYTES)
    if ctypes.CDLL(None, use_errno=True).fstatfs(handle, about):
        raise OSError(ctypes.get_errno(), "the kernel does not tell a file system")
    return ctypes.c_long.from_buffer(about).value in UNSTABLE_FILE_SYSTEMS


def version() -> int:
    """Of the kernel's Landlock; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, ctypes.CDLL(None).syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION)))


def restrict_outbound(abi_version: int) -> None:
    """Deny access to other processes; files stay accessible.

    Args:
        abi_version: the kernel's `version`.

    Raises:
        OSError: the kernel does not do it.
    """
    # it has to be told some right over files that is to be taken away
    _restrict(abi_version, _MAKE_CHAR | _MAKE_BLOCK, ())


def restrict_files(
    abi_version: int, libraries: Iterable[int], reads: Iterable[int], writes: int | None
) -> None:
    """From now on only these files can be opened.

    Args:
        abi_version: the kernel's `version`.
        libraries: folders that may be read, with all below.
        reads: files that may be read; what is no regular file may not.
        writes: a folder in which files may be made, written, renamed and removed, but no links, folders or
        devices made.

    Raises:
        OSError: the kernel does not do it.
    """
    rules = [(folder, _READ | _LIST) for folder in libraries]
    rules += [(file, _READ) for file in reads if stat.S_ISREG(os.fstat(file).st_mode)]
    truncate = _TRUNCATE if abi_version >= _TRUNCATES else 0
    if writes is not None:
        rules.append((writes, _READ | _WRITE | _REMOVE_FILE | _MAKE_FILE | truncate))
    rights = _FIRST_RIGHTS + sum(abi_version >= since for since in (_MOVES, _TRUNCATES, _DEVICES))
    _restrict(abi_version, (1 << rights) - 1, rules)


def _restrict(have: int, files: int, rules: Iterable[tuple[int, int]]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    ruleset = _Ruleset(files, _TCP if have >= _NETWORK else 0, _OTHERS if have >= _SCOPES else 0)
    known_bytes = 24 if have >= _SCOPES else 16 if have >= _NETWORK else 8
    handle = libc.syscall(_CREATE, ctypes.byref(ruleset), ctypes.c_size_t(known_bytes), ctypes.c_uint32(0))
    if handle < 0:
        raise OSError(ctypes.get_errno(), "Landlock can't be set up")
    try:
        for parent, allowed in rules:
            if libc.syscall(_ADD, handle, _BENEATH, struct.pack("=Qi", allowed, parent), ctypes.c_uint32(0)):
                raise OSError(ctypes.get_errno(), "Landlock does not take a rule")
        zero = ctypes.c_ulong(0)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) or libc.syscall(
            _RESTRICT, handle, ctypes.c_uint32(0)
        ):
            raise OSError(ctypes.get_errno(), "Landlock can't be entered")
    finally:
        os.close(handle)
