"""Low-rank adapters of a DiT (Hu et al. 2021), through peft: what fine-tuning changes, in a file a hundredth
of the size.

In: a DiT, or a folder that peft wrote. Out: the same DiT, changed in place: W·x + scale·B·A·x in every linear
map of the blocks, of which only A and B are trained; or plain weights again. peft is loaded when one of these
is called.
"""

import dataclasses
import importlib.util
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from model.checkpoint.shards import atomic_write, read_state, state_shapes, write_tensors
from model.checkpoint.state_diff import state_diff
from model.config import unknown_name_message
from model.dit.network import DiT
from model.seeding import seeded
from model.untrusted import read_object

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
_MOST_RANK = 4096  # the widest published has 256
_READ = ("peft_type", "r", "lora_alpha", "use_rslora", "target_modules", "rank_pattern", "alpha_pattern")
# Of the training, or of a network of transformers: they change nothing in how the adapter is used.
_OF_TRAINING = (
    "auto_mapping", "base_model_name_or_path", "inference_mode", "init_lora_weights", "lora_dropout",
    "peft_version", "revision",
    "task_type", "ensure_weight_tying",
)  # fmt: skip
_OF_MAP = re.compile(r"(?P<map>[\w.]+)\.lora_(?P<side>[AB])\.weight")
_PLAIN = re.compile(r"\w+(\.\w+)*")
_NAME = "default"
# peft's own wrapper around a network, which its files have in front of every name
_PREFIX = "base_model.model."


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
    config = peft.LoraConfig(
        r=rank, lora_alpha=rank if alpha is None else alpha, target_modules=_targets(dit)
    )
    _inject(dit, config, seed)


def lora_parameters(dit: DiT) -> dict[str, Tensor]:
    """The adapter's own parameters by name."""
    return {name: p for name, p in dit.named_parameters() if ".lora_" in name}


def save_lora(dit: DiT, folder: Path | str) -> None:
    """Write the adapter as peft does, so that `PeftModel.from_pretrained` reads it too. The same adapter
    gives the same bytes.

    Raises:
        FileNotFoundError: peft is not installed.
        ValueError: the network has no adapter.
    """
    folder, state = Path(folder), _state(dit)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {_PREFIX + name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    atomic_write(folder / WEIGHTS, lambda path: write_tensors(path, tensors))
    configs: Any = dit.peft_config  # which peft has put there
    config = configs[_NAME].to_dict() | {"inference_mode": True}
    text = json.dumps(config, indent=2, sort_keys=True, default=sorted) + "\n"  # sorted: of its sets
    atomic_write(folder / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))


def load_lora(dit: DiT, folder: Path | str, scale: float = 1.0) -> None:
    """Put a saved adapter beside the maps of a network that it fits.

    Args:
        scale: the adapter counts so many times as much as it was trained to; 0 is the network as it was.

    Raises:
        FileNotFoundError: there is no adapter, or peft is not installed.
        ValueError: it is not LoRA, or does not fit, with the keys that differ. The network is not to be used
        then.
    """
    peft, folder = _peft(), Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"no adapter in '{folder}': it has no {name}; give the export/lora of a training"
            )
    told = read_object(folder / CONFIG)
    if told.get("peft_type") != "LORA":
        raise ValueError(
            f"the adapter in '{folder}' is of kind '{str(told.get('peft_type'))[:80]}', not LORA"
        )
    given = {name.removeprefix(_PREFIX): shape for name, shape in state_shapes(folder, WEIGHTS).items()}
    config = _config(told, folder / CONFIG, _ranks(dit, given))
    try:
        _inject(dit, config, 0)
    except ValueError as error:
        raise ValueError(f"the adapter in '{folder}' doesn't fit this network: {error}") from error
    difference = state_diff({name: tuple(tensor.shape) for name, tensor in _state(dit).items()}, given)
    if difference:
        raise ValueError(f"the adapter in '{folder}' doesn't fit this network: {difference}")
    state = {name.removeprefix(_PREFIX): tensor for name, tensor in read_state(folder, WEIGHTS).items()}
    peft.set_peft_model_state_dict(dit, state, adapter_name=_NAME)
    for _, layer in _layers(dit):
        layer.set_scale(_NAME, scale)


def merge_lora(dit: DiT) -> None:
    """Add the adapter to the weights and take it out: a plain DiT, as fast as before, that can be trained as
    a whole.

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


def _ranks(dit: DiT, given: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The LoRA rank of each linear layer in an adapter file, from the tensor shapes in its header.

    Raises:
        ValueError: it has none, or one of a rank that none has.
    """
    maps = {name for name, module in dit.named_modules() if isinstance(module, nn.Linear)}
    ranks = {}
    for name, shape in given.items():
        found = _OF_MAP.fullmatch(name)
        if found is None or found["map"] not in maps:
            continue  # said as unexpected
        rank = shape[0 if found["side"] == "A" else 1] if len(shape) == 2 else 0
        if not 1 <= rank <= _MOST_RANK:
            raise ValueError(f"{name} of the adapter is {list(shape)}: no rank of 1 to {_MOST_RANK}")
        ranks[found["map"]] = rank
    if not ranks:
        raise ValueError(f"the adapter doesn't fit this network: {state_diff({}, given)}")
    return ranks


def _config(told: Mapping[str, Any], path: Path, ranks: Mapping[str, int]) -> Any:
    """peft's config of plain LoRA on these maps. Which maps they are, their names in the weights say: no
    pattern of the file is matched with anything, and nothing that it names (a base model, a module) is opened
    or imported.

    Raises:
        ValueError: the file asks for more than that, or for other ranks.
    """
    kind = _peft().LoraConfig
    known = {field.name: field for field in dataclasses.fields(kind)}
    for name, value in told.items():
        if name in _READ or name in _OF_TRAINING:
            continue
        if name not in known:
            raise ValueError(unknown_name_message(f"in {path}: setting", name[:80], _READ))
        if value and value not in (_default(known[name]), "none"):
            raise ValueError(
                f"in {path}: {name}={str(value)[:80]} is more than plain LoRA, which is all that is read; "
                "merge the adapter where it was trained"
            )
    rank, alpha, rslora = told.get("r"), told.get("lora_alpha"), told.get("use_rslora") or False
    if type(rank) is not int or type(alpha) not in (int, float) or not isinstance(rslora, bool):
        raise ValueError(f"in {path}: r, lora_alpha or use_rslora is none; was it edited?")
    own_ranks, own_alphas = (
        _per_map(told.get(f"{name}_pattern") or {}, name, path, ranks) for name in ("rank", "alpha")
    )
    for name, there in ranks.items():
        if there != own_ranks.get(name, rank):
            raise ValueError(
                f"in {path}: {name} has rank {own_ranks.get(name, rank)}, and in the weights {there}"
            )
    return kind(
        r=rank,
        lora_alpha=alpha,
        use_rslora=rslora,
        target_modules=sorted(ranks),
        rank_pattern={re.escape(name): int(value) for name, value in own_ranks.items()},
        alpha_pattern={re.escape(name): value for name, value in own_alphas.items()},
    )


def _per_map(pattern: Any, what: str, path: Path, maps: Collection[str]) -> dict[str, float]:
    """What the file says of single maps, by their names or the ends of those. peft would take a name for a
    regular expression, and one can be written that takes years to match.
    """
    if not isinstance(pattern, dict) or len(pattern) > len(maps):
        raise ValueError(f"in {path}: {what}_pattern is no object, or names more maps than the adapter has")
    found: dict[str, float] = {}
    for end, value in pattern.items():
        if not _PLAIN.fullmatch(end) or type(value) not in (int, float):
            raise ValueError(
                f"in {path}: {what}_pattern has '{end[:80]}', which is no name of a map with a number; "
                "patterns are not read"
            )
        for name in maps:
            if name == end or name.endswith(f".{end}"):
                found.setdefault(name, value)  # as peft: the first that matches
    return found


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


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
