"""Takes the network away from this process and all that it forks, for good.

A decoder that a file has taken over may run anything; what it reads must not leave the machine. A filter of the kernel
(seccomp, Linux 3.17 and later, no privileges needed) answers EACCES to whoever asks for a socket that is not a local one.
"""

import ctypes
import platform
import socket
import struct

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 13  # SECCOMP_RET_ERRNO with EACCES
# By machine: how the kernel calls it, the number of socket(2); io_uring_setup, by which sockets could be made, is 425 on all.
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_IO_URING_SETUP = 425
_OTHER_ABI = 0x40000000  # of x86-64: the same calls by other numbers
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _MACHINE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16  # in what the filter sees of a call


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def forbid_network() -> None:
    """From now on no socket but local ones; what is open stays open.

    Raises:
        OSError: the kernel does not do it, or this machine's calls are not known.
    """
    if platform.machine() not in _MACHINES:
        raise OSError(f"no filter is known that takes the network from processes on {platform.machine()}")
    machine, socket_number = _MACHINES[platform.machine()]
    steps = [  # code, steps to skip if so, and if not, value
        (_LOAD, 0, 0, _MACHINE_AT),
        (_EQUAL, 0, 7, machine),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 5, 0, _OTHER_ABI),
        (_EQUAL, 4, 0, _IO_URING_SETUP),
        (_EQUAL, 0, 2, socket_number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_EQUAL, 0, 1, socket.AF_UNIX),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    program = _Program(len(steps), b"".join(struct.pack("HBBI", *step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) or libc.prctl(
        _PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(program), zero, zero
    ):
        raise OSError(ctypes.get_errno(), "the kernel takes no filter that would take the network from decoders")
