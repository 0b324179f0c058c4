"""The killable child: what it returns, and what becomes of a function that hangs, crashes or takes too
much."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import MediaError, Reason
from pipelines.sandbox import child
from pipelines.sandbox.answers import ChildError, Limits
from pipelines.sandbox.child import call

LIMITS = Limits(deadline_s=20, memory_bytes=256 * 1024**2, file_bytes=1024**2)


def echo(value):
    return value


def table(rows):
    return pa.table({"pts": list(range(rows))})


def was_loaded(name):
    return name in sys.modules


def environment():
    """Which a server was started with."""
    return Path(f"/proc/{call(os.getppid, limits=LIMITS)}/environ").read_text().split("\0")


def refuse():
    raise MediaError(Reason.NO_VIDEO, "nothing to see")


def fail():
    raise KeyError("colour")


def hang_with_the_lock():
    ctypes.PyDLL(None).sleep(3600)  # PyDLL keeps the interpreter's lock, as decord does when it hangs


def spin():
    while True:
        pass


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def leave():
    os._exit(3)


def eat(num_bytes):
    return len(bytearray(num_bytes))


def eat_in_opencv(num_bytes):
    import cv2

    return len(cv2.resize(np.zeros((1, 1), np.uint8), (num_bytes // 2**14, 2**14)))


def two_tables(rows):
    return {"first": table(rows), "second": pa.table({"name": ["a"] * rows})}


def decode_without_memory(path):
    from pipelines.media.decode import iterate_pictures
    from pipelines.media.read_clock import read_clock

    clock = read_clock(path)
    return len(list(iterate_pictures(path, int(clock.pts[0]), clock.end_pts)))


def write(path, num_bytes):
    Path(path).write_bytes(bytes(num_bytes))


_model = []


def load_model():
    _model.append(os.getpid())


def model_and_pid():
    return [*_model, os.getpid()]


def pid():
    return os.getpid()


def wait_for(seconds, path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(seconds)


@pytest.fixture(autouse=True, scope="module")
def _ended():
    yield
    child.stop()


def test_values_arrays_and_tables_come_back():
    assert call(echo, {"pts": [1, None], "name": "x"}, limits=LIMITS) == {"pts": [1, None], "name": "x"}
    array = np.arange(3_000_000, dtype=np.int64).reshape(3, -1)  # more than a pipe holds
    assert np.array_equal(call(echo, array, limits=LIMITS), array)
    assert call(table, 5, limits=LIMITS).equals(table(5))


def test_several_tables_come_back_by_name():
    both = call(two_tables, 3, limits=LIMITS)
    assert {name: rows.num_rows for name, rows in both.items()} == {"first": 3, "second": 3}
    assert both["second"]["name"].to_pylist() == ["a"] * 3


def test_every_call_is_a_process_of_its_own_that_leaves_nothing():
    pids = {call(pid, limits=LIMITS) for _ in range(3)}
    assert len(pids) == 3
    assert not any(Path(f"/proc/{number}").exists() for number in pids)


def test_what_is_preloaded_is_loaded_once_in_the_server_and_seen_by_every_fork():
    first, second = (call(model_and_pid, limits=LIMITS, preload=load_model) for _ in range(2))
    assert len(first) == len(second) == 2
    assert first[0] == second[0] != first[1] != second[1]


def test_libraries_are_never_looked_for_in_the_working_folder(monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib::")  # as importing OpenCV leaves it
    child.stop()
    assert "LD_LIBRARY_PATH=/opt/lib" in environment()
    child.stop()


def test_no_fork_loads_what_arrow_looks_for():
    assert call(was_loaded, "pandas", limits=LIMITS)


def test_errors_keep_their_reason_and_faults_their_traceback():
    with pytest.raises(MediaError, match="nothing to see") as caught:
        call(refuse, limits=LIMITS)
    assert caught.value.reason is Reason.NO_VIDEO
    with pytest.raises(ChildError) as fault:
        call(fail, limits=LIMITS)
    assert str(fault.value) == "KeyError: 'colour'"
    assert "in fail\n" in fault.value.__notes__[0]


@pytest.mark.parametrize(
    ("function", "args", "limits", "reason"),
    [
        (hang_with_the_lock, (), Limits(1.0, 2**28), Reason.TIMED_OUT),
        (spin, (), Limits(1.0, 2**28), Reason.TIMED_OUT),
        (crash, (), LIMITS, Reason.CRASHED),
        (leave, (), LIMITS, Reason.CRASHED),
        (eat, (2**29,), LIMITS, Reason.OUT_OF_MEMORY),
        (eat_in_opencv, (2**29,), LIMITS, Reason.OUT_OF_MEMORY),
    ],
)
def test_what_hangs_crashes_or_eats_memory_is_a_reason_and_the_next_call_works(
    function, args, limits, reason
):
    with pytest.raises(MediaError) as caught:
        call(function, *args, limits=limits)
    assert caught.value.reason is reason
    assert call(echo, 1, limits=LIMITS) == 1


def test_ffmpeg_without_memory_is_out_of_memory(tmp_path):
    from tests.support.footage import pan
    from tests.support.footage import write as write_video

    path = write_video(tmp_path / "a.mp4", np.broadcast_to(pan(1, 1, 480, 640), (300, 480, 640, 3)))
    assert call(decode_without_memory, path, limits=LIMITS) == 300
    with pytest.raises(MediaError) as caught:
        call(decode_without_memory, path, limits=Limits(20, 16 * 1024**2))
    assert caught.value.reason is Reason.OUT_OF_MEMORY


def tell_and_return(numbers, value):
    from pipelines.sandbox import progress_pipe

    progress_pipe._EVERY_S = 0.0
    for number in numbers:
        progress_pipe.report_progress(number)
    return value


def test_how_far_a_call_is_is_told_while_it_runs_and_is_no_part_of_its_answer():
    told = []
    numbers = [float(number) for number in range(20_000)]  # more than a pipe holds
    for value in ({"P": 1}, np.full(3, 80, np.uint8)):  # 80 is P
        got = call(tell_and_return, numbers, value, limits=LIMITS, on_progress=told.append)
        assert np.array_equal(got, value) if isinstance(value, np.ndarray) else got == value
        assert told == sorted(told)
        assert told.pop() == numbers[-1]
        told.clear()
    assert (
        call(tell_and_return, [1.0, float("nan"), float("inf")], 1, limits=LIMITS, on_progress=told.append)
        == 1
    )
    assert set(told) <= {1.0}
    assert tell_and_return(numbers, 2) == 2, "where nobody listens, nothing is told"


def server_after_a_second():
    time.sleep(1)
    return os.getppid()


def test_calls_of_several_threads_run_side_by_side_and_of_one_thread_in_one_server():
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(call, server_after_a_second, limits=LIMITS) for _ in range(2)]
        servers = [made.result() for made in calls]
    assert len(set(servers)) == 2
    assert len({call(os.getppid, limits=LIMITS) for _ in range(3)} | set(servers)) == 2


def wait_to_be_killed(folder):
    """Until whoever kills has had enough."""
    (folder / str(os.getpid())).write_text(str(os.getppid()))
    while not (folder / "enough").exists():
        time.sleep(0.01)
    return "alive"


def kill_all(folder, times, whom):
    """So many of those who wait, or their servers."""
    killed = set()
    while len(killed) < times:
        for path in folder.iterdir():
            if path.name not in killed and (server := path.read_text()):
                os.kill(int({"fork": path.name, "server": server}[whom]), signal.SIGKILL)
                killed.add(path.name)
        time.sleep(0.01)
    (folder / "enough").touch()


@pytest.mark.parametrize("whom", ["fork", "server"])
def test_who_is_killed_once_or_twice_by_somebody_else_is_asked_again(tmp_path, whom):
    twice, often = tmp_path / "twice", tmp_path / "often"
    with ThreadPoolExecutor(1) as pool:
        twice.mkdir()
        killing = pool.submit(kill_all, twice, 2, whom)
        assert call(wait_to_be_killed, twice, limits=LIMITS, writes=twice) == "alive"
        killing.result()
        often.mkdir()
        killing = pool.submit(kill_all, often, 3, whom)
        with pytest.raises((MediaError, ChildError), match="3 times"):
            call(wait_to_be_killed, often, limits=LIMITS, writes=often)
        killing.result()
    assert len(list(often.iterdir())) == 3 + 1
    assert call(echo, 1, limits=LIMITS) == 1


def close_all_and_stay():
    os.closerange(3, 256)
    time.sleep(600)


def test_who_hangs_up_and_does_not_end_is_out_of_time(monkeypatch):
    child.stop()
    monkeypatch.setattr(child, "_ANSWERS_WITHIN_S", 2.0)
    with pytest.raises(MediaError, match="has answered, but not ended within 2 s") as caught:
        call(close_all_and_stay, limits=LIMITS)
    assert caught.value.reason is Reason.TIMED_OUT
    child.stop()
    assert call(echo, 1, limits=LIMITS) == 1


def test_a_file_may_not_grow_beyond_its_limit(tmp_path):
    call(write, str(tmp_path / "a"), 1024**2, limits=LIMITS, writes=tmp_path)
    assert (tmp_path / "a").stat().st_size == 1024**2
    with pytest.raises(MediaError, match="longer than 1048576 bytes") as caught:
        call(write, str(tmp_path / "b"), 1024**2 + 1, limits=LIMITS, writes=tmp_path)
    assert caught.value.reason is Reason.UNWRITABLE


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_dies_takes_its_child_with_it(tmp_path, how):
    code = (
        f"from tests.pipelines.sandbox.test_child import *\ncall(wait_for, 3600, {str(tmp_path / 'pid')!r}, "
        f"limits=Limits(3600, 2**28, 2**20), writes=Path({str(tmp_path)!r}))"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.getcwd()})
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert worker.poll() is None
        time.sleep(0.05)
    worker.send_signal(how)
    worker.wait()
    running = Path(f"/proc/{(tmp_path / 'pid').read_text()}")
    for _ in range(200):
        if not running.exists():
            break
        time.sleep(0.05)
    assert not running.exists()


def numbers(count):
    import pyarrow as pa

    return pa.table({"number": pa.array(range(count))})


def test_a_table_takes_no_more_memory_than_its_rows():
    for _ in range(5):
        child.stop()
        assert call(numbers, 1000, limits=Limits(10, 64 * 1024**2)).num_rows == 1000
