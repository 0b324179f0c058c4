"""One encoder: turns the clips of a shard into cached latents and text embeddings.

In: rows of the dataset's index. Out: a finished shard in the store. Lives in a Ray actor, or anywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from jobs.encoding.config import EncodeConfig
from jobs.encoding.texts import Embedded, TextStore
from model.conditions import plan_stretches
from model.pixels import encode_frames
from model.text import CachedTextEncoder, text_encoder
from model.weights import load_vae
from pipelines.batches.frames import FrameReader
from pipelines.batches.shapes import fit_shape
from pipelines.batches.windows import plan_windows
from pipelines.dataset import open_dataset
from pipelines.latents import EncodedClip, write_shard
from pipelines.store import open_store

CAPTION_KINDS = {"short": "caption_short", "dense": "caption_dense", "source": "source_text"}


class Encoder:
    """A VAE and a text encoder, loaded once."""

    def __init__(self, cfg: EncodeConfig, vae: Path, fingerprint: str, text_fingerprint: str):
        device = torch.device("cuda" if cfg.gpu else "cpu")
        torch.set_num_threads(1)  # encoders stand side by side, one per core
        self._cfg, self._fingerprint, self._device = cfg, fingerprint, device
        self._vae = load_vae(vae, device)
        self._store = open_store(cfg.dataset)
        text = CachedTextEncoder(text_encoder(cfg.text_encoder, device=device))  # short captions come again and again
        self._texts = TextStore(self._store, text, text_fingerprint)
        self._frames = FrameReader(open_dataset(cfg.dataset), cfg.shapes.fps, cache_bytes=1 << 28)

    def encode(self, bucket: str, shard: str, rows: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
        """Encode and store a shard; returns its id, since results come in any order, and how many captions were cut short."""
        captions = [_captions(row) for row in rows]
        embedded = self._texts.embedded(text for texts in captions for text in texts.values())
        clips = [
            self._clip(row, {kind: embedded[text] for kind, text in texts.items()})
            for row, texts in zip(rows, captions, strict=True)
        ]
        write_shard(self._store, self._fingerprint, bucket, shard, clips)
        return shard, sum(embedded[text].cut for texts in captions for text in texts.values())

    @torch.no_grad()
    def _clip(self, row: Mapping[str, Any], texts: Mapping[str, Embedded]) -> EncodedClip:
        shapes = self._cfg.shapes
        height, width = fit_shape(row["width"], row["height"], shapes.max_pixels, shapes.multiple)
        stride = self._vae.cfg.stride_time
        windows, pieces, facts = {}, {}, []
        for window in plan_windows(row["end_s"] - row["start_s"], shapes, self._cfg.windows):
            first = round(window.start_s * shapes.fps)
            pixels = self._frames.window(row, first, window.num_frames, height, width)
            z = windows[window.index] = encode_frames(self._vae, pixels).numpy()
            for start, length in plan_stretches(
                window.num_frames, self._cfg.pieces.tails, self._cfg.pieces.keyframes, stride
            ):
                if (first + start, length) not in pieces:  # windows that overlap share them
                    alone = encode_frames(self._vae, pixels[start : start + length])
                    pieces[first + start, length] = alone.numpy()
            facts.append(
                {
                    "clip_id": row["clip_id"], "window": window.index, "split": window.split, "start_s": window.start_s,
                    "num_frames": window.num_frames, "fps": shapes.fps, "height": height, "width": width,
                    "latent_frames": z.shape[1], "latent_height": z.shape[2], "latent_width": z.shape[3],
                }
            )  # fmt: skip
        return EncodedClip(row["clip_id"], windows, pieces, {kind: e.tokens for kind, e in texts.items()}, facts)


def _captions(row: Mapping[str, Any]) -> dict[str, str]:
    """A clip's texts by kind, those that it has."""
    return {kind: row[column] for kind, column in CAPTION_KINDS.items() if row.get(column)}
