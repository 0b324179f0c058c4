"""Fine-tuning through the real trainer: from a checkpoint, whole or through an adapter, on any ZeRO stage,
stopped and gone on with."""

import json
import shutil

import pytest
import torch

from jobs.training.checkpoint_files import latest_checkpoint
from model.checkpoint.lora import load_lora, merge_lora
from model.checkpoint.weights import load_dit, read_record, save_weights
from tests.conftest import run_job
from tests.jobs.training.test_train import losses

STEPS = [
    "optim.schedule=constant", "optim.warmup_steps=0", "optim.lr=1e-2", "optim.ema_decay=0.5",
    "precision=fp32",
    "budget.max_tokens=32", "budget.batches_per_step=2", "log_every=1", "validate_every=4",
    "checkpoint_every=2", "sample_every=100",
    "sample.steps=2",
]  # fmt: skip
LORA = ["lora.rank=2", "lora.alpha=4"]


@pytest.fixture(scope="module")
def pipeline(tiny_run, tmp_path_factory):
    """The workflow's own checkpoint, whose last map is as far from zero as that of a trained network."""
    folder = tmp_path_factory.mktemp("base") / "export"
    shutil.copytree(tiny_run.made("train") / "export", folder)
    dit = load_dit(folder / "dit")
    torch.nn.init.normal_(dit.leave.map.weight, std=0.2, generator=torch.Generator().manual_seed(0))
    save_weights(folder / "dit", dit.state_dict(), dit.cfg, "dit")
    return folder


@pytest.fixture(scope="module")
def command(tiny_run, pipeline) -> list[str]:
    """Fine-tuning of that on the dataset that it was trained on."""
    return ["train", f"dataset={tiny_run.out}/dataset", f"init={pipeline.parent}", *STEPS]


@pytest.fixture(scope="module")
def base(pipeline):
    return pipeline / "dit"


@pytest.fixture(scope="module")
def adapted(command, tmp_path_factory):
    """Four steps of an adapter on one worker at ZeRO 2."""
    out = tmp_path_factory.mktemp("adapted")
    run_job(*command, *LORA, f"out={out}", "max_steps=4")
    return out


def states(*folders):
    return [load_dit(folder).state_dict() for folder in folders]


def test_only_the_adapter_is_trained_and_saved(adapted, base):
    from safetensors import safe_open

    with safe_open(latest_checkpoint(adapted) / "state.safetensors", "pt") as file:
        names = set(file.keys())
    assert {name.split("/")[0] for name in names} == {"weight", "exp_avg", "exp_avg_sq", "ema"}
    assert all(".lora_A." in name or ".lora_B." in name for name in names)
    before, after = states(base, adapted / "export" / "dit")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(
        name.startswith("blocks.") and name.endswith(".weight") and "norm" not in name for name in changed
    )


def test_the_adapter_on_its_base_is_the_exported_network(adapted, base):
    dit, (whole,) = load_dit(base), states(adapted / "export" / "dit")
    load_lora(dit, adapted / "export" / "lora")
    merge_lora(dit)
    assert all(torch.allclose(dit.state_dict()[name], tensor, atol=1e-6) for name, tensor in whole.items())
    card = (adapted / "export" / "README.md").read_text()
    assert "through an adapter (LoRA, rank 2, alpha 4, " in card
    assert str(adapted) not in card


def test_it_is_gone_on_with_at_other_zero_stages_and_numbers_of_workers(command, adapted, tmp_path):
    for steps, stage, workers in ((1, 3, 1), (3, 1, 2), (4, 3, 2)):
        given = (f"max_steps={steps}", f"zero.stage={stage}", f"workers.num={workers}")
        run_job(*command, *LORA, f"out={tmp_path}", *given)
    assert losses(tmp_path) == pytest.approx(losses(adapted), rel=1e-3)
    one, other = states(adapted / "export" / "dit", tmp_path / "export" / "dit")
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)


def test_without_an_adapter_all_weights_are_trained_on_from_the_checkpoint(command, base, tmp_path):
    run_job(*command, f"out={tmp_path}", "max_steps=1", "optim.lr=1e-6", "model.text_drop=0.5")
    before, after = states(base, tmp_path / "export" / "dit")
    assert all(torch.allclose(before[name], after[name], atol=1e-5) for name in before)
    assert all(
        not torch.equal(before[name], after[name])
        for name in ("enter.weight", "enter.bias", "leave.map.weight")
    )
    assert read_record(tmp_path / "export" / "dit")["config"]["text_drop"] == 0.5
    assert not (tmp_path / "export" / "lora").exists()
    assert "fine-tuned from another checkpoint" in (tmp_path / "export" / "README.md").read_text()


def test_an_adapter_generates_on_its_base_and_the_export_on_its_own(adapted, pipeline, tmp_path):
    sized = ["prompt=a red square", "width=32", "height=32", "duration_s=0.5", "steps=2"]
    videos = {}
    for name, given in {
        "base": [f"checkpoint={pipeline}"],
        "none": [f"checkpoint={pipeline}", f"lora={adapted}", "lora_scale=0"],
        "much": [f"checkpoint={pipeline}", f"lora={adapted}/export/lora", "lora_scale=3"],
    }.items():
        run_job("generate", *given, *sized, f"out={tmp_path}/{name}.mp4")
        videos[name] = (tmp_path / f"{name}.mp4").read_bytes()
    assert videos["none"] == videos["base"] != videos["much"]
    facts = json.loads((tmp_path / "much.json").read_text())
    assert (facts["lora"], facts["lora_scale"]) == (f"{adapted}/export/lora", 3.0)
    made = run_job("generate", f"checkpoint={adapted}", *sized, f"out={tmp_path}/merged.mp4")
    assert made["num_frames"] == 4
    assert (tmp_path / "merged.mp4").read_bytes() not in (videos["base"], videos["much"])


def test_what_does_not_go_together_is_told_before_anything_runs(command, base, tmp_path):
    train, dataset, init, *steps = command
    checked = lambda *given: run_job(train, dataset, *given, *steps, f"out={tmp_path}/out")  # noqa: E731
    with pytest.raises(ValueError, match=r"lora\.rank=2 needs weights to adapt; give init="):
        checked("lora.rank=2")
    with pytest.raises(FileNotFoundError, match="holds no weights of a DiT"):
        checked(f"init={tmp_path}")
    with pytest.raises(ValueError, match=r"size=XL has width=1152, and init=.* has 32; leave size out"):
        checked(init, "size=XL")
    with pytest.raises(ValueError, match="did you mean 'width'"):
        checked(init, "model.widht=64")
    with pytest.raises(ValueError, match=r"lora_scale=0\.5 scales nothing"):
        run_job(
            "generate", f"checkpoint={base.parent}", "prompt=x", f"out={tmp_path}/x.mp4", "lora_scale=0.5"
        )
    with pytest.raises(FileNotFoundError, match="holds no adapter"):
        run_job(
            "generate",
            f"checkpoint={base.parent}",
            "prompt=x",
            f"out={tmp_path}/x.mp4",
            f"lora={base.parent}",
        )
    other = shutil.copytree(base.parent, tmp_path / "other")
    weights = other / "vae" / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="latents of another VAE"):
        checked(f"init={other}")
    facts = json.loads((other / "pipeline.json").read_text())
    (other / "pipeline.json").write_text(json.dumps(facts | {"text_encoder_fingerprint": "0"}))
    with pytest.raises(ValueError, match="was trained with text encoder 'minilm'"):
        checked(f"init={other}")
    config = json.loads((other / "dit" / "config.json").read_text())
    config["config"]["latent_channels"] += 1
    (other / "dit" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="takes latent_channels=9, and the dataset's latents have 8"):
        checked(f"init={other}")


def test_every_export_has_a_card_that_names_no_place_of_this_machine(tiny_run):
    for job, folder, said in (
        ("train", "export", "6 optimiser steps"),
        ("train_vae", "export/vae", "perceptual 0.02"),
    ):
        card = (tiny_run.made(job) / folder / "README.md").read_text()
        assert card.startswith('---\nlicense: "other"\nlibrary_name: rushes\n')
        assert said in card
        assert str(tiny_run.out.parent) not in card
        assert "| clips | 3 |" in card
