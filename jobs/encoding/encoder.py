"""One encoder: turns the clips of a chunk into cached latents and text embeddings.

In: rows of the dataset's index. Out: a finished shard in the store, and which clips could not be read. Lives
in a Ray actor, or anywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from jobs.encoding.config import EncodeConfig
from jobs.encoding.plan import Chunk, captions
from jobs.encoding.texts import TextStore
from model.checkpoint.weights import load_vae
from model.flow.conditions import plan_pieces
from model.text.registry import CachedTextEncoder, text_encoder
from model.vae.pixels import encode_frames
from pipelines.batches.frames import ClipError, FrameReader
from pipelines.batches.shapes import fit_shape
from pipelines.batches.windows import plan_windows
from pipelines.dataset.latents import EncodedClip, write_failed_clips, write_shard
from pipelines.dataset.reader import open_dataset
from pipelines.precision import autocast
from pipelines.storage.open_store import open_store


@dataclass(frozen=True, slots=True)
class EncodeResult:
    """The result of a chunk: the clips that were written, the number of truncated captions, and by clip id
    why other clips could not be read.
    """

    written: Chunk | None
    num_truncated: int
    failed_clips: Mapping[str, str]


class ClipEncoder:
    """A VAE and a text encoder, loaded once.

    Args:
        cfg: with a precision that is decided: bf16 or fp32.
    """

    def __init__(self, cfg: EncodeConfig, vae: Path, fingerprint: str, text_fingerprint: str):
        device = torch.device("cuda" if cfg.gpu else "cpu")
        torch.set_num_threads(1)  # encoders stand side by side, one per core
        self._cfg, self._fingerprint, self._device = cfg, fingerprint, device
        self._vae = load_vae(vae, device)
        self._store = open_store(cfg.dataset)
        # short captions come again and again
        text = CachedTextEncoder(text_encoder(cfg.text_encoder, device=device))
        self._texts = TextStore(self._store, text, text_fingerprint)
        self._frames = FrameReader(open_dataset(cfg.dataset), cfg.shapes.fps, cache_bytes=1 << 28)

    def encode(self, chunk: Chunk) -> EncodeResult:
        """Encode and store what of a chunk can be read.

        Raises:
            RuntimeError: it can be read and not encoded, or not stored; names the clip or the shard, and the
            cause.
        """
        clips: dict[str, tuple] = {}
        unread: dict[str, str] = {}
        for row in chunk.rows:
            try:
                clips[row["clip_id"]] = self._clip(row)
            except ClipError as error:
                unread[row["clip_id"]] = str(error)
            except Exception as error:
                raise RuntimeError(f"clip {row['clip_id']} in shard {row['shard']}: {error}") from error
        made = chunk.select(clips)
        if not made.rows:
            return EncodeResult(None, 0, unread)
        try:
            cut = self._write(made, clips)
            if unread:
                write_failed_clips(self._store, self._fingerprint, chunk.id, list(unread))
        except Exception as error:
            raise RuntimeError(f"latent shard {made.bucket}/{made.id}: {error}") from error
        return EncodeResult(made, cut, unread)

    def _write(self, chunk: Chunk, clips: Mapping[str, tuple]) -> int:
        texts = {row["clip_id"]: captions(row) for row in chunk.rows}
        embedded = self._texts.embedded(text for one in texts.values() for text in one.values())
        encoded = [
            EncodedClip(
                clip_id,
                windows,
                pieces,
                {k: embedded[text].tokens for k, text in texts[clip_id].items()},
                facts,
            )
            for clip_id, (windows, pieces, facts) in clips.items()
        ]
        write_shard(self._store, self._fingerprint, chunk.bucket, chunk.id, encoded)
        return sum(embedded[text].truncated for one in texts.values() for text in one.values())

    @torch.no_grad()
    def _clip(self, row: Mapping[str, Any]) -> tuple[dict, dict, list[dict[str, Any]]]:
        """Latents of a clip's windows and of its pieces, and the rows of the windows."""
        shapes = self._cfg.shapes
        height, width = fit_shape(row["width"], row["height"], shapes.max_pixels, shapes.multiple)
        stride = self._vae.cfg.stride_time
        windows, pieces, facts = {}, {}, []
        for window in plan_windows(row["end_s"] - row["start_s"], shapes, self._cfg.windows):
            first = round(window.start_s * shapes.fps)
            pixels = self._frames.window(row, first, window.num_frames, height, width)
            with autocast(self._device.type, self._cfg.precision):
                z = windows[window.index] = encode_frames(self._vae, pixels).numpy()
                for start, length in plan_pieces(
                    window.num_frames, self._cfg.pieces.tails, self._cfg.pieces.keyframes, stride
                ):
                    if (first + start, length) not in pieces:  # windows that overlap share them
                        alone = encode_frames(self._vae, pixels[start : start + length])
                        pieces[first + start, length] = alone.numpy()
            facts.append(
                {
                    "clip_id": row["clip_id"], "window": window.index, "split": window.split,
                    "start_s": window.start_s,
                    "num_frames": window.num_frames, "fps": shapes.fps, "height": height, "width": width,
                    "latent_frames": z.shape[1], "latent_height": z.shape[2], "latent_width": z.shape[3],
                }
            )  # fmt: skip
        return windows, pieces, facts
