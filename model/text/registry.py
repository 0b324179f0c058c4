"""Text to token embeddings, by encoders that are known by name.

In: a name, like `minilm`, `t5:<folder>@max=256` or `clip:ViT-L-14/openai@pooled+umt5:<folder>`. Out: the
encoder.

    name     one encoder, or several joined with +
    encoder  kind, kind:where, each with options: @key, @key=value
    minilm   the embedded one
    t5, umt5 the encoder of a T5 or UMT5, by its folder or its name on the Hugging Face hub
    hf       any encoder or language model of transformers, the same way
    clip     a CLIP of open_clip, by model/tag, model/file or local-dir:<folder>

Options are max (tokens; what is longer is cut), layer (t5, umt5, hf: -1 is the last), pooled or tokens
(clip).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from model.config import unknown_name_message
from model.text.base import CachedTextEncoder, JoinedTextEncoder, TextEncoder
from model.text.clip import FOLDER, cached_clip, clip_encoder
from model.text.files import cached_snapshot, resolve_inside
from model.text.minilm import minilm
from model.text.transformers_encoder import transformers_encoder

__all__ = ["TEXT_ENCODERS", "CachedTextEncoder", "TextEncoder", "check_encoder_allowed", "text_encoder"]

_LEAST_TOKENS = 4  # marks of start and end, and something between them
_NUMBERS, _FLAGS = ("max", "layer"), ("tokens", "pooled")


@dataclass(frozen=True, slots=True)
class EncoderKind:
    """A kind of encoder. needs: what is named behind the colon; None for nothing. options: those that it
    takes.

    resolve_for_checkpoint: what a checkpoint's file names, where it may be: see `check_encoder_allowed`; None
    if it may not.
    """

    make: Callable[["EncoderSpec", torch.device | str], TextEncoder]
    argument: str | None
    options: tuple[str, ...]
    resolve_for_checkpoint: Callable[["EncoderSpec", Path], "EncoderSpec | None"]


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """One encoder of a name. options: numbers by key; a flag that is there is 1.

    home: the checkpoint's folder, if the encoder is named by a checkpoint file and not by the user; it is
    then treated as untrusted.
    """

    kind: str
    where: str
    options: Mapping[str, int]
    home: Path | None = None

    @property
    def suffix(self) -> str:
        return "".join(
            f"@{key}" if key in _FLAGS else f"@{key}={value}" for key, value in self.options.items()
        )


def text_encoder(name: str, device: torch.device | str = "cpu", home: Path | None = None) -> TextEncoder:
    """The text encoder of that name, joined if it names several. Its weights are loaded when the first text
    comes.

    Args:
        home: the folder of the checkpoint whose file names it; without one a user does. See
        `check_encoder_allowed`.

    Raises:
        ValueError: for a kind, an option or a model that is not known, with the near miss; or that does not
        fit.
        FileNotFoundError: when something of it is not on this machine, and how to get it.
    """
    specs = _specs(name, home)
    encoders = [TEXT_ENCODERS[spec.kind].make(spec, device) for spec in specs]
    return encoders[0] if len(encoders) == 1 else JoinedTextEncoder(encoders)


def check_encoder_allowed(name: str, home: Path) -> None:
    """Whether a text encoder may be used because a file of a checkpoint names it: what is embedded here, what
    lies in the checkpoint's own folder (then its class must be one of a list, and its weights safetensors),
    and what a name of a hub means if it is on this machine already. Other folders are opened, and anything
    downloaded, only where a user says so.

    Args:
        home: the checkpoint's folder.

    Raises:
        ValueError: it may not, and which key confirms it; or it is no name of an encoder.
    """
    _specs(name, home)


def _minilm(spec: EncoderSpec, device: torch.device | str) -> TextEncoder:
    return minilm(spec.options.get("max"), device)


def _transformers(spec: EncoderSpec, device: torch.device | str) -> TextEncoder:
    options = spec.options
    return transformers_encoder(
        spec.kind, spec.where, options.get("layer"), options.get("max"), device, spec.home
    )


def _clip(spec: EncoderSpec, device: torch.device | str) -> TextEncoder:
    return clip_encoder(
        spec.where, "pooled" in spec.options, spec.options.get("max"), spec.suffix, device, spec.home
    )


def _embedded(spec: EncoderSpec, home: Path) -> EncoderSpec:
    return spec


def _placed_transformers(spec: EncoderSpec, home: Path) -> EncoderSpec | None:
    if own := resolve_inside(spec.where, home):
        return replace(spec, where=str(own), home=home)
    there = cached_snapshot(spec.where)
    return None if there is None else replace(spec, where=str(there))


def _placed_clip(spec: EncoderSpec, home: Path) -> EncoderSpec | None:
    if spec.where.startswith(FOLDER):
        own = resolve_inside(spec.where.removeprefix(FOLDER), home)
        return None if own is None else replace(spec, where=f"{FOLDER}{own}", home=home)
    return replace(spec, home=home) if cached_clip(spec.where) else None


_OF_TRANSFORMERS = ("max", "layer")
TEXT_ENCODERS: Mapping[str, EncoderKind] = {
    "minilm": EncoderKind(_minilm, None, ("max",), _embedded),
    "t5": EncoderKind(
        _transformers,
        "a folder or a name of the hub, like t5:google/t5-v1_1-xxl",
        _OF_TRANSFORMERS,
        _placed_transformers,
    ),
    "umt5": EncoderKind(
        _transformers,
        "a folder or a name of the hub, like umt5:google/umt5-xxl",
        _OF_TRANSFORMERS,
        _placed_transformers,
    ),
    "hf": EncoderKind(
        _transformers,
        "a folder or a name of the hub, like hf:Qwen/Qwen3-0.6B",
        _OF_TRANSFORMERS,
        _placed_transformers,
    ),
    "clip": EncoderKind(
        _clip, "a model of open_clip, like clip:ViT-L-14/openai", ("max", "tokens", "pooled"), _placed_clip
    ),
}
"""By kind. The order is that of the documentation."""


def _specs(name: str, home: Path | None) -> list[EncoderSpec]:
    parts = [_parse(part) for part in name.split("+")]
    if home is None:
        return parts
    placed = [TEXT_ENCODERS[spec.kind].resolve_for_checkpoint(spec, home) for spec in parts]
    if missing := [f"{spec.kind}:{spec.where}" for spec, at in zip(parts, placed, strict=True) if at is None]:
        raise ValueError(
            f"'{home}' names the text encoder '{missing[0]}', which is neither in that folder nor, as a "
            "model of a hub, on this machine; nothing else is opened or downloaded because a file says so: "
            f"if it is what you want, give text_encoder={name}"
        )
    return [spec for spec in placed if spec is not None]


def _parse(part: str) -> EncoderSpec:
    """One encoder of a name.

    Raises:
        ValueError: what is wrong with it, as it was typed.
    """
    head, *options = part.split("@")
    kind, _, where = head.partition(":")
    if kind not in TEXT_ENCODERS:
        raise ValueError(
            f"{unknown_name_message('text encoder', kind, TEXT_ENCODERS)} (+ joins encoders; no folder may "
            "hold one)"
        )
    needs = TEXT_ENCODERS[kind].argument
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
        raise ValueError(
            f"text encoder '{part}' can't be both @tokens and @pooled; leave one out, or join two with +"
        )
    return EncoderSpec(kind, where, given)


def _option(kind: str, option: str) -> tuple[str, int]:
    known = TEXT_ENCODERS[kind].options
    key, equals, value = option.partition("=")
    if key not in known:
        raise ValueError(
            f"{unknown_name_message(f'option of text encoder {kind}:', key, known)} (@ begins one; no "
            "folder may hold it)"
        )
    if key in _FLAGS:
        if equals:
            raise ValueError(f"@{option} of text encoder '{kind}' takes no value; say @{key}")
        return key, 1
    try:
        number = int(value)
    except ValueError:
        raise ValueError(
            f"@{option} of text encoder '{kind}' is no whole number; say it like @{_LIKE[key]}"
        ) from None
    if key == "max" and number < _LEAST_TOKENS:
        raise ValueError(
            f"@{option} of text encoder '{kind}' leaves no room for text; {_LEAST_TOKENS} is the least"
        )
    if key == "layer" and number >= 0:
        raise ValueError(f"@{option} of text encoder '{kind}': layers are counted from the last, which is -1")
    return key, number


_LIKE = {"max": "max=128", "layer": "layer=-2"}
