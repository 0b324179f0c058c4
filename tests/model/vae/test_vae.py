"""The VAE looks back only, takes any size, and gives in chunks what it gives whole."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import VAEConfig, vae_config
from model.seeding import normal_like
from model.vae.blocks import fold, unfold
from model.vae.loss import psnr_db, vae_loss
from model.vae.network import VAE, latent_stats
from tests.model.vae.deep_vae import deep_vae


def small(**overrides) -> VAE:
    """An untrained VAE of a few thousand parameters whose outputs are far from constant."""
    return deep_vae(vae_config("tiny", **{"base_channels": 8, "latent_channels": 4, **overrides}))


def video(frames: int, height: int = 16, width: int = 24, seed: int = 0, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, frames, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize(
    "strides",
    [(4, 8, 4), (4, 8, 2), (4, 16, 4), (8, 8, 4), (4, 8, 1)],
    ids=lambda s: "time{}-space{}-patch{}".format(*s),
)
def test_every_stride_gives_the_shapes_it_promises(strides):
    time, space, patch = strides
    levels = {(4, 8, 4): 3, (4, 8, 2): 3, (4, 16, 4): 3, (8, 8, 4): 4, (4, 8, 1): 4}[strides]
    cfg = VAEConfig(
        4, stride_time=time, stride_space=space, patch=patch, base_channels=8, multipliers=[1] * levels
    )
    vae = deep_vae(cfg)
    with torch.no_grad():
        z = vae.encode(video(2 * time + 1, 32, 48)).mean
        assert z.shape == (1, 4, 3, 32 // space, 48 // space)
        assert vae.decode(z).shape == (1, 3, 2 * time + 1, 32, 48)


@settings(max_examples=12, deadline=None)
@given(latent_frames=st.integers(1, 6), encode_chunk=st.integers(1, 4), decode_chunk=st.integers(1, 4))
def test_a_video_in_chunks_gives_what_the_whole_gives(latent_frames, encode_chunk, decode_chunk):
    vae, x = small(), video(4 * latent_frames - 3)
    with torch.no_grad():
        whole, chunks = vae.encode(x), vae.encode_chunked(x, 4 * encode_chunk)
        torch.testing.assert_close(chunks.mean, whole.mean, atol=1e-5, rtol=0)
        torch.testing.assert_close(chunks.logvar, whole.logvar, atol=1e-5, rtol=0)
        decoded = vae.decode(whole.mean)
        torch.testing.assert_close(vae.decode_chunked(whole.mean, decode_chunk), decoded, atol=1e-5, rtol=0)
        assert decoded.std() > 0.01


def test_a_stream_of_pieces_starts_with_one_frame_and_goes_on_by_the_stride():
    vae, z = small(), torch.randn(1, 4, 3, 2, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert [piece.shape[2] for piece in vae.decode_stream(z, 1)] == [1, 4, 4]


def test_an_image_is_the_first_frame_of_a_video():
    vae, x = small(), video(9)
    with torch.no_grad():
        z = vae.encode(x).mean
        torch.testing.assert_close(vae.encode(x[:, :, :1]).mean, z[:, :, :1], atol=1e-5, rtol=0)
        torch.testing.assert_close(vae.decode(z[:, :, :1]), vae.decode(z)[:, :, :1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("changed_from", [1, 5, 9])
def test_later_frames_do_not_change_earlier_latents_and_do_change_their_own(changed_from):
    vae, x = small(), video(13)
    other = torch.cat([x[:, :, :changed_from], video(13, seed=1)[:, :, changed_from:]], dim=2)
    same = (changed_from - 1) // 4 + 1
    with torch.no_grad():
        z, w = vae.encode(x).mean, vae.encode(other).mean
        torch.testing.assert_close(w[:, :, :same], z[:, :, :same], atol=1e-6, rtol=0)
        assert (w[:, :, same] - z[:, :, same]).abs().max() > 1e-3


def test_sizes_off_the_stride_are_padded_and_cropped_back():
    vae, x = small(), video(5, 19, 30)
    with torch.no_grad():
        z = vae.encode(x).mean
        assert z.shape[-2:] == (3, 4)
        assert vae.decode(z, size=(19, 30)).shape == x.shape
        padded = torch.cat([x, *[x[..., -1:]] * 2], dim=-1)
        padded = torch.cat([padded, *[padded[..., -1:, :]] * 5], dim=-2)
        torch.testing.assert_close(vae.encode(padded).mean, z)


def test_frame_counts_that_do_not_fit_are_told_the_nearest_that_do():
    with pytest.raises(ValueError, match=r"7 frames.*use 5 or 9"):
        small().encode(video(7))
    with pytest.raises(ValueError, match="chunk_frames=6"):
        small().encode_chunked(video(9), 6)
    with pytest.raises(ValueError, match=r"expected \(B, 3, T, H, W\)"):
        small().encode(video(5)[0])


def test_normalised_latents_have_mean_0_and_std_1_per_channel_and_come_back():
    vae, x = small(), video(9, batch=2)
    with torch.no_grad():
        mean = vae.encode(x).mean
        vae.set_latent_stats(*latent_stats(iter([mean[:1], mean[1:]])))
        z = vae.encode_latents(x)
        torch.testing.assert_close(z.mean((0, 2, 3, 4)), torch.zeros(4), atol=1e-4, rtol=0)
        torch.testing.assert_close(z.std((0, 2, 3, 4), correction=0), torch.ones(4), atol=1e-4, rtol=0)
        torch.testing.assert_close(vae.denormalise(z), mean)
        torch.testing.assert_close(vae.decode_latents(z), vae.decode(mean), atol=1e-4, rtol=0)
    assert {"latent_mean", "latent_std"} <= vae.state_dict().keys()


def test_folding_and_unfolding_are_inverse():
    x = torch.randn(2, 4, 6, 8, 5)
    torch.testing.assert_close(unfold(fold(x, (2, 2)), (2, 2)), x, atol=0, rtol=0)


def test_loss_and_psnr_by_hand():
    x = torch.zeros(2, 3, 1, 2, 2)
    recon = torch.stack([torch.full((3, 1, 2, 2), 0.5), torch.full((3, 1, 2, 2), 2.0)])
    torch.testing.assert_close(
        psnr_db(x, recon), torch.tensor([12.0412, 6.0206]), atol=1e-3, rtol=0
    )  # 2.0 is clamped to 1
    posterior = small().encode(video(1))
    posterior.mean, posterior.logvar = torch.ones(1, 4, 1, 1, 1), torch.zeros(1, 4, 1, 1, 1)
    loss, parts = vae_loss(
        x, posterior, recon, kl_weight=0.1, perceptual=lambda a, b: (a - b).square(), perceptual_weight=2.0
    )
    assert parts["l1"] == pytest.approx(1.25)
    assert parts["kl"] == pytest.approx(0.5)
    assert parts["perceptual"] == pytest.approx(2.125)
    assert loss.item() == pytest.approx(1.25 + 0.05 + 4.25)


def test_weights_and_draws_follow_from_seeds_and_leave_the_global_state_alone():
    before = torch.get_rng_state()
    a, b, c = (VAE(vae_config("tiny", base_channels=8), seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a.encoder.enter.weight, b.encoder.enter.weight)
    assert not torch.equal(a.encoder.enter.weight, c.encoder.enter.weight)
    posterior = a.encode(video(5))
    draws = [posterior.sample(torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(torch.get_rng_state(), before)
    assert (
        normal_like(torch.zeros(2, dtype=torch.bfloat16), torch.Generator().manual_seed(0)).dtype
        == torch.bfloat16
    )


def test_a_tiny_vae_overfits_one_video():
    generator = torch.Generator().manual_seed(0)
    vae = VAE(vae_config("tiny", base_channels=16, multipliers=[1, 1, 2]))
    x = torch.nn.functional.interpolate(video(3, 4, 4), size=(5, 16, 16), mode="trilinear")
    optimiser = torch.optim.AdamW(vae.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        posterior, recon = vae(x, generator)
        loss, _ = vae_loss(x, posterior, recon, kl_weight=1e-6)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < losses[0] / 4
