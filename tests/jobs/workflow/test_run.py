"""The workflow on a real Ray: it makes everything, skips what is up to date, and remakes what depends on a
change."""

import json

import pytest
import torch

from jobs.cli import main
from jobs.cli.run_records import read_record
from tests.conftest import run_job
from tests.support.footage import pan, write

NODES = ("curate", "train_vae", "encode", "train", "evaluate", "report")


def test_the_workflow_makes_a_dataset_models_videos_and_a_report(tiny_run):
    assert (tiny_run.made("train_vae") / "export/vae/model.safetensors").is_file()
    assert (tiny_run.made("train") / "export/pipeline.json").is_file()
    assert len(list(tiny_run.made("evaluate").glob("*.mp4"))) == 3
    assert (tiny_run.out / "report.html").stat().st_size > 10_000
    written = json.loads((tiny_run.out / "metrics.json").read_text())
    assert set(written) >= {"vae_psnr_db", "val_loss_first", "val_loss_last", "retrieval_share", "seconds"}
    assert written == tiny_run.metrics


def test_run_again_it_does_nothing(tiny_run, capsys):
    before = {node: read_record(tiny_run.out, node) for node in NODES}
    run_job("run", *tiny_run.overrides)
    said = capsys.readouterr().out
    assert [f"{node}: up to date" in said for node in NODES] == [True] * len(NODES)
    assert {node: read_record(tiny_run.out, node) for node in NODES} == before


def test_what_is_lost_is_made_again_and_what_it_equals_is_not_disturbed(tiny_run, capsys):
    before = {node: read_record(tiny_run.out, node) for node in NODES}
    video = next(tiny_run.made("evaluate").glob("*.mp4"))
    content = video.read_bytes()
    video.unlink()
    run_job("run", *tiny_run.overrides)
    said = capsys.readouterr().out
    assert "train: up to date" in said
    assert "evaluate: up to date" not in said
    assert video.read_bytes() == content, "the same seed gives the same video"
    assert read_record(tiny_run.out, "train") == before["train"]


def test_a_changed_setting_remakes_its_node_and_what_depends_on_it(tiny_run, capsys):
    run_job("run", *tiny_run.overrides, "evaluate.steps=3")
    said = capsys.readouterr().out
    assert [f"{node}: up to date" in said for node in NODES] == [True, True, True, True, False, False]
    run_job("run", *tiny_run.overrides)  # as it was: the videos of two steps are still there


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about a machine without a GPU")
@pytest.mark.parametrize("key", ["train_vae.workers.gpu", "encode.gpu", "train.workers.gpu", "evaluate.gpu"])
def test_a_gpu_that_is_not_there_is_missed_before_anything_runs(tmp_path, capsys, key):
    """The last step would miss it after hours."""
    write(tmp_path / "footage.mp4", pan(1, 8, 48, 64), fps=16)
    code = main.main(["run", f"footage={tmp_path}", f"out={tmp_path / 'out'}", f"{key}=true"])
    said = capsys.readouterr().err
    assert (code, said.count("\n")) == (2, 1), said
    assert "no GPU" in said
    assert key.rpartition(".")[0] in said
    assert not (tmp_path / "out").exists()
