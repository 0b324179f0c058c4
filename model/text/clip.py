"""The text tower of a CLIP, through open_clip: a token per word, or one for the whole text.

In: an open_clip model by name and pretrained tag, or in a folder. Out: a TextEncoder. open_clip is loaded
only when an encoder is asked for. Shapes: L tokens of a text, T of the model's context, dim channels.
"""

import difflib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from model.config import unknown_name_message
from model.text.base import TextEncoderBase
from model.text.clip_config import CONFIG, read_clip_config
from model.text.files import check_inside, files_digest
from model.text.transformers_encoder import check_tokenizer, no_remote_code_prompt
from model.untrusted import check_safetensors_header

FOLDER, _HUB = "local-dir:", "hf-hub:"
_WEIGHTS = (".safetensors", ".bin", ".pth")  # what open_clip looks for in a folder
_OF_MODEL = (*_WEIGHTS, ".json", ".txt", ".model")  # and what its tokenizers read
_CONTEXT, _WIDTH = 77, 512  # where a config says nothing


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """What a name asks of a CLIP.

    Attributes:
        pooled: one token for all of a text.
        max_tokens: what is longer is cut; None for as many as the model reads.
        text: the options as the user gave them.
    """

    pooled: bool
    max_tokens: int | None
    text: str


class ClipTextEncoder(TextEncoderBase):
    """What a CLIP makes of a text, in fp32.

    Tokens are the states behind the final normalisation, from the mark of start to the mark of end, without
    the padding that fills up the context. Pooled is one token: the projection that is compared with pictures,
    not brought to length 1.

    Args:
        model: as open_clip names it, or `local-dir:` and a folder.
        pretrained: tag or file of weights; None for a folder.
        settings: the model's own, as in its config.
        options: of the name.
        weights: the file that the tag stands for; without it it is looked for, and downloaded.
    """

    def __init__(
        self,
        model: str,
        pretrained: str | None,
        settings: dict[str, Any],
        options: ClipOptions,
        *,
        device: torch.device | str,
        weights: Path | None = None,
    ) -> None:
        pooled, max_tokens = options.pooled, options.max_tokens
        text = settings["text_cfg"]
        self._context = int(text.get("context_length", _CONTEXT))
        if max_tokens is not None and max_tokens > self._context:
            raise ValueError(
                f"max={max_tokens} is more than CLIP {model} reads; it reads {self._context} tokens"
            )
        if not pooled and ("hf_model_name" in text or text.get("tokenizer_mode")):
            tower = f", or name its text tower: hf:{text['hf_model_name']}" if "hf_model_name" in text else ""
            raise ValueError(f"CLIP {model} gives no tokens of its own; ask for one with @pooled{tower}")
        self.name = f"clip:{model}{f'/{pretrained}' if pretrained else ''}{options.text}"
        self._model, self._pretrained, self._settings = model, pretrained, settings
        self._pooled, self._device, self._given = pooled, torch.device(device), weights
        self.max_tokens = max_tokens or self._context
        self.dim = int(settings["embed_dim"] if pooled else text.get("width", _WIDTH))

    @property
    def fingerprint(self) -> str:
        """Of a folder: of its files. Else of weights, config and tokenizer; the weights are downloaded if
        need be."""
        title = f"open_clip {'pooled' if self._pooled else 'tokens'} v1 max_tokens={self.max_tokens}"
        if self._pretrained is None:
            files = _folder_files(_folder(self._model))
            return files_digest(f"{title} {','.join(file.name for file in files)}", files)
        told = {
            "model": self._settings,
            "tokenizer": _describe(self._tokenizer),
            "quick_gelu": self._quick_gelu,
        }
        return files_digest(f"{title} {json.dumps(told, sort_keys=True)}", [self._weights])

    @torch.no_grad()
    def encode_one(self, text: str) -> tuple[Tensor, bool]:
        length = _length(self._tokenizer, text)
        ids_1L = self._tokenizer([text], context_length=self.max_tokens)
        ids_1T = F.pad(ids_1L, (0, self._context - self.max_tokens), value=_padding(self._tokenizer)).to(
            self._device
        )
        if self._pooled:
            made_LD = self._network.encode_text(ids_1T, normalize=False)
        else:
            made = self._network.forward_intermediates(
                text=ids_1T, text_indices=1, normalize_intermediates=True, intermediates_only=True
            )
            made_LD = made["text_intermediates"][-1][0, : min(length, self.max_tokens)]
        # a clone: a slice would hold on to the padding
        return made_LD.float().cpu().clone(), length > self.max_tokens

    @cached_property
    def _network(self) -> Any:
        import open_clip

        weights = None if self._pretrained is None else str(self._weights)
        with no_remote_code_prompt(), self._in_a_line():
            network = open_clip.create_model_from_pretrained(
                self._model,
                weights,
                return_transform=False,
                force_quick_gelu=self._quick_gelu,
                weights_only=True,
            )
        network.visual = None  # pictures are not looked at
        return network.eval().requires_grad_(False).to(self._device)

    @cached_property
    def _tokenizer(self) -> Any:
        import open_clip

        of_transformers = bool(self._settings["text_cfg"].get("hf_tokenizer_name"))
        with no_remote_code_prompt(), self._in_a_line():
            tokenizer = open_clip.get_tokenizer(
                self._model, **({"trust_remote_code": False} if of_transformers else {})
            )
        if getattr(tokenizer, "reduction_fn", None) is not None:
            tokenizer.reduction_fn = None  # some drop words at random; ours are cut at the end
        return tokenizer

    @contextmanager
    def _in_a_line(self) -> Iterator[None]:
        """Of a folder: whatever its files make open_clip and transformers raise, as ValueError."""
        try:
            yield
        except Exception as error:
            if self._pretrained is not None:
                raise
            line = next(iter(str(error).splitlines()), "")[:200]
            raise ValueError(
                f"clip:{self._model} can't be read ({type(error).__name__}: {line}); code of its own is "
                "never run"
            ) from error

    @cached_property
    def _weights(self) -> Path:
        """The file of a pretrained tag, downloaded if it isn't here yet.

        Raises:
            FileNotFoundError: the download failed.
        """
        import open_clip

        if self._given is not None:
            return self._given
        assert self._pretrained is not None, "only a pretrained tag has a file of its own"
        if Path(self._pretrained).is_file():
            return Path(self._pretrained)
        try:
            found = open_clip.download_pretrained(open_clip.get_pretrained_cfg(self._model, self._pretrained))
        except (OSError, RuntimeError) as error:
            raise FileNotFoundError(
                f"the weights of {self.name} are not on this machine and can't be downloaded "
                f"({str(error).splitlines()[0]}); download them elsewhere, and name the folder as "
                f"clip:{FOLDER}<folder> or the file as clip:{self._model}/<file>"
            ) from error
        return Path(found)

    @property
    def _quick_gelu(self) -> bool:
        """Some weights need an activation that the model's config doesn't name; their tag knows it."""
        if self._pretrained is None or (self._given is None and Path(self._pretrained).is_file()):
            return False
        import open_clip

        return bool(open_clip.get_pretrained_cfg(self._model, self._pretrained).get("quick_gelu"))


def clip_encoder(
    where: str,
    pooled: bool,
    max_tokens: int | None,
    options: str,
    device: torch.device | str,
    home: Path | None = None,
) -> ClipTextEncoder:
    """The CLIP of a name like `ViT-B-32/openai`, of a name and a file, or of a folder, `local-dir:<folder>`.

    Args:
        home: the checkpoint's folder, if a file of it names the CLIP: then that is in it, or on this machine
        already.

    Raises:
        FileNotFoundError: there is no such folder, or it holds no open_clip model.
        ValueError: an unknown model or tag, with the near miss; more tokens than it reads; tokens that it
        doesn't give.
    """
    if where.startswith(_HUB):
        raise ValueError(
            f"clip:{where}: name a model of the hub by its folder: hf download {where.removeprefix(_HUB)} "
            f"--local-dir <folder>, then clip:{FOLDER}<folder>"
        )
    if where.startswith(FOLDER):
        folder = _folder(where).expanduser().absolute()
        model, pretrained, settings = f"{FOLDER}{folder}", None, _read_folder(folder, home)
    else:
        model, pretrained, settings = _named(where)
    weights = None if home is None or pretrained is None else cached_clip(where)
    return ClipTextEncoder(
        model,
        pretrained,
        settings,
        ClipOptions(pooled, max_tokens, options),
        device=device,
        weights=weights,
    )


def cached_clip(where: str) -> Path | None:
    """The weights that a name like `ViT-B-32/openai` stands for, if they are on this machine; None if they
    are not, if it is no such name, or if its tokenizer is one of a hub. Nothing is downloaded or asked for.
    """
    import huggingface_hub
    import open_clip

    model, _, tag = where.partition("/")
    settings = open_clip.get_model_config(model) if model in open_clip.list_models() else None
    if settings is None or tag not in open_clip.list_pretrained_tags_by_model(model):
        return None
    of_hub = ("hf_tokenizer_name", "hf_model_name")
    if any(settings["text_cfg"].get(name) for name in of_hub) or "siglip" in model.lower():
        return None
    told = open_clip.get_pretrained_cfg(model, tag)
    if told.get("hf_hub"):
        repository, name = os.path.split(told["hf_hub"])
        for file in _alternatives(name or "open_clip_pytorch_model.bin"):
            found = huggingface_hub.try_to_load_from_cache(repository, file)
            if isinstance(found, str):
                return Path(found)
        return None
    file = Path("~/.cache/clip").expanduser() / os.path.basename(told.get("url", ""))
    return file if file.is_file() else None


def _alternatives(file: str) -> Iterable[str]:
    """In the order in which open_clip takes them."""
    if file == "open_clip_pytorch_model.bin":
        yield "open_clip_model.safetensors"
    elif file.endswith((".bin", ".pth")):
        yield f"{file[:-4]}.safetensors"
    yield file


def _read_folder(folder: Path, home: Path | None) -> dict[str, Any]:
    """The model's settings, as far as it may have any: see `read_clip_config`. Raises FileNotFoundError,
    ValueError."""
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(
            f"clip:{FOLDER}{folder}: there is no {CONFIG}; give the folder of a model that open_clip saved"
        )
    files = _folder_files(folder)
    weights = [file for file in files if file.suffix in _WEIGHTS]
    settings = read_clip_config(folder / CONFIG, max((file.stat().st_size for file in weights), default=0))
    if not weights:
        raise FileNotFoundError(f"clip:{FOLDER}{folder}: there are no weights ({', '.join(_WEIGHTS)})")
    if home is not None:
        check_inside(files, home)
        if others := [file.name for file in weights if file.suffix != _WEIGHTS[0]]:
            raise ValueError(
                f"{folder} has weights in {others[0]}; of an encoder that a checkpoint brings along only "
                "safetensors are read"
            )
    for file in weights:
        if file.suffix == _WEIGHTS[0]:
            check_safetensors_header(file)
    if settings["text_cfg"].get("hf_tokenizer_name"):
        check_tokenizer(
            folder, [file for file in files if file.suffix not in _WEIGHTS], closed=home is not None
        )
    return settings


def _named(where: str) -> tuple[str, str, dict[str, Any]]:
    """Model, tag or file, and the model's settings, of `ViT-B-32/openai`."""
    import open_clip

    model, _, pretrained = where.partition("/")
    if model not in (known := open_clip.list_models()):
        near = difflib.get_close_matches(model, known, n=1)  # all of them would fill a screen
        hint = f"did you mean '{near[0]}'?" if near else f"open_clip.list_models() names {len(known)}."
        raise ValueError(f"open_clip model '{model}' is not known; {hint} A folder is clip:{FOLDER}<folder>")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not pretrained:
        if len(tags) != 1:
            told = (
                f"one of {', '.join(tags)}, or a file" if tags else "a file, since there is none to download"
            )
            raise ValueError(f"clip:{model} needs weights: clip:{model}/<tag>, {told}")
        pretrained = tags[0]
    if pretrained not in tags and not Path(pretrained).expanduser().is_file():
        raise ValueError(unknown_name_message(f"weights of clip:{model}:", pretrained, tags))
    if pretrained not in tags:
        pretrained = str(Path(pretrained).expanduser().absolute())
    return model, pretrained, open_clip.get_model_config(model)


def _folder(model: str) -> Path:
    return Path(model.removeprefix(FOLDER))


def _folder_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in _OF_MODEL and file.is_file())


def _length(tokenizer: Any, text: str) -> int:
    """Tokens of the whole text, marks of start and end included."""
    if hasattr(tokenizer, "tokenizer"):  # one of transformers, in open_clip's dress
        clean = getattr(tokenizer, "clean_fn", lambda x: x)
        marks = 3 if getattr(tokenizer, "tokenizer_mode", "") else 0  # then open_clip sets its own
        ids = tokenizer.tokenizer(clean(text), truncation=False, add_special_tokens=not marks, verbose=False)[
            "input_ids"
        ]
        return len(ids) + marks
    return len(tokenizer.encode(text)) + 2


def _padding(tokenizer: Any) -> int:
    return tokenizer.tokenizer.pad_token_id if hasattr(tokenizer, "tokenizer") else 0


def _describe(tokenizer: Any) -> str:
    """What a tokenizer does, in words that are the same on every machine."""
    if hasattr(tokenizer, "tokenizer"):
        return tokenizer.tokenizer.backend_tokenizer.to_str()
    return type(tokenizer).__name__
