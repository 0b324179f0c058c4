"""Text embeddings of a shard's clips, kept under a name of their own: a new VAE doesn't have a million
captions encoded again.

    texts/<text encoder's fingerprint>/<hash of the texts>.safetensors

In: texts. Out: their embeddings and whether they were cut, from the store if they are there. An object holds
the different texts of one shard, sorted; its name depends on them and on the text encoder alone, not on VAE,
shapes or windows. No manifest names it: what is missing is made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from model.text.registry import TextEncoder
from pipelines.ids import canonical_json, hash_text
from pipelines.storage.base import Store

ROOT = "texts"


@dataclass(frozen=True, slots=True)
class TextEmbedding:
    """A text's embedding (L, E) float16, as latents store it, and whether the text was cut."""

    tokens: np.ndarray
    truncated: bool


class TextStore:
    """Embeddings of one text encoder in a dataset.

    Args:
        fingerprint: that the encoder must have. It is looked at when something is encoded, not before: that
        reads its weights.
    """

    def __init__(self, store: Store, encoder: TextEncoder, fingerprint: str) -> None:
        self._store, self._encoder, self._fingerprint = store, encoder, fingerprint

    def embedded(self, texts: Iterable[str]) -> Mapping[str, TextEmbedding]:
        """Embeddings by text; made and kept if the store doesn't have these texts.

        Raises:
            ValueError: the encoder has another fingerprint, or makes numbers that float16 can't hold.
        """
        ordered = sorted(set(texts))
        if not ordered:
            return {}
        key = texts_key(self._fingerprint, ordered)
        if self._store.exists(key):
            return _unpack(ordered, self._store.read(key))
        made = self._made(ordered)
        self._store.put_new(key, _pack(ordered, made))
        return made

    def _made(self, texts: list[str]) -> Mapping[str, TextEmbedding]:
        if self._encoder.fingerprint != self._fingerprint:
            raise ValueError(
                f"text encoder '{self._encoder.name}' has other weights on this worker "
                f"({self._encoder.fingerprint}) than where the job was started ({self._fingerprint}); give "
                "all machines the same"
            )
        made = {}
        for text in texts:
            tokens, cut = self._encoder.encode_one(text)
            half = tokens.numpy().astype(np.float16)
            if not np.isfinite(half).all():
                raise ValueError(
                    f"text encoder '{self._encoder.name}' gives numbers up to {tokens.abs().max():.3g}, "
                    "which float16 can't hold; choose a layer whose states are normalised: the last, which "
                    "is taken without @layer"
                )
            made[text] = TextEmbedding(half, cut)
        return made


def texts_key(fingerprint: str, texts: list[str]) -> str:
    """Where the embeddings of some texts lie in the dataset.

    Args:
        fingerprint: of the text encoder.
        texts: each once, sorted.
    """
    return f"{ROOT}/{fingerprint}/{hash_text(canonical_json(texts))}.safetensors"


def _pack(texts: list[str], made: Mapping[str, TextEmbedding]) -> bytes:
    from safetensors.numpy import save

    rows = [made[text] for text in texts]
    return save(
        {
            "tokens": np.concatenate([row.tokens for row in rows]),
            "lengths": np.array([len(row.tokens) for row in rows], np.int64),
            "cut": np.array([row.truncated for row in rows], np.uint8),
        }
    )


def _unpack(texts: list[str], data: bytes) -> Mapping[str, TextEmbedding]:
    from safetensors.numpy import load

    kept = load(data)
    assert len(kept["lengths"]) == len(texts), "the name is a hash of the texts"
    pieces = np.split(kept["tokens"], np.cumsum(kept["lengths"])[:-1])
    return {
        text: TextEmbedding(tokens, bool(cut))
        for text, tokens, cut in zip(texts, pieces, kept["cut"], strict=True)
    }
