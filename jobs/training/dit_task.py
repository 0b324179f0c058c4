"""Training of the DiT on cached latents: rectified flow, text drawn among a clip's captions and sometimes dropped.

In: a dataset's latents. Out: the loss of a micro-batch, the held-out loss at fixed times, pictures sampled from captions, an exported
checkpoint that generates on its own: DiT, VAE, and the name of the text encoder.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from jobs.training.config import TrainConfig
from jobs.training.names import PIPELINE
from jobs.training.vae_task import to_pixels
from model.conditions import drop_text
from model.config import dit_config
from model.dit import DiT
from model.flow import (
    add_noise,
    flow_loss,
    sample_times,
    segment_means,
    shift_times,
    token_errors,
    token_weights,
    velocity,
)
from model.sampler import sample
from model.tokens import Sample, pack, patchify, token_count
from model.weights import load_vae, save_weights, vae_files
from pipelines.batches.planner import Item, MicroBatch, draw_key
from pipelines.batches.windows import HELD_OUT
from pipelines.latents import ROOT, open_latents
from pipelines.store import open_store

_HELD_OUT_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)  # before the shift
_PICTURED_CLIPS = 4


class Draw(NamedTuple):
    """One sample of a step, with all that is random about it."""

    x0_CTHW: Tensor
    noise_CTHW: Tensor
    text_LE: Tensor
    t: float  # before the shift
    fps: float


class DitTask:
    """See `jobs.training.task.Task`."""

    def __init__(self, cfg: TrainConfig):
        self.cfg = cfg
        self._store = open_store(cfg.dataset)
        self.latents = open_latents(self._store, cfg.latents)
        facts = self.latents.manifest
        self.config = dit_config(
            cfg.size, **{"latent_channels": facts["latent_channels"], "text_dim": facts["text_dim"], **cfg.model}
        )
        self.stride_time = facts["stride_time"]

    def build(self) -> DiT:
        return DiT(self.config, seed=draw_key(self.cfg.seed, "weights"))

    def _items(self, held_out: bool) -> list[Item]:
        items = []
        for (clip_id, window), row in sorted(self.latents.rows.items()):
            if (row.split == HELD_OUT) != held_out:
                continue
            latent = (self.config.latent_channels, row.latent_frames, row.latent_height, row.latent_width)
            shape, tokens = (row.num_frames, row.height, row.width), token_count(latent, self.config.patch)
            items.append(Item(clip_id, window, 0, shape, tokens))
        return items

    def items(self) -> Sequence[Item]:
        items = self._items(held_out=False)
        if self.cfg.overfit is not None:
            windows = sorted({(i.clip_id, i.window) for i in items})[: self.cfg.overfit]
            items = [i for i in items if (i.clip_id, i.window) in windows]
        return items

    def held_out(self) -> Sequence[Item]:
        if self.cfg.overfit is not None:  # whether it can learn these by heart is all that is asked
            return self.items()
        return self._items(held_out=True)

    def _text(self, item: Item, key: int) -> Tensor:
        """One of the clip's captions, drawn by the configured weights among those it has."""
        texts = self.latents.texts(item.clip_id, item.window)
        kinds = sorted(kind for kind in texts if self.cfg.captions.get(kind, 0) > 0)
        if not kinds:
            raise ValueError(
                f"clip {item.clip_id} has captions {sorted(texts)}, and captions={dict(self.cfg.captions)} wants none of them"
            )
        chosen = random.Random(key).choices(kinds, [self.cfg.captions[k] for k in kinds])[0]
        return torch.from_numpy(texts[chosen]).float()

    def _latents(self, item: Item) -> Tensor:
        return torch.from_numpy(self.latents.window(item.clip_id, item.window)).float()

    def load(self, batch: MicroBatch, epoch: int) -> list[Draw]:
        """Noise, time and text are keyed by the sample alone, so a batch can be made again anywhere."""
        loaded = []
        for item in batch.items:
            key = draw_key(self.cfg.seed, epoch, item.clip_id, item.window, item.draw)
            generator = torch.Generator().manual_seed(key)
            t = float(sample_times(1, self.cfg.flow, generator)[0])
            text = drop_text(self._text(item, key), self.config.text_drop, generator)
            x0 = self._latents(item)
            noise = torch.randn(x0.shape, generator=generator)
            loaded.append(Draw(x0, noise, text, t, self.latents.rows[item.clip_id, item.window].fps))
        return loaded

    def _velocities(self, network: Any, draws: Sequence[Draw], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Predicted and true velocity of each token, (N, D) each, and its segment (N,)."""
        t_S = shift_times(
            torch.tensor([d.t for d in draws]), [d.x0_CTHW.shape for d in draws], self.config.patch, self.cfg.flow
        )
        noisy = [
            Sample(add_noise(d.x0_CTHW, d.noise_CTHW, t), d.fps, d.text_LE) for d, t in zip(draws, t_S, strict=True)
        ]
        packed = pack(noisy, self.config.patch, self.stride_time).to(device)
        v_ND = torch.cat([patchify(velocity(d.x0_CTHW, d.noise_CTHW), self.config.patch) for d in draws]).to(device)
        return network(**packed.inputs(t_S.to(device))), v_ND, packed.segment_N

    def loss(
        self, network: Any, loaded: Sequence[Draw], device: torch.device, step: int
    ) -> tuple[Tensor, Mapping[str, float]]:
        predicted_ND, v_ND, segment_N = self._velocities(network, loaded, device)
        return flow_loss(predicted_ND, v_ND, token_weights(segment_N), total=1.0), {}

    def validate(self, network: nn.Module, item: Item, device: torch.device) -> Mapping[str, tuple[float, float]]:
        """The loss at fixed times with fixed noise, overall, per time and per shape."""
        x0, fps = self._latents(item), self.latents.rows[item.clip_id, item.window].fps
        generator = torch.Generator().manual_seed(draw_key(self.cfg.seed, "held out", item.clip_id, item.window))
        noise = torch.randn(x0.shape, generator=generator)
        texts = self.latents.texts(item.clip_id, item.window)
        text = torch.from_numpy(texts["short" if "short" in texts else sorted(texts)[0]]).float()
        draws = [Draw(x0, noise, text, t, fps) for t in _HELD_OUT_TIMES]
        predicted_ND, v_ND, segment_N = self._velocities(network, draws, device)
        losses = segment_means(token_errors(predicted_ND, v_ND), segment_N).tolist()
        frames, height, width = item.shape
        figures = {
            "loss": (sum(losses), float(len(losses))),
            f"loss_{width}x{height}x{frames}": (sum(losses), float(len(losses))),
        }
        return figures | {f"loss_t{t}": (loss, 1.0) for t, loss in zip(_HELD_OUT_TIMES, losses, strict=True)}

    def pictures(self, network: nn.Module, device: torch.device) -> Mapping[str, np.ndarray]:
        """Frames sampled from the short captions of a few clips, above the frames they were trained on."""
        vae = load_vae(self._vae_folder(), device)
        first = {item.clip_id: item for item in reversed(self.items())}
        pictures = {}
        for clip_id, item in sorted(first.items())[:_PICTURED_CLIPS]:
            x0 = self._latents(item)
            fps = self.latents.rows[item.clip_id, item.window].fps
            made = sample(
                network,
                [tuple(x0.shape)],
                [self._text(item, 0)],
                self.cfg.sample,
                self.cfg.flow,
                [0],
                fps,
                self.stride_time,
            )[0]
            rows = [to_pixels(vae.decode_latents(z[None].to(device), item.shape[1:]))[0] for z in (made, x0)]
            chosen = sorted({0, item.shape[0] // 2, item.shape[0] - 1})
            pictures[f"made_above_trained/{clip_id}"] = np.concatenate(
                [np.concatenate([v[i] for i in chosen], axis=1) for v in rows]
            )
        return pictures

    def _vae_folder(self) -> Path:
        """The VAE that made the latents, as a local folder."""
        folder = Path(self.cfg.out) / ".vae"
        folder.mkdir(parents=True, exist_ok=True)
        self._copy_of_vae("config.json", folder)  # it tells whose weights are beside it
        for name in vae_files(folder):
            self._copy_of_vae(name, folder)
        return folder

    def _copy_of_vae(self, name: str, folder: Path) -> None:
        if not (folder / name).exists():
            (folder / name).write_bytes(self._store.read(f"{ROOT}/{self.latents.fingerprint}/vae/{name}"))

    def export(self, weights: Mapping[str, Tensor], folder: Path, facts: Mapping[str, Any]) -> None:
        save_weights(folder / "dit", weights, self.config, "dit", extra=dict(facts))
        shutil.copytree(self._vae_folder(), folder / "vae", dirs_exist_ok=True)
        keys = ("text_encoder", "text_encoder_fingerprint", "fps", "max_frames", "max_pixels", "multiple")
        pipeline = {key: self.latents.manifest[key] for key in keys} | {
            "format_version": 1,
            "flow": vars(self.cfg.flow),
            "sample": vars(self.cfg.sample),
            "latents": self.latents.fingerprint,
        }
        (folder / PIPELINE).write_text(json.dumps(pipeline, indent=2, sort_keys=True) + "\n")
