"""Weights come back as they were, and what doesn't fit is named."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.config import dit_config, vae_config
from model.dit import DiT
from model.vae import VAE
from model.weights import load_dit, load_vae, read_record, save_weights

DIT = {"width": 48, "depth": 1, "heads": 2, "latent_channels": 4, "text_dim": 16}


def test_round_trip_with_statistics_and_facts(tmp_path):
    vae = VAE(vae_config("tiny", base_channels=8), seed=3)
    vae.set_latent_stats(torch.arange(8.0), torch.arange(1.0, 9.0))
    save_weights(tmp_path / "vae", vae.state_dict(), vae.cfg, "vae", {"step": 7})
    before = torch.get_rng_state()
    again = load_vae(tmp_path / "vae")
    assert torch.equal(torch.get_rng_state(), before)
    assert again.cfg == vae.cfg
    assert not again.training
    assert again.state_dict().keys() == vae.state_dict().keys()
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in vae.state_dict().items())
    assert read_record(tmp_path / "vae")["extra"] == {"step": 7}
    assert sorted(path.name for path in (tmp_path / "vae").iterdir()) == ["config.json", "model.safetensors"]


def test_a_loaded_dit_can_be_trained_on(tmp_path):
    dit = DiT(dit_config("tiny", **DIT), seed=3)
    save_weights(tmp_path, dit.state_dict(), dit.cfg, "dit")
    again = load_dit(tmp_path)
    assert all(p.requires_grad and torch.equal(p, q) for p, q in zip(again.parameters(), dit.parameters(), strict=True))


def test_keys_that_differ_are_listed(tmp_path):
    dit = DiT(dit_config("tiny", **DIT))
    save_weights(tmp_path, dit.state_dict(), dit.cfg, "dit")
    state = load_file(tmp_path / "model.safetensors")
    state["enter.wieght"] = state.pop("enter.weight")
    state["leave.map.bias"] = torch.zeros(3)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="don't fit") as error:
        load_dit(tmp_path)
    for part in ("missing (1): enter.weight", "unexpected (1): enter.wieght", "leave.map.bias is [3], not [16]"):
        assert part in str(error.value)


def test_what_is_not_a_folder_of_such_weights_is_told_why(tmp_path):
    dit = DiT(dit_config("tiny", **DIT))
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        load_dit(tmp_path)
    save_weights(tmp_path, dit.state_dict(), dit.cfg, "dit")
    with pytest.raises(ValueError, match="kind 'dit', not 'vae'"):
        load_vae(tmp_path)
    record = json.loads((tmp_path / "config.json").read_text())
    record["config"]["widht"] = record["config"].pop("width")
    (tmp_path / "config.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="'widht' is not known; did you mean 'width'"):
        load_dit(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        load_dit(tmp_path)
    with pytest.raises(ValueError, match="did you mean 'dit'"):
        save_weights(tmp_path, {}, dit.cfg, "dti")
    with pytest.raises(ValueError, match="need a VAEConfig"):
        save_weights(tmp_path, {}, dit.cfg, "vae")
