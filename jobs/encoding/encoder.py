"""One encoder: turns the clips of a shard into cached latents and text embeddings.

In: rows of the dataset's index. Out: a finished shard in the store. Lives in a Ray actor, or anywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from jobs.encoding.config import EncodeConfig
from jobs.training.vae_task import to_network
from model.text import text_encoder
from model.vae import VAE
from model.vae_tiles import encode_tiled
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

    def __init__(self, cfg: EncodeConfig, vae: Path, fingerprint: str):
        device = torch.device("cuda" if cfg.gpu else "cpu")
        torch.set_num_threads(1)  # encoders stand side by side, one per core
        self._cfg, self._fingerprint, self._device = cfg, fingerprint, device
        self._vae = load_vae(vae, device)
        self._text = text_encoder(cfg.text_encoder, device=device)
        self._store = open_store(cfg.dataset)
        self._frames = FrameReader(open_dataset(cfg.dataset), cfg.shapes.fps, cache_bytes=1 << 28)

    def encode(self, bucket: str, shard: str, rows: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
        """Encode and store a shard; returns its id, since results come in any order, and how many captions were cut short."""
        clips, cut = [], 0
        for row in rows:
            clip, clip_cut = self._clip(row)
            clips.append(clip)
            cut += clip_cut
        write_shard(self._store, self._fingerprint, bucket, shard, clips)
        return shard, cut

    @torch.no_grad()
    def _clip(self, row: Mapping[str, Any]) -> tuple[EncodedClip, int]:
        shapes = self._cfg.shapes
        height, width = fit_shape(row["width"], row["height"], shapes.max_pixels, shapes.multiple)
        windows, facts = {}, []
        for window in plan_windows(row["end_s"] - row["start_s"], shapes, self._cfg.windows):
            first = round(window.start_s * shapes.fps)
            pixels = self._frames.window(row, first, window.num_frames, height, width)
            video = to_network(pixels[None])
            # What others published has attention or statistics over space: its tiles would not give what the whole gives.
            ours = isinstance(self._vae, VAE)
            posterior = encode_tiled(self._vae, video) if ours else self._vae.encode(video.to(self._device))
            mean = posterior.mean.to(self._device)
            z = self._vae.normalise(mean)[0].cpu().numpy()
            windows[window.index] = z
            facts.append(
                {
                    "clip_id": row["clip_id"], "window": window.index, "split": window.split, "start_s": window.start_s,
                    "num_frames": window.num_frames, "fps": shapes.fps, "height": height, "width": width,
                    "latent_frames": z.shape[1], "latent_height": z.shape[2], "latent_width": z.shape[3],
                }
            )  # fmt: skip
        texts = {kind: row[column] for kind, column in CAPTION_KINDS.items() if row.get(column)}
        embedded, cut = self._text.encode_counted(list(texts.values()))
        return EncodedClip(
            row["clip_id"], windows, {k: e.numpy() for k, e in zip(texts, embedded, strict=True)}, facts
        ), cut
