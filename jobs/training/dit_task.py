"""Training of the DiT on cached latents: rectified flow, text drawn among a clip's captions and sometimes
dropped, and of the video itself what the drawn task gives.

In: a dataset's latents. Out: the loss of a micro-batch, the held-out loss at fixed times, pictures sampled
from captions, an exported checkpoint that generates on its own: DiT, VAE, and the name of the text encoder.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from jobs.training.cards import data_facts
from jobs.training.config import TrainConfig
from jobs.training.exports import LORA, PIPELINE
from jobs.training.initial_weights import build_network, network_config
from model.checkpoint import card
from model.checkpoint.lora import lora_parameters, merge_lora, save_lora
from model.checkpoint.weights import load_vae, save_weights, vae_files
from model.dit.attention_kernels import set_attention_kernel
from model.dit.compiled import compile_phases
from model.dit.network import DiT
from model.dit.tokens import PackedBatch, Piece, Sample, pack, patchify, shape_of, token_count
from model.flow.conditions import ConditionPlan, FrameRange, draw_condition_plan, drop_text, plan_pieces
from model.flow.path import (
    add_noise,
    flow_loss,
    sample_times,
    segment_means,
    shift_times,
    token_errors,
    token_weights,
    velocity,
)
from model.flow.sampler import VideoRequest, sample
from model.vae.pixels import to_uint8
from pipelines.batches.planner import Item, MicroBatch, draw_key
from pipelines.batches.windows import HELD_OUT
from pipelines.dataset.latents import ROOT, open_latents
from pipelines.durable import atomic_write, write_bytes, write_text
from pipelines.storage.open_store import open_store

_HELD_OUT_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)  # before the shift
_PICTURED_CLIPS = 4


class TrainingSample(NamedTuple):
    """One sample of a step, with all that is random about it."""

    x0_CTHW: Tensor
    noise_CTHW: Tensor
    text_LE: Tensor
    t_T: Tensor  # of each latent frame, before the shift: one time for all, but for independent times
    fps: float
    plan: ConditionPlan = ConditionPlan()
    pieces: tuple[Piece, ...] = ()


class DitTask:
    """See `jobs.training.task.Task`."""

    def __init__(self, cfg: TrainConfig):
        self.cfg = cfg
        self._store = open_store(cfg.dataset)
        self.latents = open_latents(self._store, cfg.latents)
        facts = self.latents.manifest
        self.config = network_config(cfg, facts)
        self.stride_time = facts["stride_time"]
        self.failed_clips: dict[str, str] = {}  # what can't be read has no latents

    def build(self) -> DiT:
        set_attention_kernel(self.cfg.attention)
        network = build_network(self.cfg, self.config)
        network.recompute = self.cfg.recompute
        return compile_phases(network) if self.cfg.compile else network

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
        """One of the clip's captions, drawn by the configured weights among those it has; without any, no
        token, as where text is dropped.
        """
        texts = self.latents.texts(item.clip_id, item.window)
        kinds = sorted(kind for kind in texts if self.cfg.captions.get(kind, 0) > 0)
        if not kinds:
            return torch.zeros(0, self.config.text_dim)
        chosen = random.Random(key).choices(kinds, [self.cfg.captions[k] for k in kinds])[0]
        return torch.from_numpy(texts[chosen]).float()

    def _latents(self, item: Item) -> Tensor:
        return torch.from_numpy(self.latents.window(item.clip_id, item.window)).float()

    def load(self, batch: MicroBatch, epoch: int) -> tuple[MicroBatch, list[TrainingSample]]:
        """Noise, time and text are keyed by the sample alone, so a batch can be made again anywhere."""
        loaded = []
        for item in batch.items:
            key = draw_key(self.cfg.seed, epoch, item.clip_id, item.window, item.draw)
            generator = torch.Generator().manual_seed(key)
            x0 = self._latents(item)
            times_T = sample_times(x0.shape[1], self.cfg.flow, generator)
            text = drop_text(self._text(item, key), self.config.text_drop, generator)
            plan = draw_condition_plan(
                x0.shape[1], self._stretches(item), self.cfg.conditions, generator, self.stride_time
            )
            t_T = times_T if plan.independent else times_T[:1].expand(x0.shape[1])
            noise = torch.randn(x0.shape, generator=generator)
            fps, pieces = self._fps(item), self._pieces(item, plan, generator)
            loaded.append(TrainingSample(x0, noise, text, t_T, fps, plan, pieces))
        return batch, loaded

    def _stretches(self, item: Item) -> list[FrameRange]:
        """Which stretches of a window were encoded alone."""
        pieces = self.latents.manifest["pieces"]
        return plan_pieces(item.shape[0], pieces["tails"], pieces["keyframes"], self.stride_time)

    def _fps(self, item: Item) -> float:
        return self.latents.rows[item.clip_id, item.window].fps

    def _pieces(self, item: Item, plan: ConditionPlan, generator: torch.Generator) -> tuple[Piece, ...]:
        """What a plan gives beside a window, read from where it was encoded alone."""
        fps, pieces = self._fps(item), []
        for first, length in plan.pieces:
            z = torch.from_numpy(self.latents.piece(item.clip_id, item.window, first, length)).float()
            z = add_noise(z, torch.randn(z.shape, generator=generator), plan.known_t)
            pieces.append(Piece(z, first / fps))
        return tuple(pieces)

    def _velocities(
        self, network: Any, draws: Sequence[TrainingSample], device: torch.device
    ) -> tuple[Tensor, Tensor, PackedBatch]:
        """Predicted and true velocity of each token, (N, D) each, and the batch. Nothing is true of pieces:
        theirs is 0."""
        noisy, frame_times, targets = [], [], []
        for draw in draws:
            t_T = shift_times(
                draw.t_T, [draw.x0_CTHW.shape] * len(draw.t_T), self.config.patch, self.cfg.flow
            )
            t_T[: draw.plan.head] = draw.plan.known_t
            noisy.append(
                Sample(
                    add_noise(draw.x0_CTHW, draw.noise_CTHW, t_T[:, None, None]),
                    draw.fps,
                    draw.text_LE,
                    head=draw.plan.head,
                    pieces=draw.pieces,
                )
            )
            frame_times.append(t_T)
            targets.append(patchify(velocity(draw.x0_CTHW, draw.noise_CTHW), self.config.patch))
        packed = pack(noisy, self.config.patch, self.stride_time)
        packed, times_K = packed.with_frame_times(frame_times, [draw.plan.known_t for draw in draws])
        v_ND = torch.zeros_like(packed.tokens_ND)
        v_ND[~packed.piece_N] = torch.cat(targets)
        packed = packed.to(device)
        return network(**packed.model_inputs(times_K.to(device))), v_ND.to(device), packed

    def loss(
        self, network: Any, loaded: Sequence[TrainingSample], device: torch.device, step: int
    ) -> tuple[Tensor, Mapping[str, float]]:
        predicted_ND, v_ND, packed = self._velocities(network, loaded, device)
        weights_N = token_weights(packed.segment_N, known_N=packed.known_N)
        return flow_loss(predicted_ND, v_ND, weights_N, total=1.0), {}

    def validate(
        self, network: nn.Module, item: Item, device: torch.device
    ) -> Mapping[str, tuple[float, float]]:
        """The loss at fixed times with fixed noise: of text alone overall, per time and per shape; of what is
        given by task."""
        x0, fps = self._latents(item), self.latents.rows[item.clip_id, item.window].fps
        generator = torch.Generator().manual_seed(
            draw_key(self.cfg.seed, "held out", item.clip_id, item.window)
        )
        noise = torch.randn(x0.shape, generator=generator)
        text = self._judged_text(item)
        same = lambda t: torch.full((x0.shape[1],), t)  # noqa: E731
        draws = [TrainingSample(x0, noise, text, same(t), fps) for t in _HELD_OUT_TIMES]
        plans = self._judged_plans(item, x0.shape[1])
        draws += [
            TrainingSample(x0, noise, text, same(0.5), fps, plan, self._pieces(item, plan, generator))
            for plan in plans
        ]
        predicted_ND, v_ND, packed = self._velocities(network, draws, device)
        free_N = ~packed.known_N
        errors_N = token_errors(predicted_ND, v_ND)[free_N]
        losses = segment_means(errors_N, packed.segment_N[free_N], len(draws)).tolist()
        alone, conditioned = losses[: len(_HELD_OUT_TIMES)], losses[len(_HELD_OUT_TIMES) :]
        frames, height, width = item.shape
        figures = {
            "loss": (sum(alone), float(len(alone))),
            f"loss_{width}x{height}x{frames}": (sum(alone), float(len(alone))),
        }
        figures |= {f"loss_t{t}": (loss, 1.0) for t, loss in zip(_HELD_OUT_TIMES, alone, strict=True)}
        return figures | {
            f"loss_{plan.task}": (loss, 1.0) for plan, loss in zip(plans, conditioned, strict=True)
        }

    def _judged_text(self, item: Item) -> Tensor:
        """The short caption, or another that the clip has, or no token."""
        texts = self.latents.texts(item.clip_id, item.window)
        if not texts:
            return torch.zeros(0, self.config.text_dim)
        return torch.from_numpy(texts["short" if "short" in texts else sorted(texts)[0]]).float()

    def _judged_plans(self, item: Item, latent_frames: int) -> list[ConditionPlan]:
        """What validation gives of a window: its first frame; its shortest tail."""
        if latent_frames == 1:
            return []
        tails = [(first, n) for first, n in self._stretches(item) if first + n == item.shape[0]]
        last = [ConditionPlan("last", pieces=(max(tails),))] if tails else []
        return [ConditionPlan("first_frame", head=1), *last]

    def sample_images(self, network: DiT, device: torch.device) -> Mapping[str, np.ndarray]:
        """Frames sampled from the short captions of a few clips, above the frames they were trained on."""
        vae = load_vae(self._vae_folder(), device)
        first = {item.clip_id: item for item in reversed(self.items())}
        pictures = {}
        for clip_id, item in sorted(first.items())[:_PICTURED_CLIPS]:
            x0 = self._latents(item)
            fps = self.latents.rows[item.clip_id, item.window].fps
            request = VideoRequest(shape_of(x0), self._text(item, 0), 0, fps)
            (made,) = sample(network, [request], self.cfg.sample, self.cfg.flow, self.stride_time)
            rows = [to_uint8(vae.decode_latents(z[None].to(device), item.shape[1:]))[0] for z in (made, x0)]
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
            write_bytes(folder / name, self._store.read(f"{ROOT}/{self.latents.fingerprint}/vae/{name}"))

    def export(self, weights: Mapping[str, Tensor], folder: Path, facts: Mapping[str, Any]) -> None:
        adapter = None
        if self.cfg.lora.rank:
            weights, adapter = self._merged(weights, folder / LORA)
        save_weights(folder / "dit", weights, self.config, "dit", extra=dict(facts))
        (folder / "vae").mkdir(parents=True, exist_ok=True)
        vae = self._vae_folder()
        for name in vae_files(vae):
            atomic_write(folder / "vae" / name, partial(shutil.copyfile, vae / name))
        keys = ("text_encoder", "text_encoder_fingerprint", "fps", "max_frames", "max_pixels", "multiple")
        pipeline = {key: self.latents.manifest[key] for key in keys} | {
            "format_version": 1,
            "precision": self.cfg.precision,
            "flow": vars(self.cfg.flow),
            "sample": vars(self.cfg.sample),
            "latents": self.latents.fingerprint,
        }
        write_text(folder / PIPELINE, json.dumps(pipeline, indent=2, sort_keys=True) + "\n")
        text = card.dit_card(self._facts(weights, adapter, facts["steps"]), self.cfg.license)
        write_text(folder / card.FILE, text)

    def _merged(
        self, adapter: Mapping[str, Tensor], folder: Path
    ) -> tuple[Mapping[str, Tensor], card.LoraFacts]:
        """Save a trained adapter; the weights of the network that has it in itself."""
        network, cfg = build_network(self.cfg, self.config), self.cfg.lora
        network.load_state_dict({**network.state_dict(), **adapter})
        save_lora(network, folder)
        count = sum(p.numel() for p in lora_parameters(network).values())
        merge_lora(network)
        return network.state_dict(), card.LoraFacts(
            cfg.rank, cfg.rank if cfg.alpha is None else cfg.alpha, count
        )

    def _facts(
        self, weights: Mapping[str, Tensor], adapter: card.LoraFacts | None, steps: int
    ) -> card.DiTFacts:
        known = self.latents.manifest
        sizes = (known["fps"], known["max_frames"], known["max_pixels"])
        return card.DiTFacts(
            config=self.config,
            parameters=sum(tensor.numel() for tensor in weights.values()),
            steps=steps,
            data=data_facts(self.items(), self.held_out(), *sizes, captions=self.cfg.captions),
            text_encoder=known["text_encoder"],
            vae=known["vae"]["config"],
            flow=self.cfg.flow,
            sample=self.cfg.sample,
            tasks=self.cfg.conditions.mix,
            precision=self.cfg.precision,
            fine_tuned=self.cfg.init is not None,
            lora=adapter,
        )
