"""Tests leave the machine as they found it: a real-time process and its children would starve all others."""

import os
from pathlib import Path

import pytest

from tests.support.footage import pan, write


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="this system has no such scheduler")
def test_writing_av1_leaves_every_thread_scheduled_as_before(tmp_path):
    write(
        tmp_path / "a.mp4",
        pan(1, 5, 64, 64),
        codec="libsvtav1",
        options={"preset": "10", "svtav1-params": "lp=1"},
    )
    tasks = [int(task.name) for task in Path("/proc/self/task").iterdir()]
    assert {os.sched_getscheduler(task) for task in tasks} == {os.SCHED_OTHER}
