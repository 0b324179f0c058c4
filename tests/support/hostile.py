"""A checkpoint of few random weights, as a training exports it, and what an attacker puts into such folders.

In: a folder. Out: the files. What a test of trust looks for is whether the marker file of `CODE` appears.
"""

import json
from pathlib import Path
from typing import Any

MARKER = "PWNED"
CODE = f"""
import os
open(os.path.join(os.environ["HOSTILE"], "{MARKER}"), "a").write("ran")
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
class Evil(PretrainedConfig):
    model_type = "evil"
class EvilModel(PreTrainedModel):
    config_class = Evil
class EvilTokenizer(PreTrainedTokenizerFast):
    pass
"""
AUTO_MAP = {
    "AutoConfig": "evil.Evil",
    "AutoModel": "evil.EvilModel",
    "AutoTokenizer": ["evil.EvilTokenizer", "evil.EvilTokenizer"],
}


def checkpoint(folder: Path, **facts: Any) -> Path:
    """A pipeline folder: dit/, vae/ and pipeline.json, whose text encoder is the embedded one unless `facts`
    say another."""
    import torch

    from jobs.training.exports import PIPELINE
    from model.checkpoint.weights import save_weights
    from model.config import DiTConfig, FlowConfig, SampleConfig, VAEConfig
    from model.dit.network import DiT
    from model.text.registry import text_encoder
    from model.vae.network import VAE

    dit = DiTConfig(width=32, depth=1, heads=2, latent_channels=4)
    vae = VAEConfig(base_channels=16, latent_channels=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_weights(folder / "dit", DiT(dit, seed=0).state_dict(), dit, "dit")
        save_weights(folder / "vae", VAE(vae, seed=0).state_dict(), vae, "vae")
    told = {
        "format_version": 1, "text_encoder": "minilm",
        "text_encoder_fingerprint": text_encoder("minilm").fingerprint, "fps": 8.0,
        "max_frames": 5, "max_pixels": 2304, "multiple": 16, "precision": "fp32", "flow": vars(FlowConfig()),
        "sample": vars(SampleConfig()), "latents": "0",
    }  # fmt: skip
    (folder / PIPELINE).write_text(json.dumps(told | facts))
    return folder


def add_remote_code(folder: Path, model_type: str = "evil") -> Path:
    """Code beside a model of transformers, and configs that ask for it."""
    (folder / "evil.py").write_text(CODE)
    for name, keys in (
        ("config.json", {"model_type": model_type}),
        ("tokenizer_config.json", {"tokenizer_class": "EvilTokenizer"}),
    ):
        path = folder / name
        told = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(told | keys | {"auto_map": AUTO_MAP}))
    return folder


def change(path: Path, **keys: Any) -> None:
    """Other values in a file of JSON."""
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))
