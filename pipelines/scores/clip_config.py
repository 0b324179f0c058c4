"""What an `open_clip_config.json` may say: which keys, and how much of each.

In: the file, and how large its weights are. Out: the model's settings, or why they are refused. open_clip
hands what it finds there to whoever takes it: a name of another model, which is then loaded; arguments of a
tokenizer, `trust_remote_code` among them. So only keys of this list are let through, and none that names
something outside of the folder is on it. `model.text.clip_config` holds the same for text encoders: the two
packages know nothing of each other.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.untrusted import read_object

CONFIG = "open_clip_config.json"

_TOWER = (
    "act_kwargs", "block_type", "heads", "layers", "ls_init_value", "mlp_ratio", "norm_kwargs",
    "output_tokens", "pool_type",
    "qk_norm", "scale_attn", "scale_attn_inner", "scale_fc", "scale_heads", "scaled_cosine_attn", "width",
)  # fmt: skip
_TEXT = (
    *_TOWER, "context_length", "vocab_size", "embed_cls", "pad_id", "eos_id", "no_causal_mask",
    "final_ln_after_pool", "proj_bias",
    "proj_type", "hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs",
)  # fmt: skip
_VISION = (
    *_TOWER, "head_width", "patch_size", "image_size", "patch_dropout", "no_ln_pre", "pos_embed_type",
    "final_ln_after_pool",
    "attentional_pool", "attn_pooler_queries", "attn_pooler_heads", "timm_model_name",
    "timm_model_pretrained", "timm_pool", "timm_proj",
    "timm_proj_bias", "timm_drop", "timm_drop_path",
)  # fmt: skip
_MULTIMODAL = (*_TEXT, "dim_head", "n_queries", "attn_pooler_heads")
_PARTS: Mapping[str, tuple[str, ...]] = {
    "text_cfg": _TEXT,
    "vision_cfg": _VISION,
    "multimodal_cfg": _MULTIMODAL,
}
_WHOLE = (
    "embed_dim",
    "quick_gelu",
    "custom_text",
    "init_logit_scale",
    "init_logit_bias",
    "nonscalar_logit_scale",
    *_PARTS,
)
_FOR_TOKENIZER = ("clean", "strip_sep_token", "reduction_mask")
_ARCHITECTURE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?")  # of timm; other names of it are places
_MOST: Mapping[str, int] = {
    "layers": 256,
    "width": 16384,
    "vocab_size": 2**22,
    "context_length": 2**16,
    "image_size": 4096,
}
_MOST_NUMBER = 2**22
_SPARE_BYTES = 64 * 2**20


def read_clip_config(path: Path, weights_bytes: int) -> dict[str, Any]:
    """The model's settings (`model_cfg`).

    Args:
        weights_bytes: of its file of weights; a network is not built that is far larger than they can fill.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not open_clip's, has a key that is not known or not let through, or a value out of
        its bounds.
    """
    settings = read_object(path).get("model_cfg")
    if not isinstance(settings, dict) or not settings.keys() >= {"embed_dim", "text_cfg"}:
        raise ValueError(f"{path} has no model_cfg with an embed_dim and a text_cfg; it is not open_clip's")
    _check(settings, _WHOLE, path, "model_cfg")
    for part, known in _PARTS.items():
        if part in settings and not isinstance(settings[part], dict):
            raise ValueError(f"in {path}: {part} is no object")
        _check(settings.get(part, {}), known, path, part)
    if 2 * sum(map(_parameters, settings.values())) > 4 * weights_bytes + _SPARE_BYTES:
        raise ValueError(
            f"in {path}: the network would be far larger than its weights ({weights_bytes:,} bytes); was it "
            "edited?"
        )
    return settings


def _check(settings: Mapping[str, Any], known: tuple[str, ...], path: Path, part: str) -> None:
    for name, value in settings.items():
        where = f"in {path}: {part}.{name[:80]}"
        if name not in known:
            raise ValueError(
                f"{where} is not taken from a model's folder: it is not known, or could name another model "
                "or run code of it"
            )
        if name in _PARTS:
            continue
        if name == "tokenizer_kwargs":
            _check_kwargs(value, where)
        elif name in ("act_kwargs", "norm_kwargs"):
            _check_plain(value, where)
        elif name == "timm_model_name" and not (isinstance(value, str) and _ARCHITECTURE.fullmatch(value)):
            raise ValueError(
                f"{where}={str(value)[:80]} is no architecture of timm; a place of weights is not taken "
                "from a file"
            )
        else:
            _check_value(name, value, where)


def _check_kwargs(value: Any, where: str) -> None:
    """Of the tokenizer's arguments those that say how a text is cleaned; the others go to transformers, which
    may run code."""
    for key, one in (value or {}).items() if isinstance(value, dict | None) else (("", value),):
        if key not in _FOR_TOKENIZER or not isinstance(one, str | bool | None):
            raise ValueError(
                f"{where} has '{str(key)[:80]}'; of a model's folder only {', '.join(_FOR_TOKENIZER)} are "
                "taken"
            )


def _check_plain(value: Any, where: str) -> None:
    if value is not None and not (
        isinstance(value, dict)
        and all(isinstance(one, bool | int | float | str | None) for one in value.values())
    ):
        raise ValueError(f"{where} holds more than plain values")


def _check_value(name: str, value: Any, where: str) -> None:
    numbers = value if isinstance(value, list) else [value]
    if len(numbers) > 64 or any(isinstance(one, dict | list) for one in numbers):
        raise ValueError(f"{where} is no number, text or short list of those")
    most = _MOST.get(name, _MOST_NUMBER)
    for number in numbers:
        if isinstance(number, int | float) and abs(number) > most:
            raise ValueError(f"{where}={number} is too large: at most {most}")


def _parameters(tower: Any) -> float:
    """About those of a transformer; 0 for what is none."""
    if not isinstance(tower, dict):
        return 0
    layers, width, ratio = (
        tower.get(name, usual) for name, usual in (("layers", 0), ("width", 0), ("mlp_ratio", 4))
    )
    if not all(isinstance(number, int | float) for number in (layers, width, ratio)):
        return 0
    words = sum(
        tower.get(name) or 0 for name in ("vocab_size", "context_length") if isinstance(tower.get(name), int)
    )
    return layers * (4 + 2 * ratio) * width**2 + words * width
