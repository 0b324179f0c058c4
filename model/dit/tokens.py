"""Videos of any shape as one row of tokens, and back.

In: samples (latents, their place in time, text, what is known of them). Out: `PackedBatch` tensors that the
DiT takes; predictions are unpacked again. A batch is one row of N tokens; a segment id says which sample a
token is of, so nothing is padded. A sample's tokens are its video, then its pieces: stretches given beside
the video, encoded on their own.

Time of a token: **the last frame its latent covers**. Latent k of a causal VAE covers the frames up to
stride·k, so it stands at start_s + stride·k / fps: evenly spaced, an image stands where a video's first frame
does, and a tail or keyframe that is encoded alone stands at its own frame. Space is measured in latents, at
the middle of the patch. Shapes: C T H W a latent video, N tokens, D = C·ph·pw numbers of a token, M text
tokens, E channels of text, S samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


def shape_of(latents_CTHW: Tensor) -> tuple[int, int, int, int]:
    """(channels, latent frames, height, width)."""
    channels, frames, height, width = latents_CTHW.shape
    return channels, frames, height, width


@dataclass(slots=True)
class Piece:
    """A condition beside a video, encoded alone: a tail or a keyframe. It has the video's frame rate.

    latents_CTHW: of the video's channels, height and width. start_s: when its first frame is shown.
    """

    latents_CTHW: Tensor
    start_s: float


@dataclass(slots=True)
class Sample:
    """One latent video with its place in time, its text, and what is known of it.

    latents_CTHW: normalised latents (clean, noisy, or noise: packing doesn't care).
    fps: of the pixels; start_s: when the first frame is shown.
    text_LE: embeddings of L text tokens; L = 0 is no text, for which the DiT's learned null token stands.
    head: so many of the first latent frames are given; pieces: what else is.
    """

    latents_CTHW: Tensor
    fps: float
    text_LE: Tensor
    start_s: float = 0.0
    head: int = 0
    pieces: Sequence[Piece] = ()


@dataclass(slots=True)
class PackedBatch:
    """A batch as the DiT takes it; sample i is segment i. See the module's docstring for the letters.

    known_N: mask of condition tokens (heads and pieces). piece_N: mask of the tokens of pieces, which are no
    part of the output. time_index_N: for S samples, i for unknown tokens of sample i and S + i for known
    ones; `times` makes the list.
    """

    tokens_ND: Tensor
    positions_N3: Tensor
    segment_N: Tensor
    time_index_N: Tensor
    text_ME: Tensor
    text_segment_M: Tensor
    text_null_M: Tensor
    known_N: Tensor
    piece_N: Tensor
    shapes: list[tuple[int, int, int, int]]
    patch: tuple[int, int, int]

    def times(self, t_S: Tensor, known_t_S: Tensor | float = 0.0) -> Tensor:
        """The distinct times `time_index_N` points into, (2S,): of unknown tokens, then of known ones, by
        sample."""
        return torch.cat([t_S, torch.as_tensor(known_t_S, dtype=t_S.dtype, device=t_S.device).expand_as(t_S)])

    def model_inputs(self, times_K: Tensor) -> dict[str, Tensor]:
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

    def with_frame_times(
        self, frame_times: Sequence[Tensor], known_t: Sequence[float]
    ) -> tuple["PackedBatch", Tensor]:
        """This batch with a time for every latent frame, and the distinct times (K,) that its index then
        points into.

        Args:
            frame_times: (T,) of each sample, one for each of its latent frames.
            known_t: of the pieces of each sample.
        """
        parts = []
        for shape, times_T, t, count in zip(
            self.shapes, frame_times, known_t, self._piece_counts(), strict=True
        ):
            frame = token_count((shape[0], self.patch[0], *shape[2:]), self.patch)
            parts += [times_T.float().repeat_interleave(frame), torch.full((count,), t)]
        times_K, index_N = torch.cat(parts).unique(return_inverse=True)
        device = self.tokens_ND.device
        return replace(self, time_index_N=index_N.to(device)), times_K.to(device)

    def unpack(self, tokens_ND: Tensor) -> list[Tensor]:
        """Tokens of this batch back to one (C, T, H, W) per sample; pieces are left out."""
        parts = tokens_ND[~self.piece_N].split([token_count(shape, self.patch) for shape in self.shapes])
        return [unpatchify(part, shape, self.patch) for part, shape in zip(parts, self.shapes, strict=True)]

    def to(self, device: torch.device | str) -> "PackedBatch":
        """The same batch on another device."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        tensors = {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
        return PackedBatch(**(values | tensors))

    def _piece_counts(self) -> list[int]:
        return torch.bincount(self.segment_N[self.piece_N], minlength=len(self.shapes)).tolist()


def pack(samples: Sequence[Sample], patch: Sequence[int] = (1, 2, 2), stride_time: int = 4) -> PackedBatch:
    """Samples of any shapes into one row; sample i has segment i.

    Raises:
        ValueError: when there are no samples, a height or width is not a multiple of the patch, a head is
            longer than its video, or a piece is not of its video's size.
    """
    if not samples:
        raise ValueError("pack got no samples")
    size = (int(patch[0]), int(patch[1]), int(patch[2]))
    device = samples[0].latents_CTHW.device
    tokens, places, counts = [], [], []
    for sample in samples:
        _check_known(sample)
        frame = token_count((1, size[0], *sample.latents_CTHW.shape[2:]), size)
        own = token_count(sample.latents_CTHW.shape, size)
        video = [(sample.latents_CTHW, sample.start_s), *((p.latents_CTHW, p.start_s) for p in sample.pieces)]
        tokens += [patchify(latents, size) for latents, _ in video]
        places += [
            positions(tuple(z.shape), sample.fps, start_s, size, stride_time, device) for z, start_s in video
        ]
        counts.append(
            (sample.head * frame, own - sample.head * frame, sum(map(len, tokens[-len(video) :])) - own)
        )
    counts_S3 = torch.tensor(counts, device=device)
    kind_N = torch.arange(3, device=device).repeat(len(samples)).repeat_interleave(counts_S3.flatten())
    index_S = torch.arange(len(samples), device=device)
    segment_N = index_S.repeat_interleave(counts_S3.sum(1))
    texts = [
        sample.text_LE if len(sample.text_LE) else sample.text_LE.new_zeros(1, sample.text_LE.shape[-1])
        for sample in samples
    ]
    lengths = torch.tensor([len(text) for text in texts], device=device)
    null_S = torch.tensor([len(sample.text_LE) == 0 for sample in samples], device=device)
    known_N = kind_N != 1
    return PackedBatch(
        tokens_ND=torch.cat(tokens),
        positions_N3=torch.cat(places),
        segment_N=segment_N,
        time_index_N=segment_N + len(samples) * known_N,
        text_ME=torch.cat(texts),
        text_segment_M=index_S.repeat_interleave(lengths),
        text_null_M=null_S.repeat_interleave(lengths),
        known_N=known_N,
        piece_N=kind_N == 2,
        shapes=[shape_of(sample.latents_CTHW) for sample in samples],
        patch=size,
    )


def _check_known(sample: Sample) -> None:
    shape = tuple(sample.latents_CTHW.shape)
    if not 0 <= sample.head <= shape[1]:
        raise ValueError(f"a head of {sample.head} latent frames was given for a video of {shape[1]}")
    for piece in sample.pieces:
        c, _, h, w = piece.latents_CTHW.shape
        if (c, h, w) != (shape[0], *shape[2:]):
            raise ValueError(
                f"a piece of {c} channels and {h}×{w} latents was given beside a video of {shape[0]} "
                f"channels and {shape[2]}×{shape[3]}; encode both at one size with one VAE"
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


def positions(
    shape: Sequence[int],
    fps: float,
    start_s: float,
    patch: Sequence[int] = (1, 2, 2),
    stride_time: int = 4,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Where each token of latents (C, T, H, W) is: (N, 3) of seconds, latent row and latent column,
    float32."""
    _, t, h, w = shape
    seconds = start_s + torch.arange(t // patch[0], device=device) * patch[0] * stride_time / fps
    rows = (torch.arange(h // patch[1], device=device) + 0.5) * patch[1]
    columns = (torch.arange(w // patch[2], device=device) + 0.5) * patch[2]
    grid = torch.meshgrid(seconds.float(), rows.float(), columns.float(), indexing="ij")
    return torch.stack(grid, dim=-1).reshape(-1, 3)
