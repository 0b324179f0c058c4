"""What a decoder does that a file has taken over: everything that its process can try against its caller, the
files and the network.

In: what to reach, as a mapping. Out: what was reached, by the name of each attempt. Only the standard
library, so that it runs in any child. `SITE` puts it in the place of the function that reads headers, in the
real child of a real job.
"""

import ctypes
import errno
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

SECRET = b"canary"
"""How the planted secrets begin."""
LEAKS = frozenset(
    (
        "own_environment",
        "callers_environment",
        "anybodys_environment",
        "callers_memory",
        "credentials",
        "victims_text",
    )
)
"""Attempts that reach a secret; the others reach files, memory or the network."""
MEANS = frozenset(("caller_signalled", "start_program", "new_namespace", "kernel_keys", "raise_its_limits"))
"""Attempts that reach nothing by themselves, but give a decoder more means than it needs."""

SITE = """
import sys
sys.path.insert(0, {root!r})
from benchmarks.attacks import hostile_decoder
sys.path.pop(0)
hostile_decoder.take_over({aims!r})
"""


def take_over(aims: dict[str, str]) -> None:
    """From now on, whoever imports `pipelines.measure.sandboxed` has a `read_header` that is hostile."""
    import sys
    from importlib.abc import Loader, MetaPathFinder
    from importlib.machinery import PathFinder

    name = "pipelines.measure.sandboxed"

    class Finder(MetaPathFinder):
        def find_spec(self, fullname: str, path: object = None, target: object = None) -> object:
            if fullname != name:
                return None
            spec = PathFinder.find_spec(fullname, path)  # type: ignore[arg-type]
            assert spec is not None
            assert spec.loader is not None
            spec.loader = Patched(spec.loader)
            return spec

    class Patched(Loader):
        def __init__(self, inner: Loader):
            self.inner = inner

        def create_module(self, spec: object) -> object:
            return self.inner.create_module(spec)  # type: ignore[arg-type]

        def exec_module(self, module: object) -> None:
            self.inner.exec_module(module)  # type: ignore[arg-type]
            from pipelines.errors import MediaError, Reason

            def read_header(path: object, video_id: str, cfg: object) -> object:
                raise MediaError(
                    Reason.UNREADABLE,
                    "reached: " + " ".join(sorted(reach({**aims, "own": str(path)}))) + " end",
                )

            read_header.__module__, read_header.__qualname__ = name, "read_header"
            module.read_header = read_header  # type: ignore[attr-defined]

    sys.meta_path.insert(0, Finder())


def reach(aims: dict[str, str]) -> list[str]:
    """The names of the attempts that reached what they were after; `ran` is always among them."""
    reached = ["ran"]
    for name, attempt in ATTEMPTS.items():
        try:
            if attempt(aims):
                reached.append(name)
        except BaseException:  # refused, in whatever way
            continue
    return reached


ATTEMPTS: dict[str, Callable[[dict[str, str]], bool]] = {}


def _try(function: Callable[[dict[str, str]], bool]) -> Callable[[dict[str, str]], bool]:
    ATTEMPTS[function.__name__] = function
    return function


def _callers() -> Iterator[int]:
    """The processes above: the server that forks, and the job or worker that asks it."""
    pid = os.getppid()
    for _ in range(2):
        if pid <= 1:
            return
        yield pid
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return


def _all() -> Iterator[int]:
    return (
        int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) not in (os.getpid(), 1)
    )


def _first(function: Callable[[int], bool], pids: Iterator[int]) -> bool:
    for pid in pids:
        try:
            if function(pid):
                return True
        except OSError:
            continue
    return False


def _environment(pid: int | str) -> bool:
    return SECRET in Path(f"/proc/{pid}/environ").read_bytes()


def _memory(pid: int) -> bool:
    """Whether the memory of a process can be read where its stack or heap is."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if line.endswith(("[stack]", "[heap]")):
            start = int(line.partition("-")[0], 16)
            with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
                file.seek(start)
                return bool(file.read(4096))
    return False


@_try
def own_environment(aims: dict[str, str]) -> bool:
    return SECRET in str(dict(os.environ)).encode() or _environment("self")


@_try
def callers_environment(aims: dict[str, str]) -> bool:
    return _first(_environment, _callers())


@_try
def anybodys_environment(aims: dict[str, str]) -> bool:
    return _first(lambda pid: aims["token"].encode() in Path(f"/proc/{pid}/environ").read_bytes(), _all())


@_try
def callers_memory(aims: dict[str, str]) -> bool:
    return _first(_memory, _callers())


@_try
def callers_memory_written(aims: dict[str, str]) -> bool:
    return _first(lambda pid: os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR)) is None, _callers())


@_try
def callers_memory_by_call(aims: dict[str, str]) -> bool:
    """process_vm_readv; EFAULT says that it was allowed, and the address wrong."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = ctypes.create_string_buffer(8)

    class Vector(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    ours, theirs = Vector(ctypes.addressof(here), 8), Vector(8, 8)

    def tried(pid: int) -> bool:
        done = libc.process_vm_readv(pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
        return done >= 0 or ctypes.get_errno() == errno.EFAULT

    return _first(tried, _callers())


@_try
def caller_traced(aims: dict[str, str]) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)

    def tried(pid: int) -> bool:
        if libc.ptrace(16, pid, None, None):
            return False
        os.waitpid(pid, 0x40000000)
        libc.ptrace(17, pid, None, None)
        return True

    return _first(tried, _callers())


@_try
def callers_files(aims: dict[str, str]) -> bool:
    """Open what a caller has open, by its /proc."""
    return _first(lambda pid: bool(os.listdir(f"/proc/{pid}/fd")), _callers())


@_try
def callers_descriptor(aims: dict[str, str]) -> bool:
    """pidfd_getfd of the caller's standard output."""
    libc = ctypes.CDLL(None, use_errno=True)
    return _first(lambda pid: libc.syscall(438, os.pidfd_open(pid), 1, 0) >= 0, _callers())


@_try
def caller_signalled(aims: dict[str, str]) -> bool:
    """Signal 0 of what is not its own server: it does nothing but ask whether it might."""
    return _first(lambda pid: os.kill(pid, 0) is None, (pid for pid in _callers() if pid != os.getppid()))


@_try
def credentials(aims: dict[str, str]) -> bool:
    return SECRET in Path(aims["credentials"]).read_bytes()


@_try
def victims_text(aims: dict[str, str]) -> bool:
    return SECRET in Path(aims["secret"]).read_bytes()


@_try
def victims_folder(aims: dict[str, str]) -> bool:
    return bool(os.listdir(Path(aims["secret"]).parent))


@_try
def system_passwords(aims: dict[str, str]) -> bool:
    return bool(Path("/etc/shadow").read_bytes())


@_try
def other_footage(aims: dict[str, str]) -> bool:
    return bool(Path(aims["neighbour"]).read_bytes())


@_try
def datasets_files(aims: dict[str, str]) -> bool:
    return any(path.read_bytes() is not None for path in Path(aims["dataset"]).rglob("*.parquet"))


@_try
def temporary_files(aims: dict[str, str]) -> bool:
    return bool(Path(aims["temporary"]).read_bytes())


@_try
def write_beside_victim(aims: dict[str, str]) -> bool:
    return bool(Path(aims["secret"]).with_name("written").write_text("x"))


@_try
def delete_victim(aims: dict[str, str]) -> bool:
    Path(aims["secret"]).with_name("bait").unlink()
    return True


@_try
def write_own_file(aims: dict[str, str]) -> bool:
    """Its footage, which it may only read."""
    os.close(os.open(aims["own"], os.O_WRONLY))
    return True


@_try
def write_in_dataset(aims: dict[str, str]) -> bool:
    return bool((Path(aims["dataset"]) / "written").write_text("x"))


@_try
def write_home(aims: dict[str, str]) -> bool:
    return bool((Path(aims["credentials"]).parent.parent / ".bashrc").write_text("x"))


@_try
def write_temporary(aims: dict[str, str]) -> bool:
    return bool(Path(aims["temporary"]).with_name("written").write_text("x"))


@_try
def write_shared_memory(aims: dict[str, str]) -> bool:
    path = Path("/dev/shm") / f"rushes-attack-{os.getpid()}"
    path.write_text("x")
    path.unlink()
    return True


@_try
def link_to_victim(aims: dict[str, str]) -> bool:
    os.symlink(aims["secret"], Path(aims["dataset"]) / "link")
    return True


@_try
def change_rights(aims: dict[str, str]) -> bool:
    os.chmod(Path(aims["secret"]).with_name("rights"), 0o777)
    return True


@_try
def connect(aims: dict[str, str]) -> bool:
    socket.create_connection(("127.0.0.1", int(aims["port"])), timeout=2).close()
    return True


@_try
def local_socket(aims: dict[str, str]) -> bool:
    """Connect to a socket of this machine, as Ray's are."""
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(2)
        made.connect(aims["socket"])
    return True


@_try
def abstract_socket(aims: dict[str, str]) -> bool:
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(2)
        made.connect(f"\0{aims['abstract']}")
    return True


def _family(name: str, family: int, kind: int = socket.SOCK_DGRAM) -> None:
    def attempt(aims: dict[str, str]) -> bool:
        socket.socket(family, kind).close()
        return True

    ATTEMPTS[f"socket_{name}"] = attempt


for _name, _number, _kind in (
    ("inet", 2, 1), ("inet_udp", 2, 2), ("inet6", 10, 1), ("unix", 1, 1), ("netlink", 16, 3),
    ("packet", 17, 3), ("vsock", 40, 1), ("alg", 38, 5),
):  # fmt: skip
    _family(_name, _number, _kind)


@_try
def inherited_socket(aims: dict[str, str]) -> bool:
    """A socket that was left open, and is connected to something that listens."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(name))) as found:
                if found.family in (socket.AF_INET, socket.AF_INET6):
                    return True
        except OSError:
            continue
    return False


@_try
def io_uring(aims: dict[str, str]) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.syscall(425, 4, ctypes.create_string_buffer(120)) >= 0


@_try
def start_program(aims: dict[str, str]) -> bool:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@_try
def start_made_program(aims: dict[str, str]) -> bool:
    """From memory, which needs no file."""
    made = os.memfd_create("x")
    os.write(made, Path("/bin/true").read_bytes())
    pid = os.posix_spawn(f"/proc/self/fd/{made}", ["true"], {})
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@_try
def new_namespace(aims: dict[str, str]) -> bool:
    pid = os.fork()
    if pid == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        os._exit(0 if libc.unshare(0x10000000 | 0x00020000) == 0 else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@_try
def capabilities(aims: dict[str, str]) -> bool:
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")
    )
    return int(line.split()[1], 16) != 0


@_try
def make_device(aims: dict[str, str]) -> bool:
    path = Path(aims["temporary"]).with_name("device")
    os.mknod(path, 0o20666, os.makedev(1, 5))
    path.unlink()
    return True


@_try
def open_by_handle(aims: dict[str, str]) -> bool:
    """By its number on the disk, past all folders: root's way out of a jail."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = struct.pack("Ii", 128, 0) + b"\0" * 128
    buffer, mount = ctypes.create_string_buffer(handle, len(handle)), ctypes.c_int()
    if libc.name_to_handle_at(-100, aims["secret"].encode(), buffer, ctypes.byref(mount), 0):
        return False
    folder = os.open("/proc/self", os.O_RDONLY)
    return libc.open_by_handle_at(folder, buffer, 0) >= 0


@_try
def kernel_keys(aims: dict[str, str]) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    # add_key, to a ring of its own thread
    return libc.syscall(248, b"user", b"rushes-attack", b"x", 1, -1) >= 0


@_try
def raise_its_limits(aims: dict[str, str]) -> bool:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY:
        return True
    resource.setrlimit(resource.RLIMIT_CPU, (hard + 1000, hard + 1000))
    return True


@_try
def outlive_its_server(aims: dict[str, str]) -> bool:
    """A session of its own would not be ended with the server's."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        signal.alarm(1)
        signal.pause()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return os.getsid(0) == os.getpid()
