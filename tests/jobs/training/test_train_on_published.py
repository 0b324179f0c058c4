"""A published VAE takes the place of ours: it is found, its latents have a name of their own, a checkpoint
carries it."""

import json

import numpy as np
import pytest
import torch

from jobs.encode import latents_fingerprint
from jobs.encoding.config import EncodeConfig
from jobs.generation.pipeline import Pipeline, Size, VideoPrompt
from jobs.training.config import TrainConfig
from jobs.training.dit_task import DitTask
from jobs.training.exports import find_export
from model.checkpoint.weights import load_vae, read_vae_config, vae_files
from model.text.registry import text_encoder
from model.vae.published import PublishedVAE
from pipelines.dataset.latents import ROOT, EncodedClip, commit, write_shard
from pipelines.storage.open_store import open_store
from tests.support.tiny_models import tiny_wan

DIT = {"width": 48, "depth": 1, "heads": 2}


def test_it_is_found_as_it_is_and_inside_a_pipeline(tmp_path):
    folder = tiny_wan(tmp_path / "pipeline" / "vae")
    assert find_export("vae", str(folder), "vae") == find_export("vae", str(folder.parent), "vae") == folder
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="hf download"):
        find_export("vae", str(folder.parent), "vae")


def test_other_statistics_make_other_latents(tmp_path):
    one, other = tiny_wan(tmp_path / "one"), tiny_wan(tmp_path / "other", latents_std=[1.0] * 4)
    cfg = EncodeConfig(dataset=str(tmp_path), vae=str(one))
    assert vae_files(one)[0] == "diffusion_pytorch_model.safetensors"
    assert (one / vae_files(one)[0]).read_bytes() == (other / vae_files(other)[0]).read_bytes()
    assert latents_fingerprint(cfg, one, "text") == latents_fingerprint(cfg, one, "text")
    assert latents_fingerprint(cfg, one, "text") != latents_fingerprint(cfg, other, "text")


def test_a_checkpoint_trained_on_its_latents_generates(tmp_path):
    folder, store, text = (
        tiny_wan(tmp_path / "vae"),
        open_store(str(tmp_path / "data")),
        text_encoder("minilm"),
    )
    x = torch.rand(1, 3, 5, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    z = load_vae(folder).encode_latents(x)[0].numpy()
    row = {
        "clip_id": "a", "window": 0, "split": "train", "start_s": 0.0, "num_frames": 5, "fps": 8.0,
        "height": 32, "width": 32,
        "latent_frames": z.shape[1], "latent_height": z.shape[2], "latent_width": z.shape[3],
    }  # fmt: skip
    clip = EncodedClip("a", {0: z}, {}, {"short": np.zeros((3, text.dim), np.float32)}, [row])
    write_shard(store, "latents", "bucket", "shard", [clip])
    for name in vae_files(folder):
        store.put_new(f"{ROOT}/latents/vae/{name}", (folder / name).read_bytes())
    config = read_vae_config(folder)
    facts = {
        "vae": {"config": config}, "latent_channels": config["latent_channels"],
        "stride_time": config["stride_time"],
        "text_encoder": "minilm", "text_encoder_fingerprint": text.fingerprint, "text_dim": text.dim,
        "fps": 8.0, "max_frames": 5, "max_pixels": 1024, "multiple": 16,
        "pieces": {"tails": [], "keyframes": False},
    }  # fmt: skip
    commit(store, "latents", 1, [("bucket", "shard")], facts)

    task = DitTask(TrainConfig(dataset=store.uri, out=str(tmp_path / "run"), size="tiny", model=DIT))
    task.export(task.build().state_dict(), tmp_path / "export", {"steps": 0})
    exported = {path.name: path.read_bytes() for path in (tmp_path / "export" / "vae").iterdir()}
    assert exported == {name: (folder / name).read_bytes() for name in vae_files(folder)}
    pipeline = Pipeline(tmp_path / "export")
    assert isinstance(pipeline.vae, PublishedVAE)
    (made,) = pipeline.generate(
        [VideoPrompt("a red square", 1)], Size(40, 24, 6), 8.0, pipeline.sampling_with(1, None)
    )
    assert made.shape == (6, 24, 40, 3)
    assert json.loads((tmp_path / "export" / "pipeline.json").read_text())["latents"] == "latents"
