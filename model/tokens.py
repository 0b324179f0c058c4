"""Videos of any shape as one row of tokens, and back.

In: samples (latents, their place in time, text). Out: `Packed` tensors that the DiT takes; predictions are unpacked
again. A batch is one row of N tokens; a segment id says which sample a token is of, so nothing is padded.

Time of a token: **the last frame its latent covers**. Latent k of a causal VAE covers the frames up to stride·k, so
it stands at start_s + stride·k / fps: evenly spaced, an image stands where a video's first frame does, and a tail or
keyframe that is encoded alone stands at its own frame. Space is measured in latents, at the middle of the patch.
Shapes: C T H W a latent video, N tokens, D = C·ph·pw numbers of a token, M text tokens, E channels of text, S
samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True)
class Sample:
    """One latent video with its place in time and its text.

    latents_CTHW: normalised latents (clean, noisy, or noise: packing doesn't care).
    fps: of the pixels; start_s: when the first frame is shown.
    text_LE: embeddings of L text tokens; L = 0 is no text, for which the DiT's learned null token stands.
    """

    latents_CTHW: Tensor
    fps: float
    text_LE: Tensor
    start_s: float = 0.0


@dataclass(slots=True)
class Packed:
    """A batch as the DiT takes it; sample i is segment i. See the module's docstring for the letters."""

    tokens_ND: Tensor
    positions_N3: Tensor
    segment_N: Tensor
    time_index_N: Tensor
    text_ME: Tensor
    text_segment_M: Tensor
    text_null_M: Tensor
    known_N: Tensor
    shapes: list[tuple[int, int, int, int]]
    patch: tuple[int, int, int]

    def inputs(self, times_K: Tensor) -> dict[str, Tensor]:
        """Keyword arguments of `DiT.forward`; `time_index_N` says which of the K times each token has."""
        return {
            "tokens_ND": self.tokens_ND,
            "positions_N3": self.positions_N3,
            "segment_N": self.segment_N,
            "times_K": times_K,
            "time_index_N": self.time_index_N,
            "text_ME": self.text_ME,
            "text_segment_M": self.text_segment_M,
            "text_null_M": self.text_null_M,
            "known_N": self.known_N,
        }

    def unpack(self, tokens_ND: Tensor) -> list[Tensor]:
        """Tokens of this batch back to one (C, T, H, W) per sample."""
        counts = [token_count(shape, self.patch) for shape in self.shapes]
        parts = tokens_ND.split(counts)
        return [unpatchify(part, shape, self.patch) for part, shape in zip(parts, self.shapes, strict=True)]

    def to(self, device: torch.device | str) -> "Packed":
        """The same batch on another device."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return Packed(**{n: v.to(device) if isinstance(v, Tensor) else v for n, v in values.items()})


def pack(samples: Sequence[Sample], patch: Sequence[int] = (1, 2, 2), stride_time: int = 4) -> Packed:
    """Samples of any shapes into one row; sample i has segment i and time index i, and no token is known.

    Raises:
        ValueError: when there are no samples, or a height or width is not a multiple of the patch.
    """
    if not samples:
        raise ValueError("pack got no samples")
    size = (int(patch[0]), int(patch[1]), int(patch[2]))
    shapes = [tuple(sample.latents_CTHW.shape) for sample in samples]
    device = samples[0].latents_CTHW.device
    counts = torch.tensor([token_count(shape, size) for shape in shapes], device=device)
    index_S = torch.arange(len(samples), device=device)
    texts = [
        sample.text_LE if len(sample.text_LE) else sample.text_LE.new_zeros(1, sample.text_LE.shape[-1])
        for sample in samples
    ]
    lengths = torch.tensor([len(text) for text in texts], device=device)
    null_S = torch.tensor([len(sample.text_LE) == 0 for sample in samples], device=device)
    segment_N = index_S.repeat_interleave(counts)
    return Packed(
        tokens_ND=torch.cat([patchify(sample.latents_CTHW, size) for sample in samples]),
        positions_N3=torch.cat([positions(sample, size, stride_time) for sample in samples]),
        segment_N=segment_N,
        time_index_N=segment_N.clone(),
        text_ME=torch.cat(texts),
        text_segment_M=index_S.repeat_interleave(lengths),
        text_null_M=null_S.repeat_interleave(lengths),
        known_N=torch.zeros_like(segment_N, dtype=torch.bool),
        shapes=shapes,
        patch=size,
    )


def patchify(x_CTHW: Tensor, patch: Sequence[int]) -> Tensor:
    """A latent video to tokens (N, D), time slowest, width fastest."""
    (pt, ph, pw), (c, t, h, w) = patch, x_CTHW.shape
    x = x_CTHW.reshape(c, t // pt, pt, h // ph, ph, w // pw, pw).permute(1, 3, 5, 0, 2, 4, 6)
    return x.reshape(-1, c * pt * ph * pw)


def unpatchify(tokens_ND: Tensor, shape: tuple[int, int, int, int], patch: Sequence[int]) -> Tensor:
    """The inverse of `patchify` for a video of `shape` (C, T, H, W)."""
    (pt, ph, pw), (c, t, h, w) = patch, shape
    x = tokens_ND.reshape(t // pt, h // ph, w // pw, c, pt, ph, pw).permute(3, 0, 4, 1, 5, 2, 6)
    return x.reshape(c, t, h, w)


def token_count(shape: Sequence[int], patch: Sequence[int]) -> int:
    """Tokens of a latent video of `shape` (C, T, H, W).

    Raises:
        ValueError: when a side is not a multiple of the patch.
    """
    sides = shape[1:]
    if any(side % size or side < size for side, size in zip(sides, patch, strict=True)):
        raise ValueError(
            f"latents of {sides[0]}×{sides[1]}×{sides[2]} (time, height, width) can't be cut into patches of "
            f"{patch[0]}×{patch[1]}×{patch[2]}; "
            "choose pixel sizes that are multiples of the VAE's stride times the patch"
        )
    return (sides[0] // patch[0]) * (sides[1] // patch[1]) * (sides[2] // patch[2])


def positions(sample: Sample, patch: Sequence[int], stride_time: int) -> Tensor:
    """Where each token is: (N, 3) of seconds, latent row and latent column, float32."""
    _, t, h, w = sample.latents_CTHW.shape
    device = sample.latents_CTHW.device
    seconds = sample.start_s + torch.arange(t // patch[0], device=device) * patch[0] * stride_time / sample.fps
    rows = (torch.arange(h // patch[1], device=device) + 0.5) * patch[1]
    columns = (torch.arange(w // patch[2], device=device) + 0.5) * patch[2]
    grid = torch.meshgrid(seconds.float(), rows.float(), columns.float(), indexing="ij")
    return torch.stack(grid, dim=-1).reshape(-1, 3)
