"""Weights on disk: safetensors beside a `config.json` with the model kind and its config.

In: a mapping from name to tensor, and the config dataclass. Out: a folder, and from a folder the module
again, strictly. Folders of VAEs that diffusers saved are read too. How one state is spread over files is
`shards`' matter.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from model.checkpoint.shards import (
    SHARD_BYTES,
    atomic_write,
    read_state,
    state_files,
    state_shapes,
    write_state,
)
from model.checkpoint.state_diff import state_diff
from model.config import DiTConfig, VAEConfig, config_from_dict, unknown_name_message
from model.dit.network import DiT
from model.untrusted import read_object
from model.vae.network import VAE
from model.vae.published import WEIGHTS as PUBLISHED_WEIGHTS
from model.vae.published import PublishedVAE, build_network, is_published, read_published

FORMAT_VERSION = 1
_LEAST_OF_BLOCK = 10  # tensors: a block of the DiT has twice as many
WEIGHTS = "model.safetensors"
KINDS: Mapping[str, tuple[type, type[nn.Module]]] = {"vae": (VAEConfig, VAE), "dit": (DiTConfig, DiT)}


def save_weights(
    folder: Path | str,
    state: Mapping[str, Tensor],
    config: Any,
    kind: str,
    extra: Mapping[str, Any] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a folder that `load_vae` or `load_dit` reads. Each file appears whole or not at all.

    A state above `shard_bytes` becomes several files with an index, unless it is a VAE's: cached latents
    carry their VAE along, as one file.

    Args:
        state: `module.state_dict()`, or averages by the same names.
        config: the VAEConfig or DiTConfig.
        kind: "vae" or "dit".
        extra: JSON-able facts to keep with the weights (step, data, fingerprints of the VAE and text
        encoder).

    Raises:
        ValueError: for another kind, or a config of another kind.
    """
    if kind not in KINDS:
        raise ValueError(unknown_name_message("kind of weights", kind, KINDS))
    if not isinstance(config, KINDS[kind][0]):
        raise ValueError(
            f"weights of kind '{kind}' need a {KINDS[kind][0].__name__}, not a {type(config).__name__}"
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "config": asdict(cast(Any, config)),
        "extra": dict(extra or {}),
    }
    write_state(
        folder, WEIGHTS, state, sum(t.nbytes for t in state.values()) if kind == "vae" else shard_bytes
    )
    text = json.dumps(record, indent=2, sort_keys=True) + "\n"
    atomic_write(folder / "config.json", lambda path: path.write_text(text, encoding="utf-8"))


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
        _fill(network, Path(folder), PUBLISHED_WEIGHTS, device, dtype)
        return PublishedVAE(network, cfg).to(device)
    module = _load(folder, "vae", device)
    assert isinstance(module, VAE)
    return module


def vae_files(folder: Path | str) -> tuple[str, str]:
    """The names of the files that a VAE's folder is made of: weights and config.json."""
    return PUBLISHED_WEIGHTS if is_published(folder) else WEIGHTS, "config.json"


def read_vae_config(folder: Path | str) -> dict[str, Any]:
    """A VAE's config, ours or published: latent_channels, stride_time, stride_space and more. Reads no
    weights.

    Raises:
        FileNotFoundError, ValueError: as `load_vae`.
    """
    if is_published(folder):
        return asdict(read_published(folder))
    return asdict(read_config(folder, "vae"))


def load_dit(folder: Path | str, device: torch.device | str = "cpu", config: DiTConfig | None = None) -> DiT:
    """The DiT of a folder, in evaluation mode. Raises as `load_vae`.

    Args:
        config: what to make of the weights instead of what the folder says; they must fit it.
    """
    module = _load(folder, "dit", device, config)
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
    record = read_object(path, finite=False)  # of the config they must be, of what is kept beside it not
    if (
        record.get("format_version") != FORMAT_VERSION
        or str(record.get("kind")) not in KINDS
        or not isinstance(record.get("config"), dict)
        or not isinstance(record.get("extra", {}), dict)
    ):
        raise ValueError(f"{path} is not a weights config of format version {FORMAT_VERSION}")
    return record


def read_config(folder: Path | str, kind: str) -> Any:
    """The VAEConfig or DiTConfig of our own weights in a folder, held against its limits. Reads no weights.

    Raises:
        FileNotFoundError, ValueError: as `read_record`, or they are of another kind, or a setting is out of
        its limits.
    """
    record = read_record(folder)
    if record["kind"] != kind:
        raise ValueError(f"'{folder}' holds weights of kind '{record['kind']}', not '{kind}'")
    return config_from_dict(KINDS[kind][0], record["config"], str(Path(folder) / "config.json"))


def _load(folder: Path | str, kind: str, device: torch.device | str, config: Any = None) -> nn.Module:
    own = read_config(folder, kind)
    given, depth = len(state_shapes(Path(folder), WEIGHTS)), getattr(config or own, "depth", 0)
    # said before so many blocks are built, which takes a second for a hundred
    if given < _LEAST_OF_BLOCK * depth:
        raise ValueError(f"weights in '{folder}' don't fit their config: {given} tensors, and depth={depth}")
    with torch.device("meta"):  # shapes only: nothing is initialised to be overwritten
        module = KINDS[kind][1](config or own)
    _fill(module, Path(folder), WEIGHTS, device)
    return module.eval()


def _fill(
    module: nn.Module, folder: Path, file: str, device: torch.device | str, dtype: torch.dtype | None = None
) -> None:
    """Give a module of the meta device the weights of a folder, as `dtype` if given.

    The names and shapes are compared before a tensor is read, and what is read becomes the module's own:
    there is never a second copy of the whole.

    Raises:
        FileNotFoundError: when they aren't there.
        ValueError: when they can't be read or don't fit.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    difference = state_diff(wanted, state_shapes(folder, file))
    if difference:
        raise ValueError(f"weights in '{folder}' don't fit their config: {difference}")
    _check_memory(folder, file, device)
    module.load_state_dict(read_state(folder, file, device, dtype), assign=True)


def _check_memory(folder: Path, file: str, device: torch.device | str) -> None:
    """Weights of more than the machine's memory end a process without a word; a file with a hole in it can
    claim to be so large."""
    size = sum((folder / name).stat().st_size for name in state_files(folder, file))
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if torch.device(device).type == "cpu" and size > there:
        raise ValueError(
            f"weights in '{folder}' have {size / 2**30:,.0f} GiB, and this machine {there / 2**30:,.0f} GiB "
            "of memory"
        )
