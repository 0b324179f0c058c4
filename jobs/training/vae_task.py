"""Training of the VAE: random stretches and crops of the clips, and single frames, for L1 + perceptual
distance + KL, and against a discriminator.

In: a dataset. Out: the loss of a micro-batch, held-out PSNR on whole frames, reconstructions beside
originals, exported weights with the mean and standard deviation of their latents.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from jobs.training.cards import data_facts
from jobs.training.config import TrainVaeConfig
from jobs.training.perceptual import Distance, perceptual_distance
from model.checkpoint.card import FILE as CARD
from model.checkpoint.card import VAEFacts, vae_card
from model.checkpoint.weights import save_weights
from model.config import vae_config
from model.vae.discriminator import Discriminator
from model.vae.loss import psnr_db, vae_loss
from model.vae.network import VAE, latent_stats
from model.vae.pixels import to_tensor, to_uint8
from model.vae.training import LossWeights, VAETraining
from pipelines.batches.frames import CLIP_COLUMNS, ClipError, FrameReader
from pipelines.batches.planner import Item, MicroBatch, draw_key
from pipelines.batches.shapes import fit_shape
from pipelines.batches.windows import HELD_OUT, Window, plan_windows, time_blocks
from pipelines.dataset.reader import open_dataset
from pipelines.durable import write_text
from pipelines.even_sample import even_sample

logger = logging.getLogger(__name__)
T = TypeVar("T")

_PICTURED_CLIPS = 4
_MEASURED_WINDOWS = 64  # for the mean and deviation of latents: each window has thousands of every channel
_DECIBELS = 10.0 / np.log(10.0)


class VaeTask:
    """See `jobs.training.task.Task`."""

    def __init__(self, cfg: TrainVaeConfig):
        self.cfg = cfg
        self.config = vae_config(cfg.size, **cfg.model)
        self._perceptual: Distance | None = None
        dataset = open_dataset(cfg.dataset)
        self._rows = {row["clip_id"]: row for row in dataset.kept([*CLIP_COLUMNS, "width", "height"])}
        self._frames = FrameReader(dataset, cfg.shapes.fps)
        self.failed_clips: dict[str, str] = {}
        self._windows: dict[str, list[Window]] = {
            clip_id: plan_windows(row["end_s"] - row["start_s"], cfg.shapes, cfg.windows)
            for clip_id, row in self._rows.items()
        }

    def build(self) -> VAETraining:
        vae, game = VAE(self.config, seed=draw_key(self.cfg.seed, "weights")), self.cfg.adversarial
        if not game.weight or game.start_step >= self.cfg.max_steps:
            return VAETraining(vae)
        return VAETraining(
            vae, Discriminator(game.channels, game.layers, seed=draw_key(self.cfg.seed, "discriminator"))
        )

    def _shape(self, clip_id: str) -> tuple[int, int]:
        row = self._rows[clip_id]
        return fit_shape(row["width"], row["height"], self.cfg.shapes.max_pixels, self.cfg.shapes.multiple)

    def _tokens(self, frames: int, height: int, width: int) -> int:
        """Cost of a convolution is in its pixels; counted in latents, as the DiT's budget is."""
        return (
            ((frames - 1) // self.config.stride_time + 1)
            * -(-height // self.config.stride_space)
            * -(-width // self.config.stride_space)
        )

    def items(self) -> Sequence[Item]:
        items = []
        for clip_id, windows in self._windows.items():
            height, width = self._shape(clip_id)
            for window in windows:
                if window.split == HELD_OUT:
                    continue
                rng = random.Random(draw_key(self.cfg.seed, "length", clip_id, window.index))
                # all lengths, or the lengths never seen come out blurred
                image = rng.random() < self.cfg.image_share or window.num_frames == 1
                frames = 1 if image else rng.choice(range(5, window.num_frames + 1, 4))
                shape = (frames, *self._cropped(height, width, rng))
                items.append(Item(clip_id, window.index, 0, shape, self._tokens(*shape)))
        return items

    def _cropped(self, height: int, width: int, rng: random.Random) -> tuple[int, int]:
        """Height and width of a crop of one of the aspects, on the grid of the latents, as far as the frame
        goes."""
        if self.cfg.crop is None:
            return height, width
        root, stride = math.sqrt(rng.choice(self.cfg.crop_aspects)), self.config.stride_space
        tall, wide = (max(1, round(self.cfg.crop * side / stride)) * stride for side in (1 / root, root))
        return min(height, tall), min(width, wide)

    def held_out(self) -> Sequence[Item]:
        return [
            Item(
                clip_id,
                w.index,
                0,
                (w.num_frames, *self._shape(clip_id)),
                self._tokens(w.num_frames, *self._shape(clip_id)),
            )
            for clip_id, windows in self._windows.items()
            for w in windows
            if w.split == HELD_OUT
        ]

    def _crop(self, item: Item, epoch: int) -> np.ndarray:
        """A random stretch of the clip's trained block, randomly cropped and mirrored; uint8 (T, H, W, 3)."""
        row = self._rows[item.clip_id]
        frames, height, width = item.shape
        full_height, full_width = self._shape(item.clip_id)
        rng = random.Random(draw_key(self.cfg.seed, epoch, item.clip_id, item.window, item.draw, "crop"))
        trained, _ = time_blocks(row["end_s"] - row["start_s"], self.cfg.shapes.fps, self.cfg.windows)
        first = rng.randint(0, trained - frames)
        top, left = rng.randint(0, full_height - height), rng.randint(0, full_width - width)
        pixels = self._frames.window(row, first, frames, full_height, full_width)[
            :, top : top + height, left : left + width
        ]
        return pixels[:, :, ::-1] if rng.random() < 0.5 else pixels

    def load(self, batch: MicroBatch, epoch: int) -> tuple[MicroBatch, tuple[Tensor, int]]:
        crops = {
            item: crop
            for item in batch.items
            if (crop := self._readable(item, self._crop, epoch)) is not None
        }
        frames = np.stack(list(crops.values()) or [np.zeros((*batch.shape, 3), np.uint8)])
        readable = replace(batch, items=tuple(crops))
        return readable, (to_tensor(frames), draw_key(self.cfg.seed, epoch, batch.items, "posterior"))

    def _readable(self, item: Item, read: Callable[..., T], *args: Any) -> T | None:
        """What is read of a clip; None if it can't be, which is noted."""
        try:
            return read(item, *args)
        except ClipError as error:
            if item.clip_id not in self.failed_clips:
                logger.warning("left out: %s", error)
            self.failed_clips[item.clip_id] = str(error)
            return None

    def loss(
        self, network: Any, loaded: tuple[Tensor, int], device: torch.device, step: int
    ) -> tuple[Tensor, Mapping[str, float]]:
        x_BCTHW, key = loaded[0].to(device), loaded[1]
        loss, parts = network(
            x_BCTHW, torch.Generator(device).manual_seed(key), self._weights(key, x_BCTHW, step)
        )
        count = len(x_BCTHW)
        return loss * count, {name: float(value) * count for name, value in parts.items()}

    def _weights(self, key: int, x_BCTHW: Tensor, step: int) -> LossWeights:
        """What counts at a step; the perceptual network looks at some frames of a sample, drawn anew each
        time."""
        game, look = self.cfg.adversarial, self.cfg.perceptual
        playing = game.weight if step >= game.start_step else 0.0
        weights = LossWeights(self.cfg.kl_weight, adversarial=playing, softness=self.cfg.l1_softness)
        if not look.weight:
            return weights
        if self._perceptual is None:
            self._perceptual = perceptual_distance(look.name, look.weights)
        distance = self._perceptual
        frames = x_BCTHW.shape[2]
        seen = sorted(random.Random(key).sample(range(frames), min(frames, look.frames)))

        def perceptual(x: Tensor, y: Tensor) -> Tensor:
            return distance(x[:, :, seen], y[:, :, seen])

        return replace(weights, perceptual=perceptual, perceptual_weight=look.weight)

    def start_s(self, item: Item) -> float:
        """Where a window starts in its clip, seconds."""
        return self._windows[item.clip_id][item.window].start_s

    def held_out_pixels(self, item: Item) -> Tensor:
        """A held-out window's whole frames, (1, 3, T, H, W) in [-1, 1]."""
        window = self._windows[item.clip_id][item.window]
        frames, height, width = item.shape
        first = round(window.start_s * self.cfg.shapes.fps)
        return to_tensor(self._frames.window(self._rows[item.clip_id], first, frames, height, width)[None])

    def validate(
        self, network: VAETraining, item: Item, device: torch.device
    ) -> Mapping[str, tuple[float, float]]:
        pixels = self._readable(item, self.held_out_pixels)
        if pixels is None:
            return {}
        x = pixels.to(device)
        posterior = network.vae.encode(x)
        recon = network.vae.decode(posterior.mean, size=(x.shape[-2], x.shape[-1]))
        loss, _ = vae_loss(x, posterior, recon, self.cfg.kl_weight)
        return {"loss": (float(loss), 1.0), "psnr_db": (float(psnr_db(x, recon)[0]), 1.0)}

    def sample_images(self, network: VAETraining, device: torch.device) -> Mapping[str, np.ndarray]:
        """Held-out originals above their reconstructions, the first, middle and last frame of a window."""
        pictures: dict[str, np.ndarray] = {}
        shown: set[str] = set()
        for item in self.held_out():
            if item.clip_id in shown or len(shown) == _PICTURED_CLIPS:
                continue
            shown.add(item.clip_id)
            pixels = self._readable(item, self.held_out_pixels)
            if pixels is None:
                continue
            x = pixels.to(device)
            recon = network.vae.decode(network.vae.encode(x).mean, size=(x.shape[-2], x.shape[-1]))
            original, made = to_uint8(x)[0], to_uint8(recon)[0]
            chosen = sorted({0, len(original) // 2, len(original) - 1})
            pictures[f"held_out/{item.clip_id}"] = np.concatenate(
                [np.concatenate([v[i] for i in chosen], axis=1) for v in (original, made)]
            )
        return pictures

    def latent_stats_windows(self) -> list[tuple[str, Window]]:
        """The trained windows whose latents' mean and deviation are measured, with their clips' ids."""
        trained = [
            (clip_id, window)
            for clip_id, windows in self._windows.items()
            for window in windows
            if window.split != HELD_OUT
        ]
        return even_sample(trained, _MEASURED_WINDOWS)

    def _means(self, vae: VAE) -> Iterator[Tensor]:
        with torch.no_grad():
            for clip_id, window in self.latent_stats_windows():
                first = round(window.start_s * self.cfg.shapes.fps)
                try:
                    pixels = self._frames.window(
                        self._rows[clip_id], first, window.num_frames, *self._shape(clip_id)
                    )
                except ClipError as error:
                    logger.warning("left out of the latents' mean and deviation: %s", error)
                    continue
                yield vae.encode(to_tensor(pixels[None])).mean

    def export(self, weights: Mapping[str, Tensor], folder: Path, facts: Mapping[str, Any]) -> None:
        both = self.build()
        both.load_state_dict({**both.state_dict(), **weights})
        vae = both.vae.eval()
        vae.set_latent_stats(*latent_stats(self._means(vae)))
        save_weights(folder / "vae", vae.state_dict(), self.config, "vae", extra=dict(facts))
        told = VAEFacts(
            config=self.config,
            parameters=sum(p.numel() for p in vae.parameters()),
            steps=facts["steps"],
            data=data_facts(
                self.items(),
                self.held_out(),
                self.cfg.shapes.fps,
                self.cfg.shapes.max_frames,
                self.cfg.shapes.max_pixels,
                {},
            ),
            losses={
                "perceptual": self.cfg.perceptual.weight,
                "kl": self.cfg.kl_weight,
                "adversarial": self.cfg.adversarial.weight,
            },
            precision=self.cfg.precision,
        )
        write_text(folder / "vae" / CARD, vae_card(told, self.cfg.license))
