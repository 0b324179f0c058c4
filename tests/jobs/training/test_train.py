"""Training on a real Ray with DeepSpeed: a run that stops goes on as if it had not, on any number of
workers."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.cli.compose import compose
from jobs.cli.registry import JOBS
from jobs.cli.run_folder import Run
from jobs.training.checkpoint_files import BadStateError, damaged, latest_checkpoint, read_step
from jobs.training.resume import resume_notes
from pipelines.precision import AUTO, decide
from tests.conftest import TINY, run_job

STEPS = [
    "size=tiny", "model.width=32", "model.depth=2", "optim.schedule=constant", "optim.warmup_steps=2",
    "optim.lr=1e-3", "precision=fp32",
    "budget.max_tokens=32", "budget.batches_per_step=2", "log_every=1", "validate_every=2",
    "checkpoint_every=2", "sample_every=100", "sample.steps=2",
]  # fmt: skip


def losses(out: Path) -> dict[int, float]:
    """Training loss by step."""
    entries = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {e["step"]: e["loss"] for e in entries if "loss" in e}


def checkpoint_step(out: Path) -> int | None:
    """The step that a run would go on from."""
    state = latest_checkpoint(out)
    return read_step(state) if state else None


@pytest.fixture(scope="module")
def uninterrupted(tiny_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    run_job("train", f"dataset={tiny_run.out}/dataset", f"out={out}", *STEPS, "max_steps=4", "workers.num=1")
    return out


def test_save_and_resume_gives_the_same_next_losses_on_another_number_of_workers(
    tiny_run, uninterrupted, tmp_path
):
    command = ["train", f"dataset={tiny_run.out}/dataset", f"out={tmp_path}", *STEPS]
    run_job(*command, "max_steps=2", "workers.num=2")
    run_job(*command, "max_steps=4", "workers.num=1", "zero.stage=1")
    whole, parts = losses(uninterrupted), losses(tmp_path)
    assert set(whole) == set(parts) == {1, 2, 3, 4}
    assert [parts[s] for s in sorted(parts)] == pytest.approx([whole[s] for s in sorted(whole)], rel=1e-4)


def test_a_run_is_not_gone_on_with_under_other_settings(tiny_run, uninterrupted):
    with pytest.raises(ValueError, match=r"holds a run with optim\.lr=0\.001, and this one has 0\.002"):
        run_job(
            "train",
            f"dataset={tiny_run.out}/dataset",
            f"out={uninterrupted}",
            *STEPS,
            "max_steps=4",
            "optim.lr=2e-3",
        )


def test_what_would_fail_again_is_told_in_its_own_words_and_not_tried_again(tiny_run, tmp_path):
    shutil.copytree(tiny_run.out / "dataset", tmp_path / "dataset")
    for path in (tmp_path / "dataset" / "latents").glob("*/shards/*/*.tar"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(
        RuntimeError, match=r"^worker 0: ValueError: clip \w+ in latents/.* can't be read .*and encode again$"
    ):
        run_job(
            "train",
            f"dataset={tmp_path}/dataset",
            f"out={tmp_path / 'out'}",
            *STEPS,
            "max_steps=2",
            "workers.max_failures=2",
        )
    assert (tmp_path / "out" / "worker_0.log").read_text().count(" pid ") == 1


def test_it_goes_on_behind_half_a_line_and_a_state_that_was_cut_off(
    tiny_run, uninterrupted, tmp_path, capsys
):
    shutil.copytree(uninterrupted, tmp_path, dirs_exist_ok=True)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "time_s": 17957')
    cut = latest_checkpoint(tmp_path) / "state.safetensors"
    assert cut.parent.name == "step_00000004"
    cut.write_bytes(cut.read_bytes()[:20_000])
    result = run_job(
        "train", f"dataset={tiny_run.out}/dataset", f"out={tmp_path}", *STEPS, "max_steps=6", "workers.num=1"
    )
    said = capsys.readouterr().out
    assert f"{cut.parent} can't be read (state.safetensors: " in said
    assert "going on from step 2" in said
    assert result["steps"] == 6
    assert list(losses(tmp_path)) == [1, 2, 3, 4, 5, 6], "every step is in the record once"
    assert losses(tmp_path)[4] == pytest.approx(losses(uninterrupted)[4], rel=1e-4)
    assert damaged(tmp_path) == []


def trained_so_far(out: Path, tiny_run, *more: str):
    return compose(JOBS["train"], [f"dataset={tiny_run.out}/dataset", f"out={out}", *STEPS, *more]).cfg


def test_states_that_are_all_damaged_are_named(tiny_run, uninterrupted, tmp_path):
    shutil.copytree(uninterrupted, tmp_path, dirs_exist_ok=True)
    for state in (tmp_path / "checkpoints").iterdir():
        (state / "state.json").write_text("")
    with pytest.raises(
        BadStateError, match=r"step_00000004: state.json: .*; restore it from a copy, or remove .*checkpoints"
    ):
        latest_checkpoint(tmp_path)
    with pytest.raises(ValueError, match="step_00000004"):
        JOBS["train"].module().check(trained_so_far(tmp_path, tiny_run))


def test_a_cosine_that_is_stretched_is_said(tiny_run, uninterrupted):
    for steps in (3, 4):
        assert (
            "this run has 4 steps already"
            in resume_notes(trained_so_far(uninterrupted, tiny_run, f"max_steps={steps}"))[0]
        )
    longer = trained_so_far(uninterrupted, tiny_run, "max_steps=8")
    assert resume_notes(longer) == ["going on from step 4"], "constant is constant"
    lines = resume_notes(trained_so_far(uninterrupted, tiny_run, "max_steps=8", "optim.schedule=cosine"))
    assert (
        "max_steps is 8 instead of 4, which stretches the cosine: the learning rate goes on at 0.000"
        in lines[1]
    )


def test_without_text_and_with_nothing_held_out_it_trains_all_the_same(tiny_run, tmp_path, capsys):
    shutil.copytree(tiny_run.out / "dataset", tmp_path / "dataset")
    shutil.rmtree(tmp_path / "dataset" / "latents")
    dataset = f"dataset={tmp_path / 'dataset'}"
    shapes = [o for o in TINY if o.startswith(("shapes.", "windows."))]
    run_job(
        "curate",
        tiny_run.overrides[0],
        dataset,
        "recipe=permissive",
        "recipe.min.duration_s=0.5",
        "captioner=own_text",
    )
    encoded = run_job(
        "encode", dataset, f"vae={tiny_run.made('train_vae')}", *shapes, "windows.holdout_share=0"
    )
    steps = [o for o in STEPS if not o.startswith("precision=")]
    result = run_job("train", dataset, f"out={tmp_path / 'out'}", *steps, "max_steps=2", "workers.num=1")
    said = capsys.readouterr().out
    assert (
        f"{encoded['clips']} of {encoded['clips']} clips have no caption of the kinds asked for (short, "
        "dense)" in said
    )
    assert "nothing was held out" in said
    assert "val_loss_last" not in result
    chosen = decide(AUTO).name
    assert f"train computes in {chosen} (" in said
    metrics, export = json.loads((tmp_path / "out" / "metrics.json").read_text()), tmp_path / "out" / "export"
    assert metrics["precision"] == json.loads((export / "pipeline.json").read_text())["precision"] == chosen
    assert f"computed in {chosen}" in (export / "README.md").read_text()
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["precision"] == chosen
    assert {
        path.stat().st_mode & 0o777
        for path in (*export.glob("dit/*"), *(tmp_path / "out").glob("checkpoints/*/*"))
    } == {(export / "pipeline.json").stat().st_mode & 0o777}, "as readable as whatever else it wrote"


def test_workers_that_find_no_place_are_said_to_be_waited_for(tiny_run, tmp_path, monkeypatch):
    """Somebody else has one of the cluster's two cores, until it is said what is waited for."""
    import ray

    @ray.remote(num_cpus=1)
    class Other:
        def here(self):
            return True

    other = Other.remote()
    assert ray.get(other.here.remote())
    said = []

    def say(self, text):
        said.append(text)
        if "waits for the cluster" in text:
            ray.kill(other)

    monkeypatch.setattr(Run, "say", say)
    run_job(
        "train", f"dataset={tiny_run.out}/dataset", f"out={tmp_path}", *STEPS, "max_steps=1", "workers.num=2"
    )
    (waits,) = (text for text in said if "waits for the cluster" in text)
    assert waits == (
        "train waits for the cluster: workers.num=2 needs 2 CPUs, and 1 of 2 CPUs are free: others are at "
        "work; it starts when there are enough"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("captions.dens=1", "'dens' is not known; did you mean 'dense'"),
        ("captions.short=-1", r"captions.short=-1.0 is negative"),
        ("captions={short: 0}", "no kind with a weight above 0"),
        ("model.depth=0", "model.depth=0 is too small: at least 1"),
        ("model.text_drop=7", "model.text_drop=7 is too large: at most 1.0"),
        ("model.heads=0", "model.heads=0 is too small"),
        ("model.patch=[1,4,4]",
            r"model.patch=\[1, 4, 4\] does not divide the latents of clip \w+, "
            r"\d × \d; encode the dataset with shapes.multiple=32"),
        ("out=s3://bucket/run", "out=s3://bucket/run: this job writes to a path of this machine"),
        ("workers.num=3", "workers.num=3 with 1 CPUs each needs 3 CPUs, and there are 2 CPUs"),
        ("workers.gpu=true", "workers.num=1 with a GPU each needs 1 GPU, and there is no GPU"),
        ("precision=bf61", "did you mean 'bf16'"),
    ],
)  # fmt: skip
def test_what_can_be_known_to_fail_is_refused_before_anything_is_written(
    tiny_run, tmp_path, override, message
):
    with pytest.raises(ValueError, match=message):
        JOBS["train"].module().check(trained_so_far(tmp_path / "out", tiny_run, override))
    assert not (tmp_path / "out").exists()


def test_interrupted_it_exits_with_130_and_the_same_command_goes_on(tiny_run, shared_ray, tmp_path):
    command = ["train", f"dataset={tiny_run.out}/dataset", f"out={tmp_path}", *STEPS, "workers.num=1"]
    reached = 0
    for stop in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs.cli.main", *command, "max_steps=100000",
                f"ray.address={shared_ray.address}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        while (checkpoint_step(tmp_path) or 0) <= reached:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.2)
        process.send_signal(stop)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert "run the same command to go on" in said
        assert (
            f"the same command goes on from step {checkpoint_step(tmp_path)}, the last that was saved" in said
        )
        reached = checkpoint_step(tmp_path) or 0
    result = run_job(*command, f"max_steps={reached + 2}")
    assert result["steps"] == reached + 2
    assert list(losses(tmp_path)) == list(range(1, reached + 3)), "every step is in the record once"
