"""Filters of system calls (seccomp, Linux 3.17 and later, no privileges needed), for this process and all
that it forks, for good.

In: tables of calls. Out: a kernel that refuses the others. Calls by another of the machine's interfaces (32
bits, x32) are none of those that are allowed, as their numbers mean something else there.
"""

import ctypes
import errno
import platform
import struct
import sys
from collections.abc import Mapping, Sequence

from pipelines.sandbox.calls import (
    OUTBOUND_SYSCALLS,
    SYSCALL_NUMBERS,
    WRITING_SYSCALLS,
    ArgumentCheck,
    allowed_arguments,
)

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO, with the error below
# as the kernel calls it; column of the tables
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_OTHER_INTERFACE = 0x40000000  # x32 of x86-64: other numbers from here on
_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = (
    0,
    4,
    16,
)  # in what a filter sees of a call; of an argument the lower half is first

_Step = tuple[int, int, int, int]  # code, steps to skip if so, steps to skip if not, value


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def is_supported() -> bool:
    """Whether this machine's calls are known, and its kernel has filters."""
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    # Asked to load a filter from nowhere, a kernel that knows filters finds fault with the address.
    return (
        libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), None, zero, zero)
        and ctypes.get_errno() == errno.EFAULT
    )


def deny_outbound() -> None:
    """Deny connections to other processes, by sockets or through their memory; open handles stay open. Raises
    OSError."""
    machine, column = _MACHINES[platform.machine()]
    numbers = [call[column] for call in OUTBOUND_SYSCALLS.values()]
    steps = _of_machine(machine, errno.EACCES)
    steps += [(_AT_LEAST, 0, 1, _OTHER_INTERFACE), (_RETURN, 0, 0, _REFUSE | errno.EACCES)]
    steps += _jumps(numbers)
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE | errno.EACCES)]
    _install(steps)


def allow_decoding(pid: int, writes: bool) -> None:
    """From now on nothing but what a decoder needs.

    Args:
        pid: of this process.
        writes: whether it makes files; if not, it can change none, whatever it may open.

    Raises:
        OSError: the kernel takes no filter.
    """
    _install(decoding(platform.machine(), pid, writes))


def decoding(machine: str, pid: int, writes: bool) -> list[_Step]:
    """The program of `allow_decoding` for a machine, `x86_64` or `aarch64`."""
    code, column = _MACHINES[machine]
    there = {
        name: number
        for name, call in SYSCALL_NUMBERS.items()
        if (number := call[column]) is not None and (writes or name not in WRITING_SYSCALLS)
    }
    checks = {name: check for name, check in allowed_arguments(pid, writes).items() if name in there}
    steps = _of_machine(code, errno.ENOSYS)
    steps += _checked({there[name]: check for name, check in checks.items()})
    steps += _jumps([number for name, number in there.items() if name not in checks])
    return [*steps, (_RETURN, 0, 0, _REFUSE | errno.ENOSYS), (_RETURN, 0, 0, _ALLOW)]


def _of_machine(machine: int, error: int) -> list[_Step]:
    """Refuse calls of another machine's kind; then have the call's number at hand."""
    return [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_EQUAL, 1, 0, machine),
        (_RETURN, 0, 0, _REFUSE | error),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]


def _jumps(numbers: Sequence[int]) -> list[_Step]:
    """For a call with one of these numbers, go behind the step that follows."""
    return [(_EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]


def _checked(calls: Mapping[int, Sequence[ArgumentCheck]]) -> list[_Step]:
    steps: list[_Step] = []
    for number, checks in calls.items():
        block = [step for check in checks for step in _check(check)] + [(_RETURN, 0, 0, _ALLOW)]
        steps += [(_EQUAL, 0, len(block), number), *block]
    return steps


def _check(check: ArgumentCheck) -> list[_Step]:
    at = _ARGUMENTS_AT + 8 * check.argument + 4 * check.high
    steps = [(_LOAD, 0, 0, at), (_AND, 0, 0, check.mask), *_jumps(check.values)]
    return [*steps, (_RETURN, 0, 0, _REFUSE | check.error)]


def _install(steps: Sequence[_Step]) -> None:
    program = _Program(len(steps), b"".join(struct.pack("HBBI", *step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) or libc.prctl(
        _PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(program), zero, zero
    ):
        raise OSError(ctypes.get_errno(), "the kernel takes no filter that would keep decoders from others")
