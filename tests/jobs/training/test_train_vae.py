"""The VAE's training: crops of every shape, a perceptual network and a discriminator, and resuming with
both."""

import json
import math

import pytest

from jobs.cli.compose import compose
from jobs.cli.registry import JOBS
from jobs.training.config import AdversarialConfig, TrainVaeConfig
from jobs.training.vae_task import VaeTask
from model.checkpoint.weights import load_vae
from pipelines.batches.windows import HELD_OUT
from tests.conftest import run_job

STEPS = [
    "size=tiny", "model.base_channels=8", "optim.schedule=constant", "optim.warmup_steps=2", "optim.lr=1e-3",
    "precision=fp32", "crop=32",
    "shapes.max_pixels=2304", "shapes.fps=8", "shapes.max_frames=5", "windows.stride_s=0.5",
    "windows.holdout_min_frames=1",
    "budget.max_tokens=64", "budget.batches_per_step=2", "log_every=1", "validate_every=4",
    "checkpoint_every=2", "sample_every=100",
    "adversarial.weight=0.1", "adversarial.start_step=1", "adversarial.channels=4", "adversarial.layers=2",
    "perceptual.frames=2",
]  # fmt: skip


def entries(out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line for line in lines if "loss" in line}


def test_it_plays_against_a_discriminator_and_goes_on_as_if_it_had_not_stopped(tiny_run, tmp_path):
    dataset = f"dataset={tiny_run.out}/dataset"
    run_job("train_vae", dataset, f"out={tmp_path / 'whole'}", *STEPS, "max_steps=4", "workers.num=1")
    run_job(
        "train_vae",
        dataset,
        f"out={tmp_path / 'parts'}",
        *STEPS,
        "max_steps=2",
        "workers.num=2",
        "zero.stage=1",
    )
    run_job("train_vae", dataset, f"out={tmp_path / 'parts'}", *STEPS, "max_steps=4", "workers.num=1")
    whole, parts = entries(tmp_path / "whole"), entries(tmp_path / "parts")
    assert set(whole) == set(parts) == {1, 2, 3, 4}
    for name in ("loss", "l1", "perceptual"):
        told = [[entry[name] for _, entry in sorted(run.items())] for run in (whole, parts)]
        assert told[1] == pytest.approx(told[0], rel=1e-3), name
    players = ("adversarial", "adversarial_weight", "discriminator")
    assert not any(name in whole[1] for name in players), "before its first step it does not play"
    assert all(math.isfinite(whole[4][name]) and whole[4][name] for name in players)
    assert load_vae(tmp_path / "whole" / "export" / "vae").cfg.base_channels == 8


def test_crops_have_the_shapes_that_were_asked_for(tiny_run):
    cfg = TrainVaeConfig(dataset=f"{tiny_run.out}/dataset", out="", crop=32)
    cfg.shapes.max_pixels, cfg.shapes.fps, cfg.shapes.max_frames = 2304, 8, 5
    cfg.windows.stride_s, cfg.windows.holdout_min_frames = 0.25, 1
    shapes = {item.shape[1:] for item in VaeTask(cfg).items()}
    assert shapes <= {(32, 32), (24, 40), (40, 24)}
    assert len(shapes) > 1
    cfg.crop_aspects = [1.0]
    assert {item.shape[1:] for item in VaeTask(cfg).items()} == {(32, 32)}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("zero.stage=3", "use zero.stage=2"),
        ("crop_aspects=[1.0,-1]", "must be widths over heights"),
        ("perceptual.name=lpips", "lpips needs its weights"),
    ],
)
def test_what_can_not_be_trained_is_said_before_it_begins(tiny_run, tmp_path, override, message):
    composed = compose(
        JOBS["train_vae"], [f"dataset={tiny_run.out}/dataset", f"out={tmp_path}", *STEPS, override]
    )
    with pytest.raises(ValueError, match=message):
        JOBS["train_vae"].module().check(composed.cfg)


def test_no_discriminator_is_built_that_would_never_play(tiny_run):
    cfg = TrainVaeConfig(dataset=f"{tiny_run.out}/dataset", out="", size="tiny", max_steps=10)
    assert VaeTask(cfg).build().discriminator is None
    cfg.adversarial = AdversarialConfig(weight=0.1, start_step=10)
    assert VaeTask(cfg).build().discriminator is None
    cfg.adversarial.start_step = 9
    assert VaeTask(cfg).build().discriminator is not None


def test_latents_of_many_windows_are_measured_on_some_of_every_clip(tiny_run):
    cfg = TrainVaeConfig(dataset=f"{tiny_run.out}/dataset", out="", size="tiny")
    cfg.shapes.max_pixels, cfg.shapes.fps, cfg.shapes.max_frames = 2304, 200, 1
    cfg.windows.stride_s, cfg.windows.min_frames, cfg.windows.holdout_min_frames = 0.005, 1, 1
    task = VaeTask(cfg)
    assert len(task.items()) > 2 * 64
    measured = task.latent_stats_windows()
    assert len(measured) == 64
    assert {clip_id for clip_id, _ in measured} == {item.clip_id for item in task.items()}
    assert all(window.split != HELD_OUT for _, window in measured)
