"""What a decoder would do that runs an attacker's code, and somebody to do it to.

In: a folder, and means of confinement to go without. Out: as JSON, each attempt and what came of it: `held`,
or what it reached. Run as a program, it is the caller: it has keys in its environment, in its memory and in
files, listens on sockets, and has a child run `attack` on a file of its own.
"""

import ctypes
import fcntl
import json
import os
import platform
import signal
import socket
import stat
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

from pipelines.sandbox import child
from pipelines.sandbox.answers import Limits
from pipelines.sandbox.calls import OUTBOUND_SYSCALLS, SYSCALL_NUMBERS

SECRET = b"hunter2-0123456789-abcdef"
ALLOWED_ATTEMPTS = frozenset(("own file", "own folder", "threads"))
"""What a decoder needs; all else is an escape."""

LIMITS = Limits(deadline_s=60, memory_bytes=2**30, file_bytes=2**20)
_COLUMN = {"x86_64": 0, "aarch64": 1}.get(platform.machine(), 0)
_MORE = {
    "memfd_create": (319, 279),
    "rt_sigqueueinfo": (129, 138),
    "sched_setaffinity": (203, 122),
    "fchmodat": (268, 53),
}
_CALLS = {name: numbers[_COLUMN] for name, numbers in (SYSCALL_NUMBERS | OUTBOUND_SYSCALLS | _MORE).items()}
_CALLS |= {"pidfd_open": 434, "pidfd_send_signal": 424, "openat2": 437}
_X32 = 0x40000000
_AT_FDCWD, _SEIZE, _READ_KEY, _SEARCH_KEY, _USER_KEYRING = -100, 0x4206, 11, 10, -4
_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000

libc = ctypes.CDLL(None, use_errno=True)


class Victim:
    """What there is to reach: plain values, handed to the child."""

    def __init__(self, **what: Any):
        self.__dict__.update(what)


def attack(own: Path, victim: Victim) -> dict[str, str]:
    """Try everything; what each attempt came to."""
    return {name: _outcome(attempt, own, victim) for name, attempt in _ATTEMPTS.items()}


def _outcome(attempt: Callable[[Path, Victim], Any], own: Path, victim: Victim) -> str:
    try:
        reached = attempt(own, victim)
    except Exception as error:
        return f"held: {type(error).__name__}: {error}"
    return f"reached: {reached!r:.60}" if reached else "held: nothing there"


def call(name: str, *args: Any, other: int = 0) -> int:
    """A call of the kernel, past all libraries. Raises OSError."""
    number = _CALLS[name]
    if number is None:
        raise OSError(f"this machine has no {name}")
    done = libc.syscall(ctypes.c_long(number + other), *args)
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done + 1  # true, also where it is 0


_ATTEMPTS: dict[str, Callable[[Path, Victim], Any]] = {}


def attempt(name: str) -> Callable:
    def keep(function: Callable[[Path, Victim], Any]) -> Callable:
        _ATTEMPTS[name] = function
        return function

    return keep


def _each(name: str, **ways: Callable[[Path, Victim], Any]) -> None:
    _ATTEMPTS.update({f"{name}: {way.replace('_', ' ')}": function for way, function in ways.items()})


# What it needs


_ATTEMPTS["own file"] = lambda own, victim: own.read_bytes() == b"own"


@attempt("own folder")
def _own_folder(own: Path, victim: Victim) -> bool:
    first, second = Path(victim.room, "made"), Path(victim.room, "made.renamed")
    first.write_bytes(b"x" * 1000)
    first.replace(second)
    second.write_bytes(b"y")
    return second.read_bytes() == b"y"


@attempt("threads")
def _threads(own: Path, victim: Victim) -> bool:
    done = []
    thread = threading.Thread(target=lambda: done.append(1))
    thread.start()
    thread.join()
    return bool(done)


# Keys


_ATTEMPTS["environment"] = lambda own, victim: [
    name for name in os.environ if name.startswith(("AWS_", "RAY_", "HF_TOKEN", "SECRET"))
]


@attempt("handles")
def _handles(own: Path, victim: Victim) -> list[str]:
    """Whatever is open that is neither nothing, nor a pipe or socket to the caller, nor what the kernel says
    of itself."""
    found = []
    for handle in range(1024):
        try:
            about = os.fstat(handle)
        except OSError:
            continue
        kind = stat.S_IFMT(about.st_mode)
        if kind == stat.S_IFREG and SECRET in os.pread(handle, 4096, 0):
            found.append(f"{handle}: the secret")
        elif kind not in (stat.S_IFREG, stat.S_IFIFO) and os.major(about.st_rdev) != 1:
            found.append(f"{handle}: {kind:o}")
    return found


def _kernel_keys(own: Path, victim: Victim) -> bool:
    number = call("keyctl", _SEARCH_KEY, _USER_KEYRING, b"user", b"rushes-hostile", 0) - 1
    into = ctypes.create_string_buffer(100)
    call("keyctl", _READ_KEY, number, into, 100)
    return SECRET in into.raw


_ATTEMPTS["keys in the kernel"] = _kernel_keys


# Memory of the caller, and of the server


def _proc(name: str, whose: str) -> Callable[[Path, Victim], Any]:
    return lambda own, victim: Path("/proc", str(_pid(whose, victim)), name).read_bytes()[:20]


def _pid(whose: str, victim: Victim) -> int:
    return victim.pid if whose == "caller" else os.getppid()


for _whose in ("caller", "server"):
    _each(
        f"memory of the {_whose}",
        environ=_proc("environ", _whose),
        maps=_proc("maps", _whose),
        auxv=_proc("auxv", _whose),
        stack=_proc("syscall", _whose),
    )
    _ATTEMPTS[f"memory of the {_whose}: trace"] = lambda own, victim, whose=_whose: call(
        "ptrace", _SEIZE, _pid(whose, victim), None, None
    )
    _ATTEMPTS[f"memory of the {_whose}: handles"] = lambda own, victim, whose=_whose: os.listdir(
        f"/proc/{_pid(whose, victim)}/fd"
    )


def _mem(own: Path, victim: Victim, mode: int = os.O_RDONLY) -> bytes:
    handle = os.open(f"/proc/{victim.pid}/mem", mode)
    if mode != os.O_RDONLY:
        return os.pwrite(handle, b"owned", victim.address)
    return os.pread(handle, len(SECRET), victim.address)


def _vector(own: Path, victim: Victim, name: str = "process_vm_readv") -> int:
    into = ctypes.create_string_buffer(len(SECRET))
    ours = struct.pack("QQ", ctypes.addressof(into), 5)
    theirs = struct.pack("QQ", victim.address, 5)
    return call(name, victim.pid, ours, ctypes.c_ulong(1), theirs, ctypes.c_ulong(1), ctypes.c_ulong(0))


def _others_handle(own: Path, victim: Victim) -> int:
    return call("pidfd_getfd", call("pidfd_open", victim.pid, 0) - 1, victim.listener, 0)


_each(
    "memory of the caller",
    mem=_mem,
    write_mem=lambda own, victim: _mem(own, victim, os.O_RDWR),
    read_vector=_vector,
    write_vector=lambda own, victim: _vector(own, victim, "process_vm_writev"),
    take_a_handle=_others_handle,
    compare=lambda own, victim: call("kcmp", os.getpid(), victim.pid, 0, 0, 0),
    root=lambda own, victim: Path(f"/proc/{victim.pid}/root{victim.secret}").read_bytes(),
)


@attempt("shared memory: posix")
def _posix_memory(own: Path, victim: Victim) -> bytes:
    return Path("/dev/shm", victim.shared).read_bytes()[:20]


_ATTEMPTS["shared memory: list"] = lambda own, victim: os.listdir("/dev/shm")


@attempt("shared memory: system v")
def _system_v(own: Path, victim: Victim) -> bool:
    libc.shmat.restype = ctypes.c_void_p
    at = libc.shmat(victim.segment, None, 0o10000)
    return at != ctypes.c_void_p(-1).value and ctypes.string_at(at, len(SECRET))


# Files


def _write(path: str, flags: int = 0) -> bool:
    os.close(os.open(path, os.O_WRONLY | flags, 0o600))
    return True


def _by_link(own: Path, victim: Victim, link: Callable = os.symlink) -> bytes:
    at = f"{victim.room}/link-{link.__name__}"
    link(victim.secret, at)
    return Path(at).read_bytes()


def _moved_in(own: Path, victim: Victim) -> bytes:
    os.rename(victim.movable, f"{victim.room}/moved")
    return Path(victim.room, "moved").read_bytes()


def _by_handle(own: Path, victim: Victim) -> int:
    handle, mount = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136), ctypes.c_int()
    call("name_to_handle_at", _AT_FDCWD, victim.secret.encode(), handle, ctypes.byref(mount), 0)
    there = os.open("/", os.O_RDONLY)
    return call("open_by_handle_at", there, handle, os.O_RDONLY)


def _openat2(own: Path, victim: Victim) -> int:
    return call(
        "openat2", _AT_FDCWD, victim.secret.encode(), struct.pack("QQQ", 0, 0, 0), ctypes.c_size_t(24)
    )


_each(
    "files",
    secret=lambda own, victim: Path(victim.secret).read_bytes(),
    other_interface=_openat2,
    by_handle=_by_handle,
    symlink=_by_link,
    hard_link=lambda own, victim: _by_link(own, victim, os.link),
    moved_in=_moved_in,
    another_source=lambda own, victim: Path(victim.other).read_bytes(),
    by_its_folder=lambda own, victim: Path(victim.room, "..", "other.mp4").read_bytes(),
    passwd=lambda own, victim: Path("/etc/passwd").read_bytes(),
    list_dataset=lambda own, victim: os.listdir(victim.dataset),
    list_home=lambda own, victim: os.listdir(victim.home),
    list_proc=lambda own, victim: [name for name in os.listdir("/proc") if name.isdigit()],
    own_proc=lambda own, victim: Path("/proc/self/maps").read_bytes()[:10],
    terminal=lambda own, victim: os.open("/dev/tty", os.O_RDWR) + 1,
    write_own=lambda own, victim: _write(str(own)),
    truncate_own=lambda own, victim: os.truncate(own, 0) is None,
    modes_of_own=lambda own, victim: call("fchmodat", _AT_FDCWD, os.fsencode(own), 0o600),
    remove_own=lambda own, victim: (
        os.rename(own, f"{own}.moved") is None and os.rename(f"{own}.moved", own) is None
    ),
    write_dataset=lambda own, victim: _write(f"{victim.dataset}/planted", os.O_CREAT),
    write_home=lambda own, victim: _write(f"{victim.home}/.bashrc", os.O_CREAT),
    write_tmp=lambda own, victim: _write(f"{victim.temporary}/planted", os.O_CREAT),
    write_libraries=lambda own, victim: _write(json.__file__),
    beyond_its_limit=lambda own, victim: Path(victim.room, "large").write_bytes(bytes(2**20 + 1)),
    pipe=lambda own, victim: os.mkfifo(f"{victim.room}/pipe") is None,
    folder=lambda own, victim: os.mkdir(f"{victim.room}/folder") is None,
    working_folder=lambda own, victim: os.chdir(victim.home) is None,
)


# The network, and other processes


def _connect(family: int, address: Any) -> bool:
    with socket.socket(family) as made:
        made.connect(address)
        return True


def _datagrams(own: Path, victim: Victim) -> int:
    ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return ours.sendto(b"leak", victim.datagrams)


def _by_own_socket(own: Path, victim: Victim) -> bool:
    for handle in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(handle).st_mode):
                sent = socket.socket(fileno=os.dup(handle))
                sent.sendto(b"leak", victim.datagrams)
                return True
        except OSError:
            continue
    return False


_each(
    "network",
    tcp=lambda own, victim: _connect(socket.AF_INET, ("127.0.0.1", victim.port)),
    udp=lambda own, victim: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(
        b"leak", ("127.0.0.1", victim.port)
    ),
    netlink=lambda own, victim: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).fileno(),
    local=lambda own, victim: _connect(socket.AF_UNIX, victim.local),
    abstract=lambda own, victim: _connect(socket.AF_UNIX, victim.abstract),
    pair_to_others=_datagrams,
    own_socket_to_others=_by_own_socket,
    pair=lambda own, victim: bool(socket.socketpair()),
    io_uring=lambda own, victim: call("io_uring_setup", 1, ctypes.create_string_buffer(120)),
)
if platform.machine() == "x86_64":
    _ATTEMPTS["network: x32"] = lambda own, victim: call("socket", 1, 1, 0, other=_X32)


def _owner(own: Path, victim: Victim) -> bool:
    ours, _ = os.pipe()
    return fcntl.fcntl(ours, fcntl.F_SETOWN, victim.pid) is not None


def _fork(own: Path, victim: Victim) -> bool:
    if os.fork() == 0:
        os._exit(0)
    return True


def _queue(own: Path, victim: Victim) -> int:
    about = struct.pack("iii", signal.SIGUSR1, 0, -1) + bytes(128)
    return call("rt_sigqueueinfo", victim.pid, int(signal.SIGUSR1), about)


def _program(own: Path, victim: Victim) -> bool:
    """Whether it may try: a program would take its place."""
    try:
        os.execv("/nowhere/at/all", ["x"])
    except FileNotFoundError:
        return True


_each(
    "others",
    signal=lambda own, victim: os.kill(victim.pid, signal.SIGUSR1) is None,
    signal_the_server=lambda own, victim: os.kill(os.getppid(), 0) is None,
    signal_a_thread=lambda own, victim: call("tgkill", victim.pid, victim.pid, int(signal.SIGUSR1)),
    queue_a_signal=_queue,
    signal_by_handle=lambda own, victim: call(
        "pidfd_send_signal", call("pidfd_open", victim.pid, 0) - 1, int(signal.SIGUSR1), None, 0
    ),
    owner=_owner,
    limits=lambda own, victim: call("prlimit64", victim.pid, 7, None, ctypes.create_string_buffer(16)),
    cores=lambda own, victim: os.sched_setaffinity(victim.pid, os.sched_getaffinity(0)) is None,
    priority=lambda own, victim: (
        os.setpriority(os.PRIO_PROCESS, victim.pid, os.getpriority(os.PRIO_PROCESS, 0)) is None
    ),
    fork=_fork,
    program=_program,
    program_of_its_own=lambda own, victim: call("memfd_create", b"x", 0),
    watch_the_machine=lambda own, victim: call("perf_event_open", bytes(128), 0, -1, -1, ctypes.c_ulong(0)),
    programs_in_the_kernel=lambda own, victim: call("bpf", 0, bytes(128), 128),
    faults=lambda own, victim: call("userfaultfd", 1),
    session=lambda own, victim: os.setsid() >= 0,
    namespaces=lambda own, victim: libc.unshare(_NEW_USER | _NEW_MOUNTS) == 0,
    mount=lambda own, victim: libc.mount(b"none", b"/dev/shm", b"tmpfs", 0, None) == 0,
)


@contextmanager
def victim(folder: Path) -> Iterator[Victim]:
    """The caller's side, for the length of a block."""
    for name in ("home/.aws", "dataset", "room"):
        (folder / name).mkdir(parents=True)
    for name in ("home/.aws/credentials", "home/movable", "dataset/clip.mp4", "other.mp4"):
        (folder / name).write_bytes(SECRET)
    (folder / "own.mp4").write_bytes(b"own")
    held = ctypes.create_string_buffer(SECRET)
    open_secret = os.open(folder / "home/.aws/credentials", os.O_RDONLY)
    os.set_inheritable(open_secret, True)
    libc.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
    libc.shmat.restype = ctypes.c_void_p
    segment = libc.shmget(0, 4096, 0o1600)
    at = libc.shmat(segment, None, 0)
    ctypes.memmove(at, SECRET, len(SECRET))
    libc.shmctl(segment, 0, None)  # it goes with the last who has it
    libc.syscall(
        _CALLS["add_key"], b"user", b"rushes-hostile", SECRET, ctypes.c_size_t(len(SECRET)), _USER_KEYRING
    )
    shared = shared_memory.SharedMemory(create=True, size=4096)
    shared.buf[: len(SECRET)] = SECRET
    abstract, local = f"\0rushes-hostile-{os.getpid()}", str(folder / "local")
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as of_folder,
        socket.socket(socket.AF_UNIX) as of_kernel,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
    ):
        for made, address in ((of_folder, local), (of_kernel, abstract)):
            made.bind(address)
            made.listen()
        datagrams.bind(f"{abstract}-datagrams")
        yield Victim(
            pid=os.getpid(), address=ctypes.addressof(held), listener=tcp.fileno(), port=tcp.getsockname()[1],
            local=local, abstract=abstract, datagrams=f"{abstract}-datagrams", segment=segment,
            shared=shared.name,
            home=str(folder / "home"), secret=str(folder / "home/.aws/credentials"),
            movable=str(folder / "home/movable"),
            dataset=str(folder / "dataset"), other=str(folder / "other.mp4"), room=str(folder / "room"),
            temporary=str(folder),
        )  # fmt: skip
    shared.close()
    shared.unlink()
    assert held.value == SECRET or "filter" in child._without, "the caller's memory was written to"


def main(folder: str, *without: str) -> None:
    """Print what an attack comes to."""
    child._without = without
    signal.signal(signal.SIGUSR1, lambda *_: None)
    with victim(Path(folder)) as there:
        own = Path(folder, "own.mp4")
        came_to = child.call(attack, own, there, limits=LIMITS, writes=Path(there.room))
        child.stop()
    print(json.dumps(came_to))


if __name__ == "__main__":
    # so that what is handed to the child is of a module
    from tests.support.hostile_child import main as main_of_module

    main_of_module(*sys.argv[1:])
