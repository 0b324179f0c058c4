"""Training on a real Ray with DeepSpeed: a run that stops goes on as if it had not, on any number of workers."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.training.checkpoint import newest, read_step
from tests.conftest import run_job

STEPS = [
    "size=tiny", "model.width=32", "model.depth=2", "optim.schedule=constant", "optim.warmup_steps=2", "optim.lr=1e-3", "precision=fp32",
    "budget.max_tokens=32", "budget.batches_per_step=2", "log_every=1", "validate_every=2", "checkpoint_every=2", "sample_every=100", "sample.steps=2",
]  # fmt: skip


def losses(out: Path) -> dict[int, float]:
    """Training loss by step."""
    entries = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {e["step"]: e["loss"] for e in entries if "loss" in e}


def checkpoint_step(out: Path) -> int | None:
    """The step that a run would go on from."""
    state = newest(out)
    return read_step(state) if state else None


@pytest.fixture(scope="module")
def uninterrupted(tiny_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    run_job("train", f"dataset={tiny_run.out}/dataset", f"out={out}", *STEPS, "max_steps=4", "workers.num=1")
    return out


def test_save_and_resume_gives_the_same_next_losses_on_another_number_of_workers(tiny_run, uninterrupted, tmp_path):
    command = ["train", f"dataset={tiny_run.out}/dataset", f"out={tmp_path}", *STEPS]
    run_job(*command, "max_steps=2", "workers.num=2")
    run_job(*command, "max_steps=4", "workers.num=1", "zero.stage=1")
    whole, parts = losses(uninterrupted), losses(tmp_path)
    assert set(whole) == set(parts) == {1, 2, 3, 4}
    assert [parts[s] for s in sorted(parts)] == pytest.approx([whole[s] for s in sorted(whole)], rel=1e-4)


def test_a_run_is_not_gone_on_with_under_other_settings(tiny_run, uninterrupted):
    with pytest.raises(ValueError, match=r"holds a run with optim\.lr=0\.001, and this one has 0\.002"):
        run_job(
            "train", f"dataset={tiny_run.out}/dataset", f"out={uninterrupted}", *STEPS, "max_steps=4", "optim.lr=2e-3"
        )


def test_a_worker_that_fails_is_told_in_its_own_words(tiny_run, tmp_path):
    with pytest.raises(RuntimeError, match=r"worker 0: ValueError: clip \w+ has captions"):
        run_job("train", f"dataset={tiny_run.out}/dataset", f"out={tmp_path}", *STEPS, "max_steps=2", "captions.short=0", "captions.dense=0",
                "workers.max_failures=0")  # fmt: skip


def test_interrupted_it_exits_with_130_and_the_same_command_goes_on(tiny_run, shared_ray, tmp_path):
    command = ["train", f"dataset={tiny_run.out}/dataset", f"out={tmp_path}", *STEPS, "workers.num=1"]
    reached = 0
    for stop in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs.main", *command, "max_steps=100000", f"ray.address={shared_ray.address}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        while (checkpoint_step(tmp_path) or 0) <= reached:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.2)
        process.send_signal(stop)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert "run the same command to go on" in said
        reached = checkpoint_step(tmp_path) or 0
    result = run_job(*command, f"max_steps={reached + 2}")
    assert result["steps"] == reached + 2
    assert list(losses(tmp_path)) == list(range(1, reached + 3)), "every step is in the record once"
