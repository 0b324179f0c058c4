"""One training at a time writes into a run's folder."""

import subprocess
import sys
import time

import pytest

from jobs.training.run_lock import lock_run, wait_until_free

HOLD = (
    "import sys, time; from pathlib import Path; from jobs.training.run_lock import lock_run; "
    "lock_run(Path(sys.argv[1]), 0); print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_training_into_a_folder_is_refused_until_the_first_has_ended(tmp_path, holder):
    with pytest.raises(ValueError, match=f"another training writes into out={tmp_path}"):
        lock_run(tmp_path, 0.2)
    holder.kill()
    assert lock_run(tmp_path, 30.0) is not None


def test_who_waits_for_the_end_of_a_training_waits_until_its_process_has_ended(tmp_path, holder):
    wait_until_free(tmp_path, 0.2)
    assert holder.poll() is None, "patience ends first"
    holder.terminate()
    wait_until_free(tmp_path, 30.0)
    assert holder.wait(timeout=5) != 0


def test_nobody_waits_for_a_training_that_never_began(tmp_path):
    began_s = time.monotonic()
    wait_until_free(tmp_path, 60.0)
    assert time.monotonic() - began_s < 30
    assert not list(tmp_path.iterdir())


def test_the_lock_follows_no_link(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        lock_run(tmp_path / "run", 0.0)
    assert not (tmp_path / "elsewhere").exists()
