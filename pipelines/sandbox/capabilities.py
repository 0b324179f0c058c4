"""Root's privileges, given up for good (Linux capabilities): what is left of root is the owner of root's
files.

In: which to keep. Out: a process that has no others, and gets none by running a program. Who has fewer than
another process can't look into it, though both are root's. See `man 7 capabilities`.
"""

import ctypes
import sys
from collections.abc import Collection

PASS_BY_MODES, READ_ANY = 1, 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: files that are other users'
MOUNT = 21  # CAP_SYS_ADMIN
_VERSION = 0x20080522  # of the call: 64 bits
_PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _CLEAR_ALL = 24, 47, 4
_MOST = 64


class _Head(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Half(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def current() -> frozenset[int]:
    """The capabilities that this process may use."""
    if sys.platform != "linux":
        return frozenset()
    head, halves = _Head(_VERSION, 0), (_Half * 2)()
    if ctypes.CDLL(None, use_errno=True).capget(ctypes.byref(head), halves):
        raise OSError(ctypes.get_errno(), "the kernel does not tell capabilities")
    return frozenset(number for number in range(_MOST) if halves[number // 32].effective >> number % 32 & 1)


def drop_all_but(wanted: Collection[int]) -> None:
    """Give up all but these, of which only those stay that are held. Raises OSError."""
    have = current()
    if not have:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    for number in range(_MOST):  # of what a program that it runs could get
        if number not in wanted:
            libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), zero, zero, zero)
    libc.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_CLEAR_ALL), zero, zero, zero)
    halves = (_Half * 2)()
    for number in have & set(wanted):
        halves[number // 32].effective |= 1 << number % 32
        halves[number // 32].permitted |= 1 << number % 32
    head = _Head(_VERSION, 0)
    if libc.capset(ctypes.byref(head), halves):
        raise OSError(ctypes.get_errno(), "capabilities can't be given up")
