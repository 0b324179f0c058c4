"""Base classes of text encoders: encoding text by text with a count of truncated texts, joined encoders, and
a cache.

In: texts. Out: one (L, dim) tensor per text, as long as the text. Knows no tokenizer and no network.
Shapes: L tokens of a text, dim channels.
"""

import hashlib
import logging
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Protocol

import torch
from torch import Tensor

log = logging.getLogger(__name__)

CACHE_BYTES = 1 << 28


class TextEncoder(Protocol):
    """What turns text into conditions. Two encoders with one fingerprint give the same embeddings, up to a
    device's rounding.

    Attributes:
        name: as `text_encoder` takes it, with folders absolute.
        dim: channels of an embedding.
        max_tokens: a text of more is cut.
    """

    name: str
    dim: int
    max_tokens: int

    @property
    def fingerprint(self) -> str:
        """Hash of weights, tokenizer and settings: the key under which embeddings are cached."""

    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """One (L_i, dim) float32 tensor per text; a text that is too long is cut, and a warning says so."""

    def encode_count_truncated(self, texts: Sequence[str]) -> tuple[list[Tensor], int]:
        """As `encode`, and how many of the texts were cut."""

    def encode_one(self, text: str) -> tuple[Tensor, bool]:
        """The (L, dim) embedding of a text, and whether the text was truncated. Logs no warning."""


class TextEncoderBase(ABC):
    """Texts go through one by one, so the embedding of a text doesn't depend, to the last bit, on what else
    is encoded."""

    name: str
    dim: int
    max_tokens: int

    @property
    @abstractmethod
    def fingerprint(self) -> str: ...

    @abstractmethod
    def encode_one(self, text: str) -> tuple[Tensor, bool]:
        """A text's (L, dim) float32 on the CPU, and whether it was cut at max_tokens."""

    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """One (L_i, dim) tensor per text, marks of start and end included, on the CPU."""
        return self.encode_count_truncated(texts)[0]

    def encode_count_truncated(self, texts: Sequence[str]) -> tuple[list[Tensor], int]:
        """As `encode`, and how many of the texts were cut."""
        made = [self.encode_one(text) for text in texts]
        cut = sum(was_cut for _, was_cut in made)
        if cut:
            log.warning(
                "%s: %d of %d texts have more than %d tokens and were cut",
                self.name,
                cut,
                len(texts),
                self.max_tokens,
            )
        return [embedding for embedding, _ in made], cut


class JoinedTextEncoder(TextEncoderBase):
    """Several encoders as one: their tokens one after another, each encoder's in channels of its own and zero
    in the others'.

    So dim is the sum of the dims. A linear layer over such tokens is one linear layer per encoder, side by
    side; in shared channels, padded to the widest, channel 5 of one would have to mean what channel 5 of
    another means. A text counts as cut if any of them cut it: CLIP reads 77 tokens, and T5 has the rest.
    """

    def __init__(self, encoders: Sequence[TextEncoder]) -> None:
        self._encoders = tuple(encoders)
        self.name = "+".join(encoder.name for encoder in encoders)
        self.dim = sum(encoder.dim for encoder in encoders)
        self.max_tokens = min(encoder.max_tokens for encoder in encoders)

    @property
    def fingerprint(self) -> str:
        parts = " ".join(encoder.fingerprint for encoder in self._encoders)
        return hashlib.sha256(f"joined v1 {parts}".encode()).hexdigest()[:16]

    def encode_one(self, text: str) -> tuple[Tensor, bool]:
        made = [encoder.encode_one(text) for encoder in self._encoders]
        joined = torch.zeros(sum(len(part) for part, _ in made), self.dim)
        row = channel = 0
        for part, _ in made:
            joined[row : row + part.shape[0], channel : channel + part.shape[1]] = part
            row, channel = row + part.shape[0], channel + part.shape[1]
        return joined, any(cut for _, cut in made)


class CachedTextEncoder(TextEncoderBase):
    """An encoder that remembers the newest embeddings, by (fingerprint, text). Safe to share between threads.

    What it returns is what it keeps: not to be written into.

    Args:
        max_bytes: of embeddings kept; the one least lately asked for goes first.
    """

    def __init__(self, encoder: TextEncoder, max_bytes: int = CACHE_BYTES) -> None:
        self._encoder, self._max_bytes = encoder, max_bytes
        self._kept: OrderedDict[tuple[str, str], tuple[Tensor, bool]] = OrderedDict()
        self._bytes, self._lock = 0, Lock()
        self.name, self.dim, self.max_tokens = encoder.name, encoder.dim, encoder.max_tokens

    @property
    def fingerprint(self) -> str:
        return self._encoder.fingerprint

    def encode_one(self, text: str) -> tuple[Tensor, bool]:
        key = (self.fingerprint, text)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = self._encoder.encode_one(text)
        with self._lock:
            if key not in self._kept:  # else another thread was faster
                self._kept[key] = made
                self._bytes += made[0].nbytes
            while self._bytes > self._max_bytes:
                self._bytes -= self._kept.popitem(last=False)[1][0].nbytes
        return made
