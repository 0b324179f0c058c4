"""Low-rank adapters of a DiT (Hu et al. 2021), through peft: what fine-tuning changes, in a file a hundredth of the size.

In: a DiT, or a folder that peft wrote. Out: the same DiT, changed in place: W·x + scale·B·A·x in every linear map of the
blocks, of which only A and B are trained; or plain weights again. peft is loaded when one of these is called.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from model.dit import DiT
from model.published_vae import read_json
from model.seeding import seeded
from model.shards import publish, read_state, write_tensors
from model.state_diff import state_diff

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
_NAME = "default"
_PREFIX = "base_model.model."  # peft's own wrapper around a network, which its files have in front of every name


def add_lora(dit: DiT, rank: int, alpha: float | None = None, seed: int = 0) -> None:
    """Put an adapter beside the linear maps of attention and feed-forward; everything else is frozen.

    The adapter begins at nothing (B is zero), and A follows from `seed` alone.

    Args:
        rank: columns of A's and B's common side.
        alpha: the adapter is scaled by alpha / rank; without it by 1.

    Raises:
        FileNotFoundError: peft is not installed.
        ValueError: the rank is below 1, or there is an adapter already.
    """
    peft = _peft()
    if rank < 1:
        raise ValueError(f"lora.rank={rank} is too small: at least 1")
    config = peft.LoraConfig(r=rank, lora_alpha=rank if alpha is None else alpha, target_modules=_targets(dit))
    _inject(dit, config, seed)


def lora_parameters(dit: DiT) -> dict[str, Tensor]:
    """The adapter's own parameters by name."""
    return {name: p for name, p in dit.named_parameters() if ".lora_" in name}


def save_lora(dit: DiT, folder: Path | str) -> None:
    """Write the adapter as peft does, so that `PeftModel.from_pretrained` reads it too. The same adapter gives the same bytes.

    Raises:
        FileNotFoundError: peft is not installed.
        ValueError: the network has no adapter.
    """
    folder, state = Path(folder), _state(dit)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {_PREFIX + name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    publish(folder / WEIGHTS, lambda path: write_tensors(path, tensors))
    config = dit.peft_config[_NAME].to_dict() | {"inference_mode": True}
    text = json.dumps(config, indent=2, sort_keys=True, default=sorted) + "\n"  # sorted: of its sets
    publish(folder / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))


def load_lora(dit: DiT, folder: Path | str, scale: float = 1.0) -> None:
    """Put a saved adapter beside the maps of a network that it fits.

    Args:
        scale: the adapter counts so many times as much as it was trained to; 0 is the network as it was.

    Raises:
        FileNotFoundError: there is no adapter, or peft is not installed.
        ValueError: it is not LoRA, or does not fit, with the keys that differ. The network is not to be used then.
    """
    peft, folder = _peft(), Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"no adapter in '{folder}': it has no {name}; give the export/lora of a training")
    kind = read_json(folder / CONFIG).get("peft_type")
    if kind != "LORA":
        raise ValueError(f"the adapter in '{folder}' is of kind '{kind}', not LORA")
    given = {name.removeprefix(_PREFIX): tensor for name, tensor in read_state(folder, WEIGHTS).items()}
    try:
        _inject(dit, peft.LoraConfig.from_pretrained(str(folder)), 0)
    except ValueError as error:
        raise ValueError(f"the adapter in '{folder}' doesn't fit this network: {error}") from error
    difference = state_diff(*({name: tuple(t.shape) for name, t in state.items()} for state in (_state(dit), given)))
    if difference:
        raise ValueError(f"the adapter in '{folder}' doesn't fit this network: {difference}")
    peft.set_peft_model_state_dict(dit, given, adapter_name=_NAME)
    for _, layer in _layers(dit):
        layer.set_scale(_NAME, scale)


def merge_lora(dit: DiT) -> None:
    """Add the adapter to the weights and take it out: a plain DiT, as fast as before, that can be trained as a whole.

    Raises:
        FileNotFoundError: peft is not installed.
        ValueError: there is no adapter, or the sum is not finite.
    """
    layers = _layers(dit)
    if not layers:
        raise ValueError("this network has no adapter to merge; add one, or load one")
    for name, layer in layers:
        layer.merge(safe_merge=True)
        dit.set_submodule(name, layer.get_base_layer())
    del dit.peft_config
    dit.requires_grad_(True)


def _targets(dit: DiT) -> list[str]:
    """Names inside a block, such as 'attention.qkv', of all its linear maps."""
    return sorted(name for name, module in dit.blocks[0].named_modules() if isinstance(module, nn.Linear))


def _inject(dit: DiT, config: Any, seed: int) -> None:
    if _layers(dit):
        raise ValueError("this network has an adapter already; merge it first")
    training = dit.training
    with seeded(seed):
        _peft().inject_adapter_in_model(config, dit, adapter_name=_NAME)
    dit.train(training)


def _layers(dit: DiT) -> list[tuple[str, Any]]:
    _peft()
    from peft.tuners.lora import LoraLayer

    return [(name, module) for name, module in dit.named_modules() if isinstance(module, LoraLayer)]


def _state(dit: DiT) -> dict[str, Tensor]:
    if not _layers(dit):
        raise ValueError("this network has no adapter; add one first")
    return _peft().get_peft_model_state_dict(dit, adapter_name=_NAME, save_embedding_layers=False)


def _peft() -> Any:
    if importlib.util.find_spec("peft") is None:
        raise FileNotFoundError("adapters need the package peft; run: pip install 'rushes[lora]'")
    import peft

    return peft
