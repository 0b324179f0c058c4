"""A drill kills whom it names, where it says, once; without one, boundaries do nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipelines import fault_injection
from pipelines.fault_injection import Drill, arrivals, driver_pid, has_killed, kill_point, write_drill
from pipelines.storage.local_store import LocalStore

ROOT = Path(__file__).resolve().parents[2]
PASS = """
from pipelines.fault_injection import kill_point
for _ in range({times}):
    kill_point('x:before')
    kill_point('x:after')
"""
# A driver with two workers, one of which has a child of its own, as a Ray worker has its decoders.
LEAD = """
import subprocess, sys, time
from pipelines.fault_injection import register_driver
register_driver()
workers = [subprocess.Popen([sys.executable, "-c", code]) for code in sys.argv[1:]]
print(*(worker.pid for worker in workers), flush=True)
time.sleep(60)
"""
SLEEP = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"


def python(code: str, file: Path, *args: str, **options) -> subprocess.Popen:
    env = {**os.environ, fault_injection.VARIABLE: str(file), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code, *args], env=env, **options)


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def ended(pid: int) -> bool:
    until = time.monotonic() + 10
    while not has_ended(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return has_ended(pid)


def test_the_nth_arrival_of_all_processes_kills_its_worker_and_no_other_and_only_once(tmp_path):
    file = write_drill(Drill("x:before", 5, "worker", "a"), tmp_path)
    for killed in (1, 0):
        workers = [python(PASS.format(times=3), file) for _ in range(3)]
        codes = [worker.wait(30) for worker in workers]
        assert codes.count(-signal.SIGKILL) == killed
        assert codes.count(0) == 3 - killed
        assert has_killed(tmp_path / "a")
    passed = arrivals(tmp_path / "a")
    assert passed.keys() == {"x:before", "x:after"}
    assert len(passed["x:before"]) == len(passed["x:after"]) + 1
    assert passed["x:before"][4] not in passed["x:before"][5:]


def test_a_worker_may_kill_the_driver_and_lives(tmp_path):
    file = write_drill(Drill("x:before", 1, "driver", "a"), tmp_path)
    driver = python(
        "from pipelines.fault_injection import register_driver\nregister_driver(); print(flush=True); "
        "input()",
        file,
        stdin=-1,
        stdout=-1,
    )
    driver.stdout.readline()
    assert driver_pid(tmp_path / "a") == driver.pid
    assert python(PASS.format(times=1), file).wait(30) == 0
    assert driver.wait(10) == -signal.SIGKILL
    driver.stdin.close(), driver.stdout.close()


def test_all_that_the_driver_started_goes_with_ray(tmp_path):
    file = write_drill(Drill("x:after", 1, "ray", "a"), tmp_path)
    driver = python(
        LEAD, file, SLEEP, "import time; time.sleep(1)\n" + PASS.format(times=1), stdout=-1, text=True
    )
    pids = [int(pid) for pid in driver.stdout.readline().split()]
    grandchildren = [child.pid for child in psutil.Process(driver.pid).children(recursive=True)]
    assert driver.wait(30) == -signal.SIGKILL
    driver.stdout.close()
    assert set(pids) <= set(grandchildren)
    assert all(ended(pid) for pid in grandchildren)


def test_a_dead_drivers_number_is_nobody_else_s_death(tmp_path):
    file = write_drill(Drill("x:before", 1, "driver", "a"), tmp_path)
    bystander = python("input()", file, stdin=-1)
    known = {"host": os.uname().nodename, "pid": bystander.pid, "born": 1.0}
    (tmp_path / "a" / "driver").write_text(json.dumps(known))
    assert python(PASS.format(times=1), file).wait(30) == 0
    assert bystander.poll() is None
    bystander.communicate()


def test_a_driver_on_another_machine_is_an_error_and_not_somebody_s_death(tmp_path, monkeypatch):
    monkeypatch.setenv(
        fault_injection.VARIABLE, str(write_drill(Drill("x:before", 1, "driver", "a"), tmp_path))
    )
    (tmp_path / "a" / "driver").write_text(json.dumps({"host": "elsewhere", "pid": os.getpid(), "born": 1.0}))
    with pytest.raises(RuntimeError, match="elsewhere"):
        kill_point("x:before")
    assert not has_killed(tmp_path / "a")


def test_without_a_drill_boundaries_do_nothing_and_nobody_takes_part(monkeypatch):
    monkeypatch.delenv(fault_injection.VARIABLE, raising=False)
    kill_point("x:before")
    fault_injection.register_driver()
    assert fault_injection.environment() == {}


def test_a_drill_that_kills_nobody_lists_what_is_passed(tmp_path, monkeypatch):
    monkeypatch.setenv(fault_injection.VARIABLE, str(write_drill(Drill("", 0, "worker", "list"), tmp_path)))
    store = LocalStore(tmp_path / "dataset")
    assert store.put_new("a/b", b"1")
    assert not store.put_new("a/b", b"2")
    assert arrivals(tmp_path / "list") == {"object:linked": [os.getpid()], "object:written": [os.getpid()]}
    assert not has_killed(tmp_path / "list")


def test_workers_get_the_drill_by_a_path_that_is_right_for_them_too(tmp_path, monkeypatch):
    write_drill(Drill("", 0, "worker", "a"), tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(fault_injection.VARIABLE, "a.json")
    fault_injection.register_driver()
    assert fault_injection.environment() == {fault_injection.VARIABLE: str(tmp_path / "a.json")}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"boundary": "x", "nth": 1, "victim": "me", "token": "a"}', "known are worker, driver, ray"),
        ('{"boundary": "x", "nth": 1, "victim": "ray", "token": "../a"}', "no name of a folder"),
        ('{"boundary": "x"}', "missing"),
        ("no drill", "docs/operations.md"),
    ],
)
def test_a_file_that_holds_no_drill_says_so(tmp_path, monkeypatch, content, says):
    (tmp_path / "a.json").write_text(content)
    monkeypatch.setenv(fault_injection.VARIABLE, str(tmp_path / "a.json"))
    with pytest.raises(ValueError, match=says):
        fault_injection.register_driver()
