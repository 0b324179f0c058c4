"""Weights come back as they were, and what doesn't fit is named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoint import shards
from model.checkpoint.shards import read_state, split, state_files, write_state
from model.checkpoint.state_diff import renames, state_diff
from model.checkpoint.weights import load_dit, load_vae, read_record, save_weights
from model.config import dit_config, vae_config
from model.dit.network import DiT
from model.vae.network import VAE

DIT = {"width": 48, "depth": 1, "heads": 2, "latent_channels": 4, "text_dim": 16}
INDEX = "model.safetensors.index.json"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def holds(folder: Path, state: dict[str, torch.Tensor]) -> bool:
    """Whether a folder's state is this one, to the bit."""
    found = read_state(folder, "model.safetensors")
    return found.keys() == state.keys() and all(
        torch.equal(found[name], tensor) for name, tensor in state.items()
    )


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
    assert all(
        p.requires_grad and torch.equal(p, q)
        for p, q in zip(again.parameters(), dit.parameters(), strict=True)
    )


def test_keys_that_differ_are_listed(tmp_path):
    dit = DiT(dit_config("tiny", **DIT))
    save_weights(tmp_path, dit.state_dict(), dit.cfg, "dit")
    state = load_file(tmp_path / "model.safetensors")
    state["enter.wieght"] = state.pop("enter.weight")
    state["leave.map.bias"] = torch.zeros(3)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="don't fit") as error:
        load_dit(tmp_path)
    for part in ("missing (1): enter.weight", "unexpected (1): enter.wieght",
        "leave.map.bias is [3], not [16]",
                 "'enter.weight' here may be 'enter.wieght' there"):  # fmt: skip
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


def test_shards_are_laid_out_as_the_hub_does_and_hold_the_same(tmp_path):
    dit = DiT(dit_config("tiny", **DIT), seed=3)
    save_weights(tmp_path / "one", dit.state_dict(), dit.cfg, "dit")
    save_weights(tmp_path / "many", dit.state_dict(), dit.cfg, "dit", shard_bytes=60_000)
    index = json.loads((tmp_path / "many" / INDEX).read_text())
    names = sorted(set(index["weight_map"].values()))
    assert len(names) > 2
    assert names == [f"model-{i:05d}-of-{len(names):05d}.safetensors" for i in range(1, len(names) + 1)]
    assert names_in(tmp_path / "many") == ["config.json", *names, INDEX]
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in dit.state_dict().values())
    for name in names:
        held = load_file(tmp_path / "many" / name)
        assert {key for key, place in index["weight_map"].items() if place == name} == held.keys()
        assert sum(tensor.nbytes for tensor in held.values()) <= 60_000
    one, many = load_dit(tmp_path / "one"), load_dit(tmp_path / "many")
    assert many.state_dict().keys() == dit.state_dict().keys()
    assert all(torch.equal(many.state_dict()[name], tensor) for name, tensor in one.state_dict().items())


def test_a_tensor_above_the_limit_has_a_file_of_its_own():
    state = {"a": torch.zeros(4), "b": torch.zeros(100), "c": torch.zeros(4), "d": torch.zeros(4)}
    assert split(state, 40) == [["a"], ["b"], ["c", "d"]]


def test_a_vae_stays_one_file(tmp_path):
    vae = VAE(vae_config("tiny", base_channels=8), seed=3)
    save_weights(tmp_path, vae.state_dict(), vae.cfg, "vae", shard_bytes=1000)
    assert names_in(tmp_path) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("then", [1, 2, 4])
@pytest.mark.parametrize("now", [1, 2, 4])
def test_a_save_over_another_leaves_nothing_of_it(tmp_path, then, now):
    old, new = ({name: torch.full((25,), value) for name in "abcd"} for value in (1.0, 2.0))
    (tmp_path / ".model-00001-of-00009.safetensors.1").touch()
    for state, count in ((old, then), (new, now)):
        write_state(tmp_path, "model.safetensors", state, 400 // count)
    assert holds(tmp_path, new)
    assert names_in(tmp_path) == sorted(state_files(tmp_path, "model.safetensors"))
    assert len(names_in(tmp_path)) == (1 if now == 1 else now + 1)


@pytest.mark.parametrize(("then", "now"), [(1, 1), (1, 4), (4, 1), (4, 2), (4, 4)])
def test_a_save_that_is_killed_anywhere_leaves_the_old_state_or_none_or_the_new(
    tmp_path, monkeypatch, then, now
):
    old, new = ({name: torch.full((25,), value) for name in "abcd"} for value in (1.0, 2.0))
    outcomes = set()
    for allowed in range(100):
        folder = tmp_path / str(allowed)
        folder.mkdir()
        write_state(folder, "model.safetensors", old, 400 // then)
        left = allowed

        def counted(real):
            def call(*arguments, **named):
                nonlocal left
                if left == 0:
                    raise KeyboardInterrupt
                left -= 1
                return real(*arguments, **named)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(shards, "save_file", counted(save_file))
            patch.setattr(os, "replace", counted(os.replace))
            patch.setattr(Path, "unlink", counted(Path.unlink))
            try:
                write_state(folder, "model.safetensors", new, 400 // now)
                done = True
            except KeyboardInterrupt:
                done = False
        try:
            found = "old" if holds(folder, old) else "new"
            assert found == "old" or holds(folder, new)
        except FileNotFoundError:
            found = "none"
        outcomes.add(found)
        if done:
            assert found == "new"
            break
    assert {"old", "new"} <= outcomes


def test_files_of_two_exports_are_not_read_as_one(tmp_path):
    state = {name: torch.zeros(25) for name in "abcd"}
    write_state(tmp_path, "model.safetensors", state, 100)
    save_file({"z": torch.zeros(25)}, tmp_path / "model-00002-of-00004.safetensors")
    with pytest.raises(ValueError, match="disagree on 2 tensors, such as b: they are of two exports"):
        read_state(tmp_path, "model.safetensors")
    (tmp_path / "model-00002-of-00004.safetensors").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"names model-00002-of-00004\.safetensors, which is not there"
    ):
        read_state(tmp_path, "model.safetensors")
    (tmp_path / INDEX).write_text('{"weight_map": {"a": "../elsewhere.safetensors"}}')
    with pytest.raises(ValueError, match="is not an index"):
        read_state(tmp_path, "model.safetensors")
    (tmp_path / INDEX).unlink()
    (tmp_path / "model.safetensors").write_bytes(b"no such thing")
    with pytest.raises(ValueError, match="was it cut off"):
        read_state(tmp_path, "model.safetensors")


def test_names_that_resemble_each_other_are_paired_within_their_block():
    now = {f"blocks.{i}.attention.{part}.weight": (8, 8) for i in range(3) for part in ("q", "out")}
    then = {f"blocks.{i}.attn.{part}.weight": (8, 8) for i in range(3) for part in ("q", "out")}
    assert renames(now, then) == {name: name.replace("attention", "attn") for name in now}
    assert renames({"enter.weight": (8, 8)}, {"enter.wieght": (8, 4)}) == {}
    assert renames({"enter.weight": (8, 8)}, {"zzz": (8, 8)}) == {}
    said = state_diff({"blocks.0.attention.qkv.weight": (3, 1)}, {"blocks.0.attn.qkv.weight": (3, 1)})
    assert said.endswith(
        "renamed? (1): 'blocks.0.attention.qkv.weight' here may be 'blocks.0.attn.qkv.weight' there"
    )
    assert state_diff(now, now) == ""


LOADED = """
import sys, torch
from model.checkpoint import weights
from model.checkpoint.shards import read_state
peak = lambda: 1024 * int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
before = peak()
state = read_state(weights.Path(sys.argv[1]), "model.safetensors", dtype=torch.float64)
total = sum(float(tensor.sum()) for tensor in state.values())
print((peak() - before) / sum(tensor.nbytes for tensor in state.values()))
"""


def test_reading_holds_no_second_copy_of_the_whole(tmp_path):
    state = {f"{i:02d}": torch.ones(2_000_000) for i in range(20)}
    write_state(tmp_path, "model.safetensors", state, 16_000_000)
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path.cwd(),
    )
    assert 0.9 < float(done.stdout) < 1.2
