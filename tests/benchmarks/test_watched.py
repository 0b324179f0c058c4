"""The watcher sees what a decoding process does: without that, seeing nothing would prove nothing."""

import shutil
import sys

import pytest

from benchmarks.fuzz import listener
from benchmarks.measure.watched import calls, watch

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

PROGRAM = """
import socket, subprocess, sys, time
from pathlib import Path
from pipelines.errors import MediaError
from pipelines.sandbox import child
from pipelines.sandbox.answers import ChildError, Limits
child._without = ("landlock", "namespaces", "filter")  # what the kernel refuses, strace does not see
canary, port = Path(sys.argv[1]), int(sys.argv[2])
for deadline_s, function, *args in (
    (60, Path.read_text, canary),
    (60, socket.create_connection, ("127.0.0.1", port)),
    (60, socket.socket, socket.AF_UNIX),
    (60, subprocess.run, ["true"]),
    (60, Path.exists, canary),
    (1, time.sleep, 30),
):
    try:
        child.call(function, *args, limits=Limits(deadline_s, memory_bytes=1024**3))
    except (ChildError, MediaError) as error:
        print(type(error).__name__)
child.stop()
"""


def test_a_decoding_process_is_seen_to_open_to_try_to_connect_to_start_programs_and_to_hang(tmp_path):
    canary = tmp_path / 'a "can"ary.mp4'
    canary.write_text("sings")
    with listener() as (address, visits):
        program = [sys.executable, "-c", PROGRAM, str(canary), address.rpartition(":")[2]]
        watched = watch(program, tmp_path / "trace", timeout_s=300)
    assert watched.code == 0, watched.lines
    assert visits == [1]
    reads, connects, locals_, starts, looks, hangs = watched.calls
    assert any("ary.mp4" in path for path in reads.opened)
    assert any("connect(" in line for line in connects.sockets)
    assert any("socket(AF_UNIX" in line for line in locals_.sockets)
    assert any(line.startswith("execve") for line in starts.started)
    assert looks.sockets + looks.started == []
    assert not any("ary.mp4" in path for path in looks.opened)
    assert 0.9 <= hangs.seconds < 10
    assert all(call.peak_bytes > 10 * 1024**2 for call in (reads, connects, starts, looks))


def test_a_number_that_is_given_again_is_another_process():
    """Of processes: numbers are used again where there are many, and strace may tell of a child before of its
    birth."""
    trace = """\
7 1.0 execve("/bin/python", ["p", "-c", "from pipelines.sandbox.child_server import serve"], 0x1 /* 9 */) = 0
7 2.0 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD <unfinished ...>
9 2.1 openat(AT_FDCWD</here>, "first.mp4", O_RDONLY) = 4</footage/first.mp4>
7 2.2 <... clone resumed>, child_tidptr=0x7f) = 9
9 2.5 +++ exited with 0 +++
7 2.6 wait4(9, [{WIFEXITED(s)}], 0, {ru_maxrss=100, ru_ixrss=0}) = 9
7 3.0 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD, child_tidptr=0x7f) = 9
9 3.1 openat(AT_FDCWD</here>, "second.mp4", O_RDONLY <unfinished ...>
9 3.2 <... openat resumed>) = -1 ENOENT (No such file or directory)
9 4.5 +++ killed by SIGKILL +++
7 4.6 wait4(9, [{WIFSIGNALED(s)}], 0, {ru_maxrss=200, ru_ixrss=0}) = 9
""".splitlines()
    first, second = calls(trace)
    assert (first.opened, second.opened) == (["/footage/first.mp4"], ["/here/second.mp4"])
    assert (round(first.seconds, 1), round(second.seconds, 1)) == (0.4, 1.5)
    assert (first.peak_bytes, second.peak_bytes) == (100 * 1024, 200 * 1024)
