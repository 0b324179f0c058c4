"""The VAE on planes of any size: tiles of the plane, each run in chunks of time, give what the whole gives.

In: a VAE, and a video or raw latents (B, C, T, H, W) on any device; a memory-mapped tensor is read a piece at
a time. Out: what `VAE.encode` and `VAE.decode` return, on the input's device, without gradients. A tile keeps
its core; around it the network is shown a halo, as far as it can see. Cores cover the plane once, so with the
whole halo nothing is left to blend. With a smaller one the tiles overlap and are blended along linear ramps.
What the network needs at once depends on tile and chunk, not on size or length. Shapes: B batch, C channels,
T frames, H W height and width, N positions along one axis.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

import torch
from torch import Tensor

from model.config import VAEConfig
from model.vae.blocks import CausalCache
from model.vae.network import VAE, Posterior, check_video

TILE_PX = 512
"""Core of a tile, a multiple of every stride: activations of 0.4 (tiny), 1.2 (small) and 6.3 GiB (base) in
float32."""
CHUNK_FRAMES = 16
"""Frames of a chunk beside it. A multiple of every stride."""

OutputSlices = tuple[slice, slice, slice]
"""Frames, rows and columns of the result."""


def encoder_receptive_field(cfg: VAEConfig) -> int:
    """Receptive field of a latent: pixels beyond its own block of stride_space, on each side."""
    reach = 2 * cfg.encoder_blocks
    for _, stride in reversed(cfg.level_strides):
        reach = reach * stride + 2 * cfg.encoder_blocks
    return (reach + 1) * cfg.patch


def encoder_halo(cfg: VAEConfig) -> int:
    """`encoder_receptive_field` in whole latents, given in pixels: beside it a tile's core is exact."""
    return math.ceil(encoder_receptive_field(cfg) / cfg.stride_space) * cfg.stride_space


def decoder_halo(cfg: VAEConfig) -> int:
    """How many latents beyond its own a latent's pixels see, each way: beside it a tile's core is exact."""
    reach = 1 + 2 * cfg.decoder_blocks
    for _, stride in cfg.level_strides:
        reach = math.ceil(reach / stride) + 2 * cfg.decoder_blocks
    return reach + 1


@dataclass(frozen=True, slots=True)
class AxisTile:
    """One tile along one axis, in latents: the network is shown `outer`, that is `core` and the halo inside
    the plane."""

    core: slice
    outer: slice


def plan_axis(length: int, tile: int, halo: int) -> list[AxisTile]:
    """Cut an axis of latents into tiles of nearly equal cores, none above `tile`.

    Where the plane ends the halo ends too: there the network pads with zeros, as it does for the whole.
    """
    count = math.ceil(length / tile)
    edges = [length * i // count for i in range(count + 1)]
    return [AxisTile(slice(a, b), slice(max(0, a - halo), min(length, b + halo))) for a, b in pairwise(edges)]


def blend_weights(parts: list[AxisTile], scale: int) -> list[Tensor]:
    """For each tile its weight (N,) at each position of its outer slice, `scale` of them per latent.

    Weights rise and fall in a straight line over the overlap; at each position of the axis all tiles' weights
    sum to 1.
    """
    length = parts[-1].outer.stop
    total_N, weights = torch.zeros(length * scale), []
    for part in parts:
        at_N = torch.arange(part.outer.start * scale, part.outer.stop * scale) + 0.5
        weight_N = torch.ones(len(at_N))
        if 0 < part.outer.start < part.core.start:
            rise = (at_N - part.outer.start * scale) / (2 * scale * (part.core.start - part.outer.start))
            weight_N = weight_N.minimum(rise)
        if part.core.stop < part.outer.stop < length:
            fall = (part.outer.stop * scale - at_N) / (2 * scale * (part.outer.stop - part.core.stop))
            weight_N = weight_N.minimum(fall)
        total_N[part.outer.start * scale : part.outer.stop * scale] += weight_N
        weights.append(weight_N)
    return [
        weight_N / total_N[part.outer.start * scale : part.outer.stop * scale]
        for part, weight_N in zip(parts, weights, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Strip:
    """One tile along one axis.

    `input_slice` are the latents, or blocks of pixels that become them, that the network is given;
    `output_slice` are the positions of the result that it gives, and `core_slice` the same counted from its
    own start. Without a weight it gives them alone.
    """

    input_slice: slice
    output_slice: slice
    core_slice: slice
    weight_N: Tensor | None


class Tile(NamedTuple):
    """A strip of rows crossed with one of columns."""

    rows: Strip
    columns: Strip

    def input_slices(self, scale: int) -> tuple[slice, slice]:
        """Rows and columns that the network is given, `scale` positions per latent."""
        rows, columns = (
            slice(strip.input_slice.start * scale, strip.input_slice.stop * scale) for strip in self
        )
        return rows, columns

    def weighted_core(self, result_BCTHW: Tensor) -> Tensor:
        """What of the tile's own result belongs in its place, weighted."""
        share_BCTHW = result_BCTHW[..., self.rows.core_slice, self.columns.core_slice]
        if self.rows.weight_N is None or self.columns.weight_N is None:
            return share_BCTHW
        return share_BCTHW * (self.rows.weight_N[:, None] * self.columns.weight_N).to(share_BCTHW.device)

    def write(self, share_BCTHW: Tensor, out_BCTHW: Tensor) -> None:
        """Put a share where it belongs; where tiles overlap, `out` starts at zero and their shares are
        summed."""
        place_BCTHW = out_BCTHW[..., self.rows.output_slice, self.columns.output_slice]
        if self.rows.weight_N is None:
            place_BCTHW.copy_(share_BCTHW)
        else:
            place_BCTHW.add_(share_BCTHW.to(place_BCTHW))


@torch.no_grad()
def encode_tiled(
    vae: VAE,
    x_BCTHW: Tensor,
    tile_px: int = TILE_PX,
    chunk_frames: int = CHUNK_FRAMES,
    halo: int | None = None,
) -> Posterior:
    """As `VAE.encode`, in tiles with a core of `tile_px` pixels each way, `chunk_frames` at a time.

    Args:
        halo: pixels shown around a core; None for `encoder_halo`. Less is faster, blended, and no longer
        exact.

    Raises:
        ValueError: as `VAE.encode_chunked`, or when tile_px or halo is not a multiple of stride_space.
    """
    check_video(x_BCTHW, vae.cfg.stride_time)
    cfg, (batch, _, frames, *size) = vae.cfg, x_BCTHW.shape
    stride, exact = cfg.stride_space, encoder_halo(cfg)
    halo = exact if halo is None else halo
    if tile_px % stride or halo % stride:
        raise ValueError(f"tile_px={tile_px} and halo={halo} must be multiples of stride_space={stride}")
    plane = [math.ceil(length / stride) for length in size]
    tiles = _plan(plane, plane, tile_px // stride, halo // stride, halo < exact, scale=1)
    chunks = vae.plan_chunks(frames, chunk_frames)
    shape = (batch, 2 * cfg.latent_channels, (frames - 1) // cfg.stride_time + 1, *plane)
    moments_BCTHW = torch.zeros(shape, device=x_BCTHW.device)
    for tile in tiles:
        stream = _stream(chunks)
        for a, b in chunks:
            # these slices end where the picture does, so its edge is repeated in the piece and not in a
            # padded copy
            piece_BCTHW = x_BCTHW[(..., slice(a, b), *tile.input_slices(stride))].to(vae.latent_mean.device)
            piece = vae.encode_chunk(piece_BCTHW, stream)
            share = tile.weighted_core(torch.cat([piece.mean, piece.logvar], dim=1))
            tile.write(
                share, moments_BCTHW[:, :, math.ceil(a / cfg.stride_time) : math.ceil(b / cfg.stride_time)]
            )
    return Posterior(*moments_BCTHW.chunk(2, dim=1))


@dataclass(frozen=True, slots=True)
class Tiling:
    """How latents are divided for the decoder.

    Attributes:
        latents: of a tile's core, each way.
        chunk: latent frames at a time.
        halo: latents shown around a core; None for `decoder_halo`. Less is faster, blended, and no longer
            exact.
    """

    latents: int
    chunk: int
    halo: int | None = None


@torch.no_grad()
def decode_tiled(
    vae: VAE,
    z_BCTHW: Tensor,
    tiling: Tiling,
    size: tuple[int, int] | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """As `VAE.decode`, in tiles.

    Args:
        out: (B, 3, T, H, W) to write into, of any float type and on any device, such as one over a file.
    """
    chunks, tiles = _decoder_plan(vae.cfg, z_BCTHW, tiling, size)
    if out is None:
        shape = (len(z_BCTHW), 3, _frames(vae.cfg, 0, z_BCTHW.shape[2]).stop, *_size(vae.cfg, z_BCTHW, size))
        out = torch.empty(shape, device=z_BCTHW.device)
    if tiling.halo is not None and tiling.halo < decoder_halo(vae.cfg):
        out.zero_()
    for tile in tiles:
        stream = _stream(chunks)
        for a, b in chunks:
            tile.write(_decode(vae, z_BCTHW, tile, a, b, stream), out[:, :, _frames(vae.cfg, a, b)])
    return out


@torch.no_grad()
def decode_tiles(vae: VAE, z_BCTHW: Tensor, tiling: Tiling) -> Iterator[tuple[OutputSlices, Tensor]]:
    """The pieces of `decode_tiled` and their places, to be stored in another form; all of one tile, then the
    next."""
    chunks, tiles = _decoder_plan(vae.cfg, z_BCTHW, tiling, None)
    for tile in tiles:
        stream = _stream(chunks)
        for a, b in chunks:
            place = (_frames(vae.cfg, a, b), tile.rows.output_slice, tile.columns.output_slice)
            yield place, _decode(vae, z_BCTHW, tile, a, b, stream)


@torch.no_grad()
def decode_tiled_stream(
    vae: VAE,
    z_BCTHW: Tensor,
    tiling: Tiling,
    size: tuple[int, int] | None = None,
) -> Iterator[Tensor]:
    """The result of `decode_tiled` in pieces of time (B, 3, t, H, W), for writing a long video as it is made.

    Every tile's stream is kept all along: memory grows with the plane, by two frames of each layer, and not
    with length.
    """
    chunks, tiles = _decoder_plan(vae.cfg, z_BCTHW, tiling, size)
    streams = [_stream(chunks) for _ in tiles]
    for a, b in chunks:
        frames = _frames(vae.cfg, a, b)
        shape = (len(z_BCTHW), 3, frames.stop - frames.start, *_size(vae.cfg, z_BCTHW, size))
        out_BCTHW = torch.zeros(shape, device=z_BCTHW.device)
        for tile, stream in zip(tiles, streams, strict=True):
            tile.write(_decode(vae, z_BCTHW, tile, a, b, stream), out_BCTHW)
        yield out_BCTHW


def _decode(vae: VAE, z_BCTHW: Tensor, tile: Tile, a: int, b: int, stream: CausalCache | None) -> Tensor:
    piece_BCTHW = z_BCTHW[(..., slice(a, b), *tile.input_slices(1))].to(vae.latent_mean.device)
    return tile.weighted_core(vae.decode_chunk(piece_BCTHW, stream))


def _decoder_plan(
    cfg: VAEConfig,
    z_BCTHW: Tensor,
    tiling: Tiling,
    size: tuple[int, int] | None,
) -> tuple[list[tuple[int, int]], list[Tile]]:
    """The chunks of time (first latent frame, end) and the tiles."""
    chunk = tiling.chunk
    if chunk < 1:
        raise ValueError(f"chunk={chunk} must be at least 1 latent frame")
    latent_frames, *plane = z_BCTHW.shape[2:]
    exact = decoder_halo(cfg)
    halo = exact if tiling.halo is None else tiling.halo
    chunks = list(pairwise([*range(0, latent_frames, chunk), latent_frames]))
    return chunks, _plan(
        plane, _size(cfg, z_BCTHW, size), tiling.latents, halo, halo < exact, cfg.stride_space
    )


def _plan(
    plane: Sequence[int], size: Sequence[int], tile: int, halo: int, blend: bool, scale: int
) -> list[Tile]:
    """Tiles of a plane of latents; their results have `scale` positions per latent, of which `size` are
    wanted."""
    if tile < 1 or halo < 0:
        raise ValueError(f"a tile of {tile} latents with a halo of {halo}: at least 1 and 0 are needed")
    axes = [
        _strips(plan_axis(n, tile, halo), limit, blend, scale) for n, limit in zip(plane, size, strict=True)
    ]
    return [Tile(rows, columns) for rows, columns in product(*axes)]


def _strips(parts: list[AxisTile], limit: int, blend: bool, scale: int) -> list[Strip]:
    strips = []
    for part, weight_N in zip(parts, blend_weights(parts, scale), strict=True):
        given, start = part.outer if blend else part.core, part.outer.start * scale
        place = slice(given.start * scale, min(given.stop * scale, limit))
        if place.start < place.stop:
            within = slice(place.start - start, place.stop - start)
            strips.append(Strip(part.outer, place, within, weight_N[within] if blend else None))
    return strips


def _stream(chunks: list[tuple[int, int]]) -> CausalCache | None:
    """A memory between chunks, where there is more than one: for an image it would hold all layers for
    nobody."""
    return CausalCache() if len(chunks) > 1 else None


def _frames(cfg: VAEConfig, a: int, b: int) -> slice:
    """The frames of latent frames a … b − 1: the first is one frame, the others stride_time each."""
    return slice(max(0, (a - 1) * cfg.stride_time + 1), (b - 1) * cfg.stride_time + 1)


def _size(cfg: VAEConfig, z_BCTHW: Tensor, size: tuple[int, int] | None) -> tuple[int, int]:
    height, width = z_BCTHW.shape[-2:]
    return size or (height * cfg.stride_space, width * cfg.stride_space)
