"""Which calls of the kernel a process that decodes may make, and what they are numbered.

In: nothing. Out: tables. The list says what is allowed, not what is forbidden: when a decoder runs all its
libraries are loaded, so it needs few calls, and those that the next kernel brings, or that nobody thought of,
are none of them. What is not in it answers as on a kernel that has no such call, which is what libraries that
try new ones are prepared for.
"""

import errno
from dataclasses import dataclass

SYSCALL_NUMBERS = {  # x86-64, and ARM 64 where there is such a call
    # memory
    "brk": (12, 214), "mmap": (9, 222), "munmap": (11, 215), "mprotect": (10, 226), "mremap": (25, 216),
    "madvise": (28, 233), "membarrier": (324, 283),
    # bytes of open files
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67),
    "pwrite64": (18, 68),
    "preadv": (295, 69), "pwritev": (296, 70), "lseek": (8, 62), "sendfile": (40, 71),
    "copy_file_range": (326, 285),
    "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24), "close": (3, 57), "close_range": (436, 436),
    "fsync": (74, 82), "fdatasync": (75, 83), "ftruncate": (77, 46), "fallocate": (285, 47),
    "fadvise64": (221, 223),
    "poll": (7, None), "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72), "pipe": (22, None),
    "pipe2": (293, 59),
    "fcntl": (72, 25), "ioctl": (16, 29),
    # files by name: which ones is for Landlock to say
    "open": (2, None), "openat": (257, 56), "stat": (4, None), "lstat": (6, None), "fstat": (5, 80),
    "newfstatat": (262, 79),
    "statx": (332, 291), "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78), "getdents64": (217, 61), "getcwd": (79, 17), "statfs": (137, 43),
    "fstatfs": (138, 44),
    "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None), "renameat": (264, 38),
    "renameat2": (316, 276),
    # threads of its own
    "clone": (56, 220), "futex": (202, 98), "set_robust_list": (273, 99), "set_tid_address": (218, 96),
    "rseq": (334, 293),
    "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "sched_getparam": (143, 121),
    "sched_getscheduler": (145, 120),
    "getcpu": (309, 168), "arch_prctl": (158, None), "prctl": (157, 167), "exit": (60, 93),
    "exit_group": (231, 94),
    "restart_syscall": (219, 128), "prlimit64": (302, 261),
    # signals to itself
    "kill": (62, 129), "tgkill": (234, 131), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    # who it is, and when
    "getpid": (39, 172), "gettid": (186, 178), "getppid": (110, 173), "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176), "getegid": (108, 177), "getrusage": (98, 165), "times": (100, 153),
    "uname": (63, 160),
    "sysinfo": (99, 179), "getrandom": (318, 278), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115), "nanosleep": (35, 101), "gettimeofday": (96, 169), "time": (201, None),
    # the socket to who fetches its bytes, which was open when it began
    "recvfrom": (45, 207), "sendto": (44, 206), "getsockopt": (55, 209), "getsockname": (51, 204),
    "shutdown": (48, 210),
}  # fmt: skip
"""What a process that decodes may call, some of it only with the arguments that `allowed_arguments` names."""

OUTBOUND_SYSCALLS = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438), "kcmp": (312, 272),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "perf_event_open": (298, 241),
    "bpf": (321, 280),
    "userfaultfd": (323, 282), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
}  # fmt: skip
"""What the server, which loads libraries and models but looks at nothing foreign, may not call: ways to
others."""

_CLONE_THREAD, _CLONE_NEW = 0x00010000, 0x7E020080  # a thread of this process; any namespace


@dataclass(frozen=True, slots=True)
class ArgumentCheck:
    """A call goes on only if half of an argument is one of some values; else it fails with an error.

    Attributes:
        argument: its position.
        values: unsigned, 32 bits.
        mask: which bits of it are compared.
        high: the upper half is compared instead of the lower one.
    """

    argument: int
    values: tuple[int, ...]
    error: int = errno.EPERM
    mask: int = 0xFFFFFFFF
    high: bool = False


WRITING_SYSCALLS = frozenset((
    "ftruncate", "fallocate", "unlink", "unlinkat", "rename", "renameat", "renameat2", "sendfile",
    "copy_file_range",
))  # fmt: skip
"""Calls that only who makes files needs."""


def allowed_arguments(pid: int, writes: bool) -> dict[str, tuple[ArgumentCheck, ...]]:
    """What of calls that reach further than this process is allowed to the process with this id.

    Args:
        writes: whether it makes files.
    """
    # Its access mode is O_RDONLY, and there is neither O_CREAT nor O_TRUNC in it.
    reading = (
        {}
        if writes
        else {
            "open": (ArgumentCheck(1, (0,), errno.EACCES, 0o1103),),
            "openat": (ArgumentCheck(2, (0,), errno.EACCES, 0o1103),),
        }
    )
    return reading | {
        "clone": (ArgumentCheck(0, (_CLONE_THREAD,), mask=_CLONE_THREAD | _CLONE_NEW),),
        "kill": (ArgumentCheck(0, (pid,)),),
        "tgkill": (ArgumentCheck(0, (pid,)),),
        "prlimit64": (ArgumentCheck(0, (0, pid)),),
        # PR_SET_NAME, PR_GET_NAME, PR_SET_VMA: names of threads and of memory.
        "prctl": (ArgumentCheck(0, (15, 16, 0x53564D41), errno.EINVAL),),
        # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC; not F_SETOWN, which sends others
        # signals.
        "fcntl": (ArgumentCheck(1, (0, 1, 2, 3, 4, 1030), errno.EINVAL),),
        # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX; not those that change how a file lies on
        # its disk.
        "ioctl": (ArgumentCheck(1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451), errno.ENOTTY),),
        # Only to whom the socket is connected.
        "sendto": (ArgumentCheck(4, (0,)), ArgumentCheck(4, (0,), high=True)),
    }
