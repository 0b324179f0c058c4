"""The configured CLIP, through open_clip: which one, whether it is there, and pictures and texts →
embeddings.

In: RGB frames and texts. Out: float32 embeddings of length 1, in one space (Radford et al. 2021). It runs on
one core. Weights come from a folder, a file, or by a tag that open_clip downloads; random ones are never
used.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.ids import sha256_file
from pipelines.naming import did_you_mean
from pipelines.scores.clip_config import read_clip_config
from pipelines.scores.config import ScoreConfig
from pipelines.untrusted import TOKENIZER_BYTES, check_safetensors_file, read_object

_FOLDER, _HUB = "local-dir:", "hf-hub:"
_CONFIG = "open_clip_config.json"
_WEIGHTS = (".safetensors", ".bin", ".pth")  # what open_clip looks for in a folder
_OF_TOKENIZER = (".json", ".txt", ".model")
_OF_MODEL = (*_WEIGHTS, *_OF_TOKENIZER)  # and what its tokenizers read


def missing(cfg: ScoreConfig) -> str | None:
    """Why there is no CLIP, and which keys to set; None if there is one."""
    return None if cfg.clip_model else "needs a CLIP: set scores.clip_model and scores.clip_pretrained"


def check(cfg: ScoreConfig) -> None:
    """Whether the configured model can be there; loads nothing.

    Raises:
        ValueError: an unknown name or tag, with the near miss; a file or folder that isn't there.
    """
    if cfg.clip_model is None:
        if cfg.clip_pretrained is not None:
            raise ValueError(
                f"scores.clip_pretrained={cfg.clip_pretrained} is for a model that is not named; set "
                "scores.clip_model"
            )
    elif _model(cfg).startswith(_FOLDER):
        _check_folder(cfg)
    elif cfg.clip_model.startswith(_HUB):
        raise ValueError(
            f"scores.clip_model={cfg.clip_model}: a repository of a hub can change; download it and set "
            f"scores.clip_model={_FOLDER}<folder>"
        )
    else:
        _check_name(cfg)


def _model(cfg: ScoreConfig) -> str:
    assert cfg.clip_model is not None, "only who names a CLIP asks for its scores"
    return cfg.clip_model


def _tag(cfg: ScoreConfig) -> str:
    """The weights of a model of open_clip: a tag, or a file."""
    assert cfg.clip_pretrained is not None, "a model that is no folder has weights of its own"
    return cfg.clip_pretrained


def width(cfg: ScoreConfig) -> int:
    """Of an embedding."""
    return int(_model_config(cfg)["embed_dim"])


def weights_identity(cfg: ScoreConfig) -> list[str]:
    """What embeddings depend on: hashes of files that are given, else the name and the tag."""
    if _model(cfg).startswith(_FOLDER):
        return [part for file in _folder_files(cfg) for part in (file.name, _hash(file))]
    file = Path(_tag(cfg))
    return [_model(cfg), _hash(file) if file.is_file() else _tag(cfg)]


def name(cfg: ScoreConfig) -> str:
    """What people call it, like `open_clip ViT-B-32/laion2b_s34b_b79k`."""
    if _model(cfg).startswith(_FOLDER):
        return f"open_clip {_folder(cfg).resolve().name}"
    return f"open_clip {cfg.clip_model}/{Path(_tag(cfg)).name}"


class ClipModel:
    """The model, loaded.

    Attributes:
        scale: what a cosine is multiplied with before a softmax over texts.

    Raises:
        ValueError: see `check`.
    """

    def __init__(self, cfg: ScoreConfig):
        check(cfg)
        os.environ["TOKENIZERS_PARALLELISM"] = (
            "false"  # its threads would outlive the call, and a process may fork later
        )
        import open_clip
        import torch

        torch.set_num_threads(1)  # one core per process; more would fight over the same ones
        of_transformers = bool(_model_config(cfg).get("text_cfg", {}).get("hf_tokenizer_name"))
        with _no_remote_code_prompt():
            self._model, self._transform = open_clip.create_model_from_pretrained(
                cfg.clip_model, cfg.clip_pretrained, weights_only=True
            )
            self._model.eval()
            self._tokenizer = open_clip.get_tokenizer(
                cfg.clip_model, **({"trust_remote_code": False} if of_transformers else {})
            )
        self.scale = float(self._model.logit_scale.detach().exp())

    def embed_image(self, frame: np.ndarray) -> np.ndarray:
        """Of a frame, RGB uint8 (H, W, 3): float32 (D,), of length 1. One forward pass."""
        import torch
        from PIL import Image

        with torch.inference_mode():
            x_1CHW = self._transform(Image.fromarray(frame))[None]
            return self._model.encode_image(x_1CHW, normalize=True)[0].numpy()

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 (N, D), each of length 1. What is longer than the model reads is cut off."""
        import torch

        with torch.inference_mode():  # one at a time: a text's embedding must not depend on its neighbours
            rows = [
                self._model.encode_text(self._tokenizer([text]), normalize=True)[0].numpy() for text in texts
            ]
        return np.stack(rows)


def fetch(cfg: ScoreConfig) -> None:
    """Have open_clip download the weights of a tag, in a process of its own: downloading starts threads, and
    who forks after that may not. Does nothing for weights that are given as files. Call it from a process
    with one thread.
    """
    from multiprocessing import get_context

    if _model(cfg).startswith(_FOLDER) or Path(_tag(cfg)).is_file():
        return
    apart = get_context("fork").Process(target=_download, args=(cfg.clip_model, cfg.clip_pretrained))
    apart.start()
    apart.join()  # how it ended says nothing: loading tries again, and tells what is wrong


def _download(model: str, tag: str) -> None:
    import open_clip

    open_clip.download_pretrained(open_clip.get_pretrained_cfg(model, tag))


def _check_folder(cfg: ScoreConfig) -> None:
    key = f"scores.clip_model={cfg.clip_model}"
    folder = _folder(cfg)
    if cfg.clip_pretrained is not None:
        raise ValueError(
            f"{key} has its own weights, so scores.clip_pretrained={cfg.clip_pretrained} has no meaning; "
            "drop it"
        )
    if not folder.is_dir():
        raise ValueError(f"{key}: there is no folder {folder}")
    if not (folder / _CONFIG).is_file():
        raise ValueError(f"{key}: the folder has no {_CONFIG}; save it as open_clip's push_to_hf_hub does")
    weights = [file for file in _folder_files(cfg) if file.suffix in _WEIGHTS]
    settings = read_clip_config(folder / _CONFIG, max((file.stat().st_size for file in weights), default=0))
    if not weights:
        raise ValueError(f"{key}: the folder has no weights ({', '.join(_WEIGHTS)})")
    for file in weights:
        if file.suffix == _WEIGHTS[0]:
            check_safetensors_file(file)
    if settings["text_cfg"].get("hf_tokenizer_name"):
        _check_tokenizer(folder)


def _check_tokenizer(folder: Path) -> None:
    """Raises ValueError if the files of a tokenizer are larger than any is, or name others."""
    for file in folder.iterdir():
        if file.suffix in _OF_TOKENIZER and file.stat().st_size > TOKENIZER_BYTES:
            raise ValueError(f"{file} has more than {TOKENIZER_BYTES:,} bytes, which no vocabulary has")
    path = folder / "tokenizer_config.json"
    if path.is_file() and read_object(path).get(
        "init_inputs"
    ):  # the arguments of its class, of which the first is a file
        raise ValueError(f"{path} has init_inputs, which could name any file; save the tokenizer again")


@contextmanager
def _no_remote_code_prompt() -> Iterator[None]:
    """Within the block, libraries refuse remote code instead of prompting for it at the terminal."""
    from transformers import dynamic_module_utils

    patience = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = patience


def _check_name(cfg: ScoreConfig) -> None:
    import open_clip

    model, weights = _model(cfg), cfg.clip_pretrained
    known = open_clip.list_models()
    if model not in known:
        raise ValueError(
            f"scores.clip_model={model} is no model of open_clip; {did_you_mean(model, known)}, or "
            f"{_FOLDER}<folder>"
        )
    tags = open_clip.list_pretrained_tags_by_model(model)
    if weights is None:
        raise ValueError(
            f"scores.clip_model={model} needs weights: set scores.clip_pretrained to a file or a tag "
            f"({', '.join(tags) or 'there is none'})"
        )
    if weights not in tags and not Path(weights).is_file():
        raise ValueError(
            f"scores.clip_pretrained={weights} is neither a file nor a tag of {model}; "
            f"{did_you_mean(weights, tags)}"
        )


def _model_config(cfg: ScoreConfig) -> dict[str, Any]:
    if _model(cfg).startswith(_FOLDER):
        settings = read_object(_folder(cfg) / _CONFIG).get("model_cfg", {})
        return settings if isinstance(settings, dict) else {}
    import open_clip

    return open_clip.get_model_config(cfg.clip_model)


def _folder(cfg: ScoreConfig) -> Path:
    return Path(_model(cfg).removeprefix(_FOLDER))


def _folder_files(cfg: ScoreConfig) -> list[Path]:
    return sorted(file for file in _folder(cfg).iterdir() if file.suffix in _OF_MODEL and file.is_file())


_hash = cache(sha256_file)
