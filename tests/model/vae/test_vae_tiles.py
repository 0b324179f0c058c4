"""Tiles and chunks give what the whole gives, from memory that neither size nor length changes."""

import weakref
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from model.config import VAEConfig, vae_config
from model.vae.network import VAE, Posterior
from model.vae.tiles import (
    Tiling,
    blend_weights,
    decode_tiled,
    decode_tiled_stream,
    decode_tiles,
    decoder_halo,
    encode_tiled,
    encoder_halo,
    encoder_receptive_field,
    plan_axis,
)
from tests.model.vae.deep_vae import deep_vae


def config(space: int = 8, patch: int = 4, blocks: int = 1, time: int = 4) -> VAEConfig:
    """A VAE of a few thousand parameters."""
    count = max({1: 0, 2: 1, 4: 2, 8: 3}[time], {1: 0, 2: 1, 4: 2, 8: 3, 16: 4}[space // patch])
    return VAEConfig(
        4, time, space, patch, 8, [1] * (count + 1), encoder_blocks=blocks, decoder_blocks=blocks
    )


CONFIGS = {
    "tiny": vae_config("tiny", base_channels=8, latent_channels=4),
    "base": vae_config("base", base_channels=8, latent_channels=4),
    "space16-patch4": config(16, 4),
    "space8-patch2": config(8, 2),
    "space8-patch1": config(8, 1),
}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def assert_same(result: Posterior, whole: Posterior, atol: float = 1e-5) -> None:
    torch.testing.assert_close(result.mean, whole.mean, atol=atol, rtol=0)
    torch.testing.assert_close(result.logvar, whole.logvar, atol=atol, rtol=0)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(["tiny", "space16-patch4", "space8-patch2"]),
    latent_frames=st.integers(1, 3),
    size=st.tuples(st.integers(1, 100), st.integers(1, 140)),
    tile=st.integers(1, 6),
    chunk=st.integers(1, 3),
)
def test_a_video_or_image_of_any_size_in_any_tiles_and_chunks_gives_what_the_whole_gives(
    name, latent_frames, size, tile, chunk
):
    cfg = CONFIGS[name]
    vae, x = deep_vae(cfg), noise(1, 3, 4 * latent_frames - 3, *size)
    with torch.no_grad():
        whole = vae.encode(x)
        assert_same(encode_tiled(vae, x, tile * cfg.stride_space, 4 * chunk), whole)
        decoded = vae.decode(whole.mean, size)
    tiled = decode_tiled(vae, whole.mean, Tiling(tile, chunk), size)
    torch.testing.assert_close(tiled, decoded, atol=1e-5, rtol=0)
    pieces = list(decode_tiled_stream(vae, whole.mean, Tiling(tile, chunk), size))
    assert torch.equal(torch.cat(pieces, dim=2), tiled)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_latent_sees_exactly_as_far_as_the_encoders_reach(name):
    cfg = CONFIGS[name]
    vae, reach, stride = deep_vae(cfg).double(), encoder_receptive_field(cfg), cfg.stride_space
    core = encoder_halo(cfg) // stride + 1
    assert encoder_halo(cfg) - stride < reach <= encoder_halo(cfg)
    x = noise(1, 1, 2 * stride, (2 * core + 1) * stride, 3).double()

    def changes(column: int) -> bool:
        other = x.clone()
        other[:, :, :, column] *= -1
        return not torch.equal(vae.encoder(other, None)[:, :, :, core], z)

    with torch.no_grad():
        z = vae.encoder(x, None)[:, :, :, core]
        left, right = core * stride, (core + 1) * stride
        assert [changes(c) for c in (left - reach - 1, left - reach)] == [False, True]
        assert [changes(c) for c in (right + reach, right + reach - 1)] == [False, True]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_latents_pixels_see_exactly_as_far_as_the_decoders_halo(name):
    cfg = CONFIGS[name]
    vae, halo, stride = deep_vae(cfg).double(), decoder_halo(cfg), cfg.stride_space
    z = noise(1, 1, 1, 2 * halo + 3, cfg.latent_channels).double()
    core = slice((halo + 1) * stride, (halo + 2) * stride)

    def changes(column: int) -> bool:
        other = z.clone()
        other[:, :, :, column] *= -1
        return not torch.equal(vae.decoder(other, None)[:, :, :, core], x)

    with torch.no_grad():
        x = vae.decoder(z, None)[:, :, :, core]
        assert [changes(c) for c in range(2 * halo + 3)] == [False, *[True] * (2 * halo + 1), False]


@pytest.mark.parametrize("name", CONFIGS)
def test_no_seam_shows_where_latents_change_along_the_edge_only(name):
    """Then every jump from latent to latent across the edge is the same in the whole: none may stand out."""
    vae, stride, tile = deep_vae(CONFIGS[name]), CONFIGS[name].stride_space, 12
    angle = torch.linspace(0, 3, 4)[:, None] + 1.7 * torch.arange(4)[:, None, None, None]
    z = torch.sin(angle).expand(1, 4, 1, 4, 3 * tile).contiguous()
    with torch.no_grad():
        whole = vae.decode(z)

    def jumps(x: torch.Tensor) -> torch.Tensor:
        return (x[..., 1:] - x[..., :-1]).abs().mean((0, 1, 2, 3))[stride - 1 :: stride]

    edges = [tile - 1, 2 * tile - 1]
    inside = jumps(whole).median()
    for halo in (1, 2, 4):
        tiled = decode_tiled(vae, z, Tiling(tile, 1, halo))
        assert jumps(tiled)[edges].max() <= 1.01 * jumps(tiled).median()
        assert jumps(tiled - whole)[edges].max() <= inside * {1: 0.5, 2: 0.1, 4: 0.01}[halo]


def test_a_smooth_picture_in_tiles_has_no_larger_jumps_than_the_whole():
    vae = deep_vae(CONFIGS["tiny"])
    x = torch.sin(torch.linspace(0, 6, 192) + torch.linspace(0, 4, 96)[:, None]).expand(1, 3, 1, 96, 192)
    with torch.no_grad():
        whole = vae.encode(x).mean
    errors = [(encode_tiled(vae, x, 64, 4, halo).mean - whole).abs() for halo in (0, 16, 32, None)]
    jumps = [(e[..., 1:] - e[..., :-1])[..., [7, 15]].abs().max() for e in errors]
    assert jumps[0] > jumps[1] > jumps[2] > jumps[3]
    assert jumps[3] < 1e-5


@settings(max_examples=100, deadline=None)
@given(length=st.integers(1, 300), tile=st.integers(1, 64), halo=st.integers(0, 20), scale=st.integers(1, 4))
def test_cores_cover_the_plane_once_in_nearly_equal_parts_and_weights_sum_to_one(length, tile, halo, scale):
    parts = plan_axis(length, tile, halo)
    assert [i for p in parts for i in range(p.core.start, p.core.stop)] == list(range(length))
    cores = [p.core.stop - p.core.start for p in parts]
    assert max(cores) <= tile
    assert max(cores) - min(cores) <= 1
    assert all(p.outer == slice(max(0, p.core.start - halo), min(length, p.core.stop + halo)) for p in parts)
    total = torch.zeros(length * scale)
    for part, weight in zip(parts, blend_weights(parts, scale), strict=True):
        assert weight.min() > 0
        total[part.outer.start * scale : part.outer.stop * scale] += weight
    torch.testing.assert_close(total, torch.ones(length * scale))


def test_one_tile_and_the_whole_in_the_same_chunks_are_the_same_bits():
    vae, x = deep_vae(CONFIGS["tiny"]), noise(2, 3, 13, 27, 40)
    with torch.no_grad():
        whole = vae.encode_chunked(x, 4)
        assert_same(encode_tiled(vae, x, 64, 4), whole, atol=0)
        decoded = vae.decode_chunked(whole.mean, 2, (27, 40))
        assert torch.equal(decode_tiled(vae, whole.mean, Tiling(8, 2), (27, 40)), decoded)


def test_a_longer_video_starts_with_the_same_bits():
    vae, x = deep_vae(CONFIGS["tiny"]), noise(1, 3, 17, 64, 48)
    short, long = (encode_tiled(vae, x[:, :, :t], 16, 8) for t in (9, 17))
    assert_same(Posterior(long.mean[:, :, :3], long.logvar[:, :, :3]), short, atol=0)
    first = next(decode_tiled_stream(vae, long.mean, Tiling(2, 3)))
    assert torch.equal(first, decode_tiled(vae, short.mean, Tiling(2, 3)))


def test_pixels_can_be_written_over_a_file_and_tiles_taken_one_by_one(tmp_path):
    vae, z = deep_vae(CONFIGS["tiny"]), noise(1, 4, 3, 5, 9)
    pixels = decode_tiled(vae, z, Tiling(3, 1))
    shape = (1, 3, 9, 40, 72)
    stored = torch.from_file(str(tmp_path / "video"), shared=True, size=pixels.numel()).view(shape)
    assert decode_tiled(vae, z, Tiling(3, 1), out=stored) is stored
    assert torch.equal(stored, pixels)
    mosaic = torch.full(shape, float("nan"))
    for place, piece in decode_tiles(vae, z, Tiling(3, 1)):
        assert mosaic[:, :, *place].isnan().all()
        mosaic[:, :, *place] = piece
    assert torch.equal(mosaic, pixels)


class Memory(TorchDispatchMode):
    """Counts the bytes of what is allocated inside it and still held. On the meta device, where nothing is
    computed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.holders: Counter[int] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        inputs = {
            t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)
        }
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key in inputs and key not in self.holders:
                continue  # a view of something from outside
            if not self.holders[key]:
                self.now += size
            self.holders[key] += 1
            weakref.finalize(tensor, self.release, key, size)
        self.peak = max(self.peak, self.now)
        return result

    def release(self, key: int, size: int) -> None:
        self.holders[key] -= 1
        if not self.holders[key]:
            del self.holders[key]
            self.now -= size


def test_memory_does_not_depend_on_size_or_length():
    vae = VAE(vae_config("tiny")).to("meta").eval()

    def peaks(side: int, frames: int) -> tuple[int, int]:
        x = torch.empty(1, 3, frames, side, side, device="meta")
        with Memory() as encoding:
            posterior = encode_tiled(vae, x, 128, 4)
        latents = posterior.mean.untyped_storage().nbytes()
        with Memory() as decoding:
            decode_tiled(vae, posterior.mean, Tiling(16, 1), out=x)
        return encoding.peak - latents, decoding.peak

    assert peaks(1024, 9) == peaks(512, 33)


def test_memory_of_a_stream_does_not_depend_on_length():
    vae = VAE(vae_config("tiny")).to("meta").eval()
    peaks = []
    for latent_frames in (3, 9):
        z = torch.empty(1, 8, latent_frames, 20, 30, device="meta")
        with Memory() as memory:
            for _ in decode_tiled_stream(vae, z, Tiling(12, 1)):
                pass
        peaks.append(memory.peak)
    assert peaks[0] == peaks[1]


def test_memory_of_the_whole_does_depend_on_both():
    """Or the two tests above would see nothing."""
    vae = VAE(vae_config("tiny")).to("meta").eval()
    peaks = []
    for side, frames in ((64, 5), (128, 5), (64, 9)):
        with Memory() as memory, torch.no_grad():
            vae.encode(torch.empty(1, 3, frames, side, side, device="meta"))
        peaks.append(memory.peak)
    assert peaks[1] > 3 * peaks[0]
    assert peaks[2] > 1.5 * peaks[0]


def test_results_carry_no_gradients():
    vae, x = deep_vae(CONFIGS["tiny"]), noise(1, 3, 1, 16, 16)
    z = encode_tiled(vae, x, 8, 4).mean
    assert not z.requires_grad
    assert not any(piece.requires_grad for piece in decode_tiled_stream(vae, z, Tiling(1, 1)))
    assert torch.is_grad_enabled()


def test_what_can_not_be_tiled_is_refused_with_the_reason():
    vae, x, z = deep_vae(CONFIGS["tiny"]), noise(1, 3, 5, 16, 16), noise(1, 4, 2, 2, 2)
    with pytest.raises(ValueError, match="tile_px=12"):
        encode_tiled(vae, x, 12, 4)
    with pytest.raises(ValueError, match="halo=4 must be multiples of stride_space=8"):
        encode_tiled(vae, x, 8, 4, halo=4)
    with pytest.raises(ValueError, match="use 1 or 5"):
        encode_tiled(vae, x[:, :, :4], 8, 4)
    with pytest.raises(ValueError, match="chunk_frames=6"):
        encode_tiled(vae, x, 8, 6)
    with pytest.raises(ValueError, match="a tile of 0 latents"):
        decode_tiled(vae, z, Tiling(0, 1))
    with pytest.raises(ValueError, match="chunk=0"):
        decode_tiled(vae, z, Tiling(1, 0))
