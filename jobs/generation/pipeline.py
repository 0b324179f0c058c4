"""A checkpoint that generates on its own: DiT, VAE, text encoder, and how it was trained.

In: prompts, sizes, seeds. Out: uint8 videos (T, H, W, 3).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jobs.training.names import EXPORT, PIPELINE
from jobs.training.vae_task import to_pixels
from model.config import FlowConfig, SampleConfig
from model.sampler import sample
from model.text import text_encoder
from model.vae import VAE
from model.vae_tiles import CHUNK_FRAMES, TILE_PX, decode_tiles
from model.weights import load_dit, load_vae

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Size:
    """What is asked for, in pixels and frames; the model makes the next size it can and the rest is cut off."""

    width: int
    height: int
    num_frames: int


def checkpoint_folder(path: str) -> Path:
    """The folder with pipeline.json: as given, or a training run's export.

    Raises:
        FileNotFoundError: there is none.
    """
    for folder in (Path(path), Path(path) / EXPORT):
        if (folder / PIPELINE).is_file():
            return folder.absolute()
    hint = " (that training has not finished: run it again)" if (Path(path) / "settings.json").exists() else ""
    raise FileNotFoundError(f"checkpoint={path} holds no trained model{hint}; give the out= of rushes train")


def read_facts(folder: Path) -> dict[str, Any]:
    """pipeline.json.

    Raises:
        ValueError: it is of another version.
    """
    facts = json.loads((folder / PIPELINE).read_text())
    if facts.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{folder / PIPELINE} has format {facts.get('format_version')}, this version reads {FORMAT_VERSION}; export it again"
        )
    return facts


class Pipeline:
    """Loaded once, asked often."""

    def __init__(self, folder: Path, device: torch.device | str = "cpu"):
        self.facts = read_facts(folder)
        self.device = torch.device(device)
        self.dit, self.vae = load_dit(folder / "dit", device), load_vae(folder / "vae", device)
        self.text = text_encoder(self.facts["text_encoder"], device=device)
        if self.text.fingerprint != self.facts["text_encoder_fingerprint"]:
            raise ValueError(
                f"checkpoint {folder} was trained with other weights of text encoder '{self.facts['text_encoder']}' than are installed; install those"
            )
        self.flow = FlowConfig(**self.facts["flow"])
        self.sampling = SampleConfig(**self.facts["sample"])

    def generate(
        self,
        prompts: Sequence[str],
        size: Size,
        seeds: Sequence[int],
        fps: float,
        steps: int | None = None,
        guidance: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[np.ndarray]:
        """One video per prompt and seed, uint8 (num_frames, height, width, 3).

        Args:
            progress: called with (solver steps done, in all).
        """
        sampling = replace(
            self.sampling,
            steps=self.sampling.steps if steps is None else steps,
            guidance=self.sampling.guidance if guidance is None else guidance,
        )
        shape = self._latent_shape(size)
        texts = [e if prompt.strip() else e[:0] for prompt, e in zip(prompts, self.text.encode(prompts), strict=True)]
        stride = self.vae.cfg.stride_time
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16):
            latents = sample(
                self.dit, [shape] * len(prompts), texts, sampling, self.flow, list(seeds), fps, stride, progress
            )
        return [self._decode(z, size) for z in latents]

    def _latent_shape(self, size: Size) -> tuple[int, int, int, int]:
        config, (_, ph, pw) = self.vae.cfg, self.dit.cfg.patch
        up = lambda pixels, patch: math.ceil(pixels / (config.stride_space * patch)) * patch  # noqa: E731
        return (
            config.latent_channels,
            math.ceil((size.num_frames - 1) / config.stride_time) + 1,
            up(size.height, ph),
            up(size.width, pw),
        )

    def _decode(self, z_CTHW: torch.Tensor, size: Size) -> np.ndarray:
        cfg, (_, latent_frames, h, w) = self.vae.cfg, z_CTHW.shape
        frames = (latent_frames - 1) * cfg.stride_time + 1
        pixels = np.empty((frames, h * cfg.stride_space, w * cfg.stride_space, 3), np.uint8)
        z = self.vae.denormalise(z_CTHW[None].to(self.device))
        for place, piece in self._pieces(z):
            pixels[place] = to_pixels(piece)[0]
        top, left = (pixels.shape[1] - size.height) // 2, (pixels.shape[2] - size.width) // 2
        return np.ascontiguousarray(pixels[: size.num_frames, top : top + size.height, left : left + size.width])

    def _pieces(self, z_BCTHW: torch.Tensor) -> Iterator[tuple[tuple[slice, ...], torch.Tensor]]:
        """Pieces of a decoded video, and where each lies in (T, H, W)."""
        cfg, chunk = self.vae.cfg, CHUNK_FRAMES // self.vae.cfg.stride_time
        if isinstance(self.vae, VAE):
            yield from decode_tiles(self.vae, z_BCTHW, TILE_PX // cfg.stride_space, chunk)
            return
        done = 0  # what others published has attention or statistics over space: its tiles would not give what the whole gives
        with torch.no_grad():
            for piece in self.vae.decode_stream(z_BCTHW, chunk):
                yield (slice(done, done + piece.shape[2]),), piece
                done += piece.shape[2]


def write_mp4(path: Path, frames_THWC: np.ndarray, fps: float) -> None:
    """Write a video, whole or not at all."""
    import av

    from pipelines.config import EncodeConfig
    from pipelines.media.encode import encode_mp4

    rate = Fraction(fps).limit_denominator(1001)
    time_base = 1 / rate

    def pictures() -> Iterator[av.VideoFrame]:
        for pts, frame in enumerate(frames_THWC):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = pts, time_base
            yield picture

    data, _ = encode_mp4(pictures(), len(frames_THWC), time_base, rate, Fraction(1), EncodeConfig(crf=14))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_bytes(data)
    temporary.replace(path)
