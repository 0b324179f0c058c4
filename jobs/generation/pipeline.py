"""A checkpoint that generates on its own: DiT, VAE, text encoder, and how it was trained.

In: prompts, sizes, seeds. Out: uint8 videos (T, H, W, 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jobs.training.exports import PIPELINE
from model.checkpoint.lora import load_lora, merge_lora
from model.checkpoint.weights import load_dit, load_vae
from model.config import FlowConfig, SampleConfig, config_from_dict
from model.dit.tokens import Piece
from model.flow.conditions import ConditionFrames, KnownLatents
from model.flow.sampler import VideoRequest, sample
from model.text.registry import CachedTextEncoder, check_encoder_allowed, text_encoder
from model.untrusted import read_object
from model.vae.network import VAE
from model.vae.pixels import encode_frames, to_uint8
from model.vae.tiles import CHUNK_FRAMES, TILE_PX, Tiling, decode_tiles
from pipelines.precision import FP32, autocast

FORMAT_VERSION = 1
# What a file may say was trained on, and is then made where nobody says otherwise: an hour of HD would be
# more memory than machines have. Of each number from, to; and of pixels × frames.
_BOUNDS = {"fps": (0.01, 1000.0), "max_frames": (1, 2**16), "max_pixels": (1, 2**26), "multiple": (1, 2**12)}
_MOST_VALUES = 2**32


@dataclass(frozen=True, slots=True)
class Size:
    """What is asked for, in pixels and frames; the model makes the next size it can and the rest is cut
    off."""

    width: int
    height: int
    num_frames: int


def read_facts(folder: Path) -> dict[str, Any]:
    """pipeline.json, whose values are of their kinds and within bounds.

    Raises:
        ValueError: it is damaged, of another version, or says what can't be.
    """
    path = folder / PIPELINE
    facts = read_object(path)
    if facts.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format {str(facts.get('format_version'))[:80]}, this version reads "
            f"{FORMAT_VERSION}; export it again"
        )
    for name in ("text_encoder", "text_encoder_fingerprint"):
        if not isinstance(facts.get(name), str) or len(facts[name]) > 4096:
            raise ValueError(f"{path} is damaged: its {name} is no text; export it again, or copy it again")
    for name, (least, most) in _BOUNDS.items():
        value: Any = facts.get(name)
        if type(value) not in (int, type(most)) or not least <= value <= most:
            raise ValueError(
                f"{path}: {name}={str(value)[:80]} is no number of {least:g} to {most:,g}; export it again"
            )
    if facts["max_frames"] * facts["max_pixels"] > _MOST_VALUES:
        raise ValueError(
            f"{path}: {facts['max_frames']:,} frames of {facts['max_pixels']:,} pixels are more than any "
            "model is trained on; export it again"
        )
    for name, kind in (("flow", FlowConfig), ("sample", SampleConfig)):
        config_from_dict(kind, facts.get(name), f"{path}, {name}")
    return facts


def check_text(folder: Path, requested: str | None) -> None:
    """Whether the text encoder may be used: what the user gave, or what the checkpoint brings along or may
    name.

    Raises:
        ValueError: it may not, and which key confirms it.
    """
    if requested is None:
        check_encoder_allowed(read_facts(folder)["text_encoder"], folder)


@dataclass(frozen=True, slots=True)
class VideoPrompt:
    """A video to be made.

    Attributes:
        prompt: what it shows; empty for a video without text.
        seed: of its noise.
        conditions: frames that are known, at its size. What starts at 0 s is kept in place; what starts later
            is a tail or a keyframe. What comes back is decoded throughout: nothing is pasted in.
    """

    prompt: str
    seed: int
    conditions: Sequence[ConditionFrames] = ()


class Pipeline:
    """Loaded once, asked often.

    Args:
        text: where the text encoder is on this machine, as `text_encoder` takes it; by default as the
            checkpoint calls it, if it may be used for that alone: see `check_encoder_allowed`.
        precision: of matrix products, bf16 or fp32; of the DiT and the VAE.

    Raises:
        FileNotFoundError: the text encoder isn't there.
        ValueError: it isn't the one that the checkpoint was trained with.
    """

    def __init__(
        self, folder: Path, device: torch.device | str = "cpu", text: str | None = None, precision: str = FP32
    ):
        self.facts = read_facts(folder)
        self.device, self.precision = torch.device(device), precision
        self.dit, self.vae = load_dit(folder / "dit", device), load_vae(folder / "vae", device)
        home = folder if text is None else None
        text = self.facts["text_encoder"] if text is None else text
        try:
            self.text = CachedTextEncoder(text_encoder(text, device=device, home=home))
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error}; or say where it is on this machine with text_encoder="
            ) from error
        if self.text.fingerprint != self.facts["text_encoder_fingerprint"]:
            raise ValueError(
                f"checkpoint {folder} was trained with text encoder '{self.facts['text_encoder']}', and "
                f"'{text}' has other weights, options or tokenizer than that had; say where the same one is "
                "with text_encoder="
            )
        self.flow = config_from_dict(FlowConfig, self.facts["flow"], f"{folder / PIPELINE}, flow")
        self.sampling = config_from_dict(SampleConfig, self.facts["sample"], f"{folder / PIPELINE}, sample")

    def adapt(self, adapter: Path, scale: float = 1.0) -> None:
        """Merge an adapter into the DiT's weights, so many times as strong as it was trained.

        Raises:
            FileNotFoundError: it isn't there, or peft is not installed.
            ValueError: it doesn't fit.
        """
        load_lora(self.dit, adapter, scale)
        merge_lora(self.dit)

    def sampling_with(self, steps: int | None, guidance: float | None) -> SampleConfig:
        """How the checkpoint samples, with these in place of its own where they are given (not None, not
        0 steps)."""
        changes: dict[str, Any] = {"steps": steps or self.sampling.steps}
        if guidance is not None:
            changes["guidance"] = guidance
        return replace(self.sampling, **changes)

    def generate(
        self,
        videos: Sequence[VideoPrompt],
        size: Size,
        fps: float,
        sampling: SampleConfig | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[np.ndarray]:
        """The videos, uint8 (num_frames, height, width, 3).

        Args:
            sampling: how to sample; by default as the checkpoint says.
            progress: called with (solver steps done, in all).

        Raises:
            ValueError: given frames are not of the video's size, not 4k + 1 many, or don't lie within it.
        """
        shape = self._latent_shape(size)
        texts, _ = self.texts([video.prompt for video in videos])
        requests = [
            VideoRequest(shape, text, video.seed, fps, self._known(video.conditions, size, shape, fps))
            for video, text in zip(videos, texts, strict=True)
        ]
        stride = self.vae.cfg.stride_time
        with torch.no_grad(), autocast(self.device.type, self.precision):
            latents = sample(self.dit, requests, sampling or self.sampling, self.flow, stride, progress)
        return [self._decode(z, size) for z in latents]

    def _known(
        self, given: Sequence[ConditionFrames], size: Size, shape: Sequence[int], fps: float
    ) -> KnownLatents:
        """What is given, as latents: each stretch encoded alone, as in training."""
        head, pieces, stride = None, [], self.vae.cfg.stride_time
        length_s = size.num_frames / fps
        for one in given:
            count, height, width = one.frames_THWC.shape[:3]
            if (height, width) != (size.height, size.width):
                raise ValueError(
                    f"given frames are {width} × {height}, the video shall be {size.width} × {size.height}; "
                    "scale them to that"
                )
            if count % stride != 1:
                near = (count - 1) // stride * stride + 1
                raise ValueError(
                    f"{count} frames are given from {one.start_s:g} s on, but the VAE takes {stride}k + 1; "
                    f"give {near}"
                )
            if not 0 <= one.start_s <= one.start_s + count / fps <= length_s + 0.5 / fps:
                raise ValueError(
                    f"{count} frames are given from {one.start_s:g} s on, which is not within the video's "
                    f"{length_s:g} s"
                )
            if one.start_s == 0 and head is not None:
                raise ValueError("two stretches are given from 0 s on; give one")
            with autocast(self.device.type, self.precision):
                latents = encode_frames(self.vae, self._padded(one.frames_THWC, shape)).float()
            if one.start_s == 0:
                head = latents
            else:
                pieces.append(Piece(latents, one.start_s))
        return KnownLatents(head, pieces)

    def _padded(self, frames_THWC: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """Frames at the size that the model makes, of which `_decode` cuts out the middle: their edges are
        repeated."""
        stride = self.vae.cfg.stride_space
        sides = []
        for have, latents in zip(frames_THWC.shape[1:3], shape[2:], strict=True):
            before = (latents * stride - have) // 2
            sides.append((before, latents * stride - have - before))
        return np.pad(frames_THWC, ((0, 0), *sides, (0, 0)), mode="edge")

    def texts(self, prompts: Sequence[str]) -> tuple[list[torch.Tensor], int]:
        """A prompt's tokens (L, E), none of an empty one, and how many of the prompts were cut. The newest
        are remembered."""
        embedded, cut = self.text.encode_count_truncated(prompts)
        return [e if prompt.strip() else e[:0] for prompt, e in zip(prompts, embedded, strict=True)], cut

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
        with autocast(self.device.type, self.precision):
            for place, piece in self._pieces(z):
                pixels[place] = to_uint8(piece)[0]
        top, left = (pixels.shape[1] - size.height) // 2, (pixels.shape[2] - size.width) // 2
        return np.ascontiguousarray(
            pixels[: size.num_frames, top : top + size.height, left : left + size.width]
        )

    def _pieces(self, z_BCTHW: torch.Tensor) -> Iterator[tuple[tuple[slice, ...], torch.Tensor]]:
        """Pieces of a decoded video, and where each lies in (T, H, W)."""
        cfg, chunk = self.vae.cfg, CHUNK_FRAMES // self.vae.cfg.stride_time
        if isinstance(self.vae, VAE):
            yield from decode_tiles(self.vae, z_BCTHW, Tiling(TILE_PX // cfg.stride_space, chunk))
            return
        # what others published has attention or statistics over space: its tiles would not give what the
        # whole gives
        done = 0
        with torch.no_grad():
            for piece in self.vae.decode_stream(z_BCTHW, chunk):
                yield (slice(done, done + piece.shape[2]),), piece
                done += piece.shape[2]
