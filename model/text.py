"""Text to token embeddings, by encoders that are known by name.

In: a name, like `minilm`, `t5:<folder>@max=256` or `clip:ViT-L-14/openai@pooled+umt5:<folder>`. Out: the encoder.

    name     one encoder, or several joined with +
    encoder  kind, kind:where, each with options: @key, @key=value
    minilm   the embedded one
    t5, umt5 the encoder of a T5 or UMT5, by its folder or its name on the Hugging Face hub
    hf       any encoder or language model of transformers, the same way
    clip     a CLIP of open_clip, by model/tag, model/file or local-dir:<folder>

Options are max (tokens; what is longer is cut), layer (t5, umt5, hf: -1 is the last), pooled or tokens (clip).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from model.config import unknown_name
from model.text_base import CachedTextEncoder, JoinedTextEncoder, TextEncoder
from model.text_clip import clip_encoder
from model.text_minilm import minilm
from model.text_transformers import transformers_encoder

__all__ = ["TEXT_ENCODERS", "CachedTextEncoder", "TextEncoder", "text_encoder"]

_LEAST_TOKENS = 4  # marks of start and end, and something between them
_NUMBERS, _FLAGS = ("max", "layer"), ("tokens", "pooled")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of encoder. needs: what is named behind the colon; None for nothing. options: those that it takes."""

    make: Callable[["Spec", torch.device | str], TextEncoder]
    needs: str | None
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spec:
    """One encoder of a name. options: numbers by key; a flag that is there is 1."""

    kind: str
    where: str
    options: Mapping[str, int]

    @property
    def suffix(self) -> str:
        return "".join(f"@{key}" if key in _FLAGS else f"@{key}={value}" for key, value in self.options.items())


def text_encoder(name: str, device: torch.device | str = "cpu") -> TextEncoder:
    """The text encoder of that name, joined if it names several. Its weights are loaded when the first text comes.

    Raises:
        ValueError: for a kind, an option or a model that is not known, with the near miss; or that does not fit.
        FileNotFoundError: when something of it is not on this machine, and how to get it.
    """
    specs = [_parse(part) for part in name.split("+")]
    encoders = [TEXT_ENCODERS[spec.kind].make(spec, device) for spec in specs]
    return encoders[0] if len(encoders) == 1 else JoinedTextEncoder(encoders)


def _minilm(spec: Spec, device: torch.device | str) -> TextEncoder:
    return minilm(spec.options.get("max"), device)


def _transformers(spec: Spec, device: torch.device | str) -> TextEncoder:
    return transformers_encoder(spec.kind, spec.where, spec.options.get("layer"), spec.options.get("max"), device)


def _clip(spec: Spec, device: torch.device | str) -> TextEncoder:
    return clip_encoder(spec.where, "pooled" in spec.options, spec.options.get("max"), spec.suffix, device)


_OF_TRANSFORMERS = ("max", "layer")
TEXT_ENCODERS: Mapping[str, Kind] = {
    "minilm": Kind(_minilm, None, ("max",)),
    "t5": Kind(_transformers, "a folder or a name of the hub, like t5:google/t5-v1_1-xxl", _OF_TRANSFORMERS),
    "umt5": Kind(_transformers, "a folder or a name of the hub, like umt5:google/umt5-xxl", _OF_TRANSFORMERS),
    "hf": Kind(_transformers, "a folder or a name of the hub, like hf:Qwen/Qwen3-0.6B", _OF_TRANSFORMERS),
    "clip": Kind(_clip, "a model of open_clip, like clip:ViT-L-14/openai", ("max", "tokens", "pooled")),
}
"""By kind. The order is that of the documentation."""


def _parse(part: str) -> Spec:
    """One encoder of a name.

    Raises:
        ValueError: what is wrong with it, as it was typed.
    """
    head, *options = part.split("@")
    kind, _, where = head.partition(":")
    if kind not in TEXT_ENCODERS:
        raise ValueError(
            f"{unknown_name('text encoder', kind, TEXT_ENCODERS)} (+ joins encoders; no folder may hold one)"
        )
    needs = TEXT_ENCODERS[kind].needs
    if needs is None and head != kind:
        raise ValueError(f"text encoder '{kind}' is embedded and takes no '{head.removeprefix(kind)}'")
    if needs is not None and not where:
        raise ValueError(f"text encoder '{kind}' needs {needs}")
    given: dict[str, int] = {}
    for option in options:
        key, value = _option(kind, option)
        if key in given:
            raise ValueError(f"text encoder '{part}' has @{key} twice; say it once")
        given[key] = value
    if given.keys() >= set(_FLAGS):
        raise ValueError(f"text encoder '{part}' can't be both @tokens and @pooled; leave one out, or join two with +")
    return Spec(kind, where, given)


def _option(kind: str, option: str) -> tuple[str, int]:
    known = TEXT_ENCODERS[kind].options
    key, equals, value = option.partition("=")
    if key not in known:
        raise ValueError(
            f"{unknown_name(f'option of text encoder {kind}:', key, known)} (@ begins one; no folder may hold it)"
        )
    if key in _FLAGS:
        if equals:
            raise ValueError(f"@{option} of text encoder '{kind}' takes no value; say @{key}")
        return key, 1
    try:
        number = int(value)
    except ValueError:
        raise ValueError(f"@{option} of text encoder '{kind}' is no whole number; say it like @{_LIKE[key]}") from None
    if key == "max" and number < _LEAST_TOKENS:
        raise ValueError(f"@{option} of text encoder '{kind}' leaves no room for text; {_LEAST_TOKENS} is the least")
    if key == "layer" and number >= 0:
        raise ValueError(f"@{option} of text encoder '{kind}': layers are counted from the last, which is -1")
    return key, number


_LIKE = {"max": "max=128", "layer": "layer=-2"}
