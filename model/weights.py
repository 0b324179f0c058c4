"""Weights on disk: `model.safetensors` beside a `config.json` that says what they are of.

In: a mapping from name to tensor, and the config dataclass. Out: a folder, and from a folder the module again,
strictly. Folders of VAEs that diffusers saved are read too.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.config import DiTConfig, VAEConfig, unknown_name
from model.dit import DiT
from model.published_vae import WEIGHTS as PUBLISHED_WEIGHTS
from model.published_vae import PublishedVAE, build_network, is_published, read_json, read_published
from model.vae import VAE

FORMAT_VERSION = 1
WEIGHTS = "model.safetensors"
KINDS: Mapping[str, tuple[type, type[nn.Module]]] = {"vae": (VAEConfig, VAE), "dit": (DiTConfig, DiT)}


def save_weights(
    folder: Path | str, state: Mapping[str, Tensor], config: Any, kind: str, extra: Mapping[str, Any] | None = None
) -> None:
    """Write a folder that `load_vae` or `load_dit` reads. Each file appears whole or not at all.

    Args:
        state: `module.state_dict()`, or averages by the same names.
        config: the VAEConfig or DiTConfig.
        kind: "vae" or "dit".
        extra: JSON-able facts to keep with the weights (step, data, fingerprints of the VAE and text encoder).

    Raises:
        ValueError: for another kind, or a config of another kind.
    """
    if kind not in KINDS:
        raise ValueError(unknown_name("kind of weights", kind, KINDS))
    if not isinstance(config, KINDS[kind][0]):
        raise ValueError(f"weights of kind '{kind}' need a {KINDS[kind][0].__name__}, not a {type(config).__name__}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record = {"format_version": FORMAT_VERSION, "kind": kind, "config": asdict(config), "extra": dict(extra or {})}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    _publish(folder / WEIGHTS, lambda path: save_file(tensors, path, metadata={"format": "pt"}))
    text = json.dumps(record, indent=2, sort_keys=True) + "\n"
    _publish(folder / "config.json", lambda path: path.write_text(text, encoding="utf-8"))


def load_vae(
    folder: Path | str, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> VAE | PublishedVAE:
    """The VAE of a folder, ours or a published one, in evaluation mode.

    Args:
        dtype: of a published one's weights; without it as they were saved. Ours stay as they were saved.

    Raises:
        FileNotFoundError: when the folder holds no weights, or diffusers is needed and not installed.
        ValueError: when they are of another kind or don't fit, with the keys that differ.
    """
    if is_published(folder):
        cfg = read_published(folder)
        with torch.device("meta"):
            network = build_network(cfg)
        _fill(network, Path(folder) / PUBLISHED_WEIGHTS, device, dtype)
        return PublishedVAE(network, cfg).to(device)
    module = _load(folder, "vae", device)
    assert isinstance(module, VAE)
    return module


def vae_files(folder: Path | str) -> tuple[str, str]:
    """The names of the files that a VAE's folder is made of: weights and config.json."""
    return PUBLISHED_WEIGHTS if is_published(folder) else WEIGHTS, "config.json"


def read_vae_config(folder: Path | str) -> dict[str, Any]:
    """A VAE's config, ours or published: latent_channels, stride_time, stride_space and more. Reads no weights.

    Raises:
        FileNotFoundError, ValueError: as `load_vae`.
    """
    if is_published(folder):
        return asdict(read_published(folder))
    return read_record(folder)["config"]


def load_dit(folder: Path | str, device: torch.device | str = "cpu") -> DiT:
    """The DiT of a folder, in evaluation mode. Raises as `load_vae`."""
    module = _load(folder, "dit", device)
    assert isinstance(module, DiT)
    return module


def read_record(folder: Path | str) -> dict[str, Any]:
    """What config.json says: format_version, kind, config, extra. Reads no weights.

    Raises:
        FileNotFoundError: when there is none.
        ValueError: when it is not of our format.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"no weights in '{folder}': it has no config.json; give the folder that a training job wrote"
        )
    record = read_json(path)
    if record.get("format_version") != FORMAT_VERSION or record.get("kind") not in KINDS:
        raise ValueError(f"{path} is not a weights config of format version {FORMAT_VERSION}")
    return record


def state_diff(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """Where two states differ, in words: missing, unexpected and wrong-shape keys. Empty when they fit."""
    missing = sorted(wanted.keys() - given.keys())
    unexpected = sorted(given.keys() - wanted.keys())
    shapes = [
        f"{name} is {list(given[name].shape)}, not {list(wanted[name].shape)}"
        for name in sorted(wanted.keys() & given.keys())
        if given[name].shape != wanted[name].shape
    ]
    parts = [("missing", missing), ("unexpected", unexpected), ("wrong shape", shapes)]
    return "; ".join(f"{title} ({len(names)}): {_first(names)}" for title, names in parts if names)


def _load(folder: Path | str, kind: str, device: torch.device | str) -> nn.Module:
    record = read_record(folder)
    if record["kind"] != kind:
        raise ValueError(f"'{folder}' holds weights of kind '{record['kind']}', not '{kind}'")
    config_type, module_type = KINDS[kind]
    known = [f.name for f in fields(config_type)]
    for name in record["config"]:
        if name not in known:
            raise ValueError(unknown_name(f"in {Path(folder) / 'config.json'}: setting", name, known))
    with torch.device("meta"):  # shapes only: nothing is initialised to be overwritten
        module = module_type(config_type(**record["config"]))
    _fill(module, Path(folder) / WEIGHTS, device)
    return module.eval()


def _fill(module: nn.Module, path: Path, device: torch.device | str, dtype: torch.dtype | None = None) -> None:
    """Give a module of the meta device the weights of a file, as `dtype` if given.

    Raises:
        FileNotFoundError: when it isn't there.
        ValueError: when it can't be read or doesn't fit.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weights in '{path.parent}': it has a config.json but no {path.name}")
    try:
        state = load_file(path, device=str(device))
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file ({error}); was it cut off?") from error
    difference = state_diff(module.state_dict(), state)
    if difference:
        raise ValueError(f"weights in '{path.parent}' don't fit their config: {difference}")
    module.load_state_dict({name: tensor.to(dtype=dtype) for name, tensor in state.items()}, assign=True)


def _first(names: list[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _publish(path: Path, write: Any) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
