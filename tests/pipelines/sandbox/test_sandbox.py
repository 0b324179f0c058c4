"""A decoder that runs an attacker's code reaches its own file, its own folder, and nothing else."""

import ctypes
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from pipelines.errors import MediaError, Reason
from pipelines.sandbox import call_filter, capabilities
from pipelines.sandbox.answers import ChildError, Limits, read_output
from pipelines.sandbox.calls import SYSCALL_NUMBERS
from pipelines.sandbox.child import call
from pipelines.sandbox.isolation import FILTER, LANDLOCK, NAMESPACES, IsolationSupport, detect_support
from tests.support.hostile_child import ALLOWED_ATTEMPTS, SECRET

LIMITS = Limits(20, 2**28, 2**20)
KEYS = {
    "AWS_SECRET_ACCESS_KEY": SECRET.decode(),
    "RAY_AUTH_TOKEN": SECRET.decode(),
    "SECRET_OF_ANYBODY": SECRET.decode(),
}
NOBODY = 65534


@cache
def python_for_nobody() -> str | None:
    """An interpreter with our libraries that another user than root can start, if there is one."""
    names = (
        sys.executable,
        shutil.which(f"python{sys.version_info[0]}.{sys.version_info[1]}", path="/usr/bin:/usr/local/bin"),
    )
    for name in filter(None, names):
        with suppress(OSError):
            tried = [name, "-c", "import av, cv2, numpy, pyarrow, xxhash, tests.support.hostile_child"]
            if not subprocess.run(
                tried, env=_environment(), **_as_nobody(), capture_output=True, check=False
            ).returncode:
                return name
    return None


def _environment():
    return {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PATH": os.environ["PATH"],
        **KEYS,
    }


def _as_nobody():
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


@cache
def attacked(whom: str, *without: str) -> dict[str, str]:
    """What an attack comes to, by attempt; of one who has a caller of its own, as this user or as nobody."""
    python, how = sys.executable, {}
    if whom == "nobody":
        if os.geteuid() != 0:
            pytest.skip("only root can be somebody else")
        python, how = python_for_nobody(), _as_nobody()
        if python is None:
            pytest.skip("nobody but root can start a Python that has the libraries")
    with tempfile.TemporaryDirectory() as folder:
        if how:
            os.chown(folder, NOBODY, NOBODY)
        program = [python, "-m", "tests.support.hostile_child", f"{folder}/attack", *without]
        done = subprocess.run(
            program, env=_environment(), **how, capture_output=True, text=True, timeout=120, check=False
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def reached(outcomes):
    return {name for name, outcome in outcomes.items() if outcome.startswith("reached")}


def need(*wanted: str) -> None:
    """Skip where the kernel lacks something."""
    there = {
        LANDLOCK: detect_support().landlock,
        NAMESPACES: detect_support((LANDLOCK,)).namespaces,
        FILTER: detect_support().filter,
    }
    if missing := [name for name in wanted if not there[name]]:
        pytest.skip(f"this machine has no {', '.join(missing)}")


@pytest.mark.parametrize("whom", ["this user", "nobody"])
@pytest.mark.parametrize(("hides_files", "without"), [(LANDLOCK, ()), (NAMESPACES, (LANDLOCK,))])
def test_hostile_code_reaches_its_own_file_and_folder_and_nothing_else(whom, hides_files, without):
    need(hides_files, FILTER)
    outcomes = attacked(whom, *without)
    assert len(outcomes) > 75
    assert reached(outcomes) == ALLOWED_ATTEMPTS, {
        name: outcomes[name] for name in reached(outcomes) - ALLOWED_ATTEMPTS
    }


@pytest.mark.parametrize("whom", ["this user", "nobody"])
def test_with_the_filter_alone_it_reads_files_but_reaches_no_network_no_memory_and_no_process(whom):
    need(FILTER)
    escaped = reached(attacked(whom, LANDLOCK, NAMESPACES)) - ALLOWED_ATTEMPTS
    assert "files: secret" in escaped
    numbers_only = {
        "memory of the caller: handles",
        "memory of the server: handles",
    }  # what root's are called, not what they are
    assert {name for name in escaped if not name.startswith(("files: ", "shared memory: "))} <= numbers_only
    assert not escaped & {
        "shared memory: system v",
        "files: symlink",
        "files: hard link",
        "files: modes of own",
    }


def test_without_a_cell_the_same_code_reaches_nearly_all_of_it():
    escaped = reached(attacked("this user", LANDLOCK, NAMESPACES, FILTER)) - ALLOWED_ATTEMPTS
    assert len(escaped) > 35
    assert {
        "network: tcp",
        "network: local",
        "network: abstract",
        "files: secret",
        "others: signal",
        "others: fork",
    } <= escaped


def find_in_memory(words):
    """How often the text that these words make stands in this process's memory."""
    from tests.support.hostile_child import call as call_kernel

    text, found = b"".join(words), 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(bound, 16) for bound in line.split()[0].split("-"))
        if " rw" in line:
            into = ctypes.create_string_buffer(last - first)
            ours, theirs = (
                struct.pack("QQ", ctypes.addressof(into), last - first),
                struct.pack("QQ", first, last - first),
            )
            with suppress(OSError):
                call_kernel(
                    "process_vm_readv",
                    os.getpid(),
                    ours,
                    ctypes.c_ulong(1),
                    theirs,
                    ctypes.c_ulong(1),
                    ctypes.c_ulong(0),
                )
                found += into.raw.count(text)
    return found


def length(data):
    return len(data)


def test_no_child_finds_in_its_memory_what_another_was_given(confined_without):
    confined_without(LANDLOCK, NAMESPACES, FILTER)  # it has to look at all of its memory
    words = [b"another ", b"film's ", b"pictures"]
    assert call(length, b"".join(words) * 1000, limits=LIMITS) == 23_000
    assert 0 < call(find_in_memory, words, limits=Limits(20, 2**30)) < 20  # what it looks for, and its copies


def privileges():
    """What the kernel says of a child; the child may no longer ask."""
    from pipelines.sandbox import child_server

    lines = os.pread(child_server._status, 2**14, 0).decode().splitlines()
    held = next(int(line.split()[1], 16) for line in lines if line.startswith("CapPrm:"))
    return [number for number in range(64) if held >> number & 1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges")
def test_of_root_it_keeps_no_privilege_but_to_read_files(confined_without):
    assert set(call(privileges, limits=LIMITS)) <= {capabilities.PASS_BY_MODES, capabilities.READ_ANY}
    confined_without(LANDLOCK, NAMESPACES)
    assert set(call(privileges, limits=LIMITS)) <= {capabilities.READ_ANY}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads what is another's")
def test_root_decodes_what_is_anothers(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"frames")
    for path in (tmp_path / "film.mp4", tmp_path):
        os.chmod(path, 0o600 if path.is_file() else 0o700)
        os.chown(path, NOBODY, NOBODY)
    assert call(bytes_of, tmp_path / "film.mp4", limits=LIMITS) == 6


def bytes_of(path):
    return len(path.read_bytes())


def write_to(path):
    Path(path).write_bytes(b"changed")


def test_who_is_given_no_folder_changes_no_file_even_where_it_can_open_all(tmp_path, confined_without):
    need(FILTER)
    path = tmp_path / "film.mp4"
    path.write_bytes(b"frames")
    for without in ((), (LANDLOCK, NAMESPACES)):
        confined_without(*without)
        with pytest.raises(ChildError, match="PermissionError"):
            call(write_to, path, limits=LIMITS)
        with pytest.raises(ChildError, match=r"PermissionError|OSError"):
            call(os.rename, path, tmp_path / "other.mp4", limits=LIMITS)
        assert path.read_bytes() == b"frames"


def test_a_link_in_the_place_of_what_a_child_made_is_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "nothing"):
        with pytest.raises(MediaError, match="left") as caught:
            read_output(tmp_path / name, 1000)
        assert caught.value.reason is Reason.CRASHED
    assert read_output(tmp_path / "secret", 1000) == SECRET
    with pytest.raises(MediaError, match="something else"):
        read_output(tmp_path / "secret", 10)


def answer(data, times=1):
    """In the place of the answer, and no more."""
    from pipelines.sandbox import progress_pipe

    for _ in range(times):
        os.write(progress_pipe._pipe, data)
    os._exit(0)


@pytest.mark.parametrize(
    "data",
    [
        b"J{", b"J" + b"[" * 100_000, b"J\xff", b"A\x93NUMPY", b"Tnothing", b"D\xff\xff\xff\xff", b"Dxxxx[1]",
        b'M["no reason", ""]', b"M1", b"?",
        b"A\x93NUMPY\x01\x00v\x00"
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(128) + b"\x80\x04.",
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_a_crash_of_that_file(data):
    with pytest.raises(MediaError) as caught:
        call(answer, data, limits=LIMITS)
    assert caught.value.reason is Reason.CRASHED


def test_an_answer_longer_than_its_memory_is_not_waited_for():
    with pytest.raises(MediaError, match="answered more than 67108864 bytes") as caught:
        call(answer, b"J" + bytes(2**20), 100, limits=Limits(20, 64 * 2**20))
    assert caught.value.reason is Reason.CRASHED


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_of_every_machine_is_sound(machine):
    steps = call_filter.decoding(machine, 4711, writes=True)
    outcomes = {number: run(steps, number, machine) for number in range(600)}
    column = {"x86_64": 0, "aarch64": 1}[machine]
    known = {call[column] for call in SYSCALL_NUMBERS.values()} - {None}
    assert all(outcomes[number] >> 16 == 5 for number in set(outcomes) - known)
    assert sum(outcome == 0x7FFF0000 for outcome in outcomes.values()) > 75
    assert run(steps, SYSCALL_NUMBERS["kill"][column], machine, (4711,)) == 0x7FFF0000
    assert run(steps, SYSCALL_NUMBERS["kill"][column], machine, (1,)) >> 16 == 5
    for other in ("x86_64", "aarch64"):
        if other != machine:
            assert run(steps, SYSCALL_NUMBERS["read"][column], other) >> 16 == 5


def run(steps, number, machine, arguments=()):
    """What a filter says of a call."""
    of_machine = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
    seen = struct.pack("<IIQ6Q", number, of_machine, 0, *arguments, *[0] * (6 - len(arguments)))
    at, value = 0, 0
    while True:
        code, yes, no, operand = steps[at]
        assert 0 <= yes < 256
        assert 0 <= no < 256
        at += 1
        if code == 0x20:
            (value,) = struct.unpack_from("<I", seen, operand)
        elif code == 0x54:
            value &= operand
        elif code == 0x15:
            at += yes if value == operand else no
        else:
            assert code == 0x06
            return operand


FORGETFUL = """
import ctypes, os, sys
from pathlib import Path
from pipelines.sandbox import landlock
from pipelines.sandbox.isolation import Isolation, IsolationSupport
file, room = Path(sys.argv[1]), Path(sys.argv[2])
about = ctypes.create_string_buffer(256)
ctypes.CDLL(None).fstatfs(os.open(file, os.O_RDONLY), about)
landlock.UNSTABLE_FILE_SYSTEMS = {ctypes.c_long.from_buffer(about).value}
Isolation(IsolationSupport(landlock.version(), False, False)).lock_down([file], room, [result := os.dup(1)])
(room / "made").write_bytes(file.read_bytes())
try:
    Path(sys.argv[3]).read_bytes()
except PermissionError:
    os.write(result, b"held")
"""


def test_a_file_system_that_forgets_its_files_is_a_files_own_as_a_whole(tmp_path):
    need(LANDLOCK)
    if not os.path.ismount("/dev/shm"):
        pytest.skip("there is no second file system to be in")
    (tmp_path / "secret").write_bytes(SECRET)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        file, room = Path(folder, "film.mp4"), Path(folder, "room")
        file.write_bytes(b"frames")
        room.mkdir()
        program = [sys.executable, "-c", FORGETFUL, str(file), str(room), str(tmp_path / "secret")]
        done = subprocess.run(program, env=_environment(), capture_output=True, text=True, check=False)
        assert (done.stdout, (room / "made").read_bytes()) == ("held", b"frames"), done.stderr


def test_what_is_lacking_is_said():
    assert str(IsolationSupport(7, False, True)) == "Landlock 7 and a filter of system calls"
    assert IsolationSupport(7, False, True).is_complete
    assert IsolationSupport(0, True, True).is_complete
    assert IsolationSupport(0, True, True).missing_protection == ""
    alone = IsolationSupport(0, False, True)
    assert (str(alone), alone.is_complete) == ("a filter of system calls", False)
    assert alone.missing_protection == "a file that takes over its decoder could read the files of this user"
    assert str(IsolationSupport(0, False, False)) == "nothing"
    assert IsolationSupport(0, False, False).missing_protection.endswith(
        "could read the files of this user and could send them elsewhere"
    )
