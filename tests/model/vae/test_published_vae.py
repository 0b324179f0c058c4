"""Published VAEs are used as ours is, and give what diffusers' own classes give."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoint.weights import load_vae, read_vae_config, vae_files
from model.vae.published import PublishedVAE
from tests.support.tiny_models import tiny_cogvideox, tiny_wan

TINY = {"wan": tiny_wan, "cogvideox": tiny_cogvideox}
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in TINY.items()}


@pytest.fixture(params=TINY)
def folder(request, folders) -> Path:
    return folders[request.param]


@pytest.fixture
def vae(folder) -> PublishedVAE:
    loaded = load_vae(folder)
    assert isinstance(loaded, PublishedVAE)
    return loaded


def video(frames: int, height: int = 16, width: int = 24) -> torch.Tensor:
    return torch.rand(1, 3, frames, height, width, generator=torch.Generator().manual_seed(frames)) * 2 - 1


def edited(folder: Path, target: Path, **settings: object) -> Path:
    """A copy of a VAE whose config says something else; None takes a setting away."""
    config = json.loads((folder / "config.json").read_text()) | settings
    target.mkdir()
    (target / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    (target / WEIGHTS).symlink_to(folder / WEIGHTS)
    return target


@pytest.mark.parametrize("frames", [1, 5, 9, 13, 17])
@pytest.mark.parametrize("size", [(16, 24), (13, 18)])
def test_a_video_of_any_length_and_size_comes_back_in_its_shape(vae, frames, size):
    z = vae.encode_latents(video(frames, *size))
    assert z.shape == (1, vae.cfg.latent_channels, (frames - 1) // vae.cfg.stride_time + 1, 2, 3)
    assert vae.decode_latents(z, size).shape == (1, 3, frames, *size)
    assert vae.decode_latents(z).shape == (1, 3, frames, 16, 24)


def test_it_is_what_the_class_of_diffusers_makes(vae):
    x = video(17)
    theirs = vae.network.encode(x).latent_dist.mean
    posterior = vae.encode(x)
    assert torch.equal(posterior.mean, theirs)
    assert torch.equal(vae.decode(posterior.mean), vae.network.decode(theirs).sample)


def test_pieces_are_the_whole(vae):
    z = vae.encode(video(17)).mean
    pieces = list(vae.decode_stream(z, 1))
    assert len(pieces) > 1
    assert torch.equal(torch.cat(pieces, dim=2), vae.decode(z))
    assert torch.equal(vae.decode_chunked(z, 2, (13, 18)), vae.decode(z)[..., :13, :18])
    with pytest.raises(ValueError, match="at least 1 latent frame"):
        next(vae.decode_stream(z, 0))


def test_streams_side_by_side_do_not_meet(vae):
    a, b = (vae.encode(video(frames)).mean for frames in (9, 17))
    together = list(zip(vae.decode_stream(a, 1), vae.decode_stream(b, 1), strict=False))
    assert torch.equal(torch.cat([x for x, _ in together], dim=2), vae.decode(a))


def test_the_first_latent_is_the_first_frame(vae):
    x = video(9)
    still = x[:, :, :1].expand(-1, -1, 9, -1, -1)
    first = vae.encode(x[:, :, :1]).mean
    torch.testing.assert_close(vae.encode(still).mean[:, :, :1], first)
    if vae.cfg.class_name == "AutoencoderKLWan":  # the other normalises over time
        torch.testing.assert_close(vae.encode(x).mean[:, :, :1], first)


def test_latents_are_normalised_by_what_the_publisher_measured(folders):
    wan, cogvideox = load_vae(folders["wan"]), load_vae(folders["cogvideox"])
    x = video(5)
    mean, std = (torch.tensor(v).view(4, 1, 1, 1) for v in ([-1.0, 0.0, 0.5, 2.0], [0.5, 1.0, 2.0, 3.0]))
    torch.testing.assert_close(wan.encode_latents(x), (wan.encode(x).mean - mean) / std)
    torch.testing.assert_close(cogvideox.encode_latents(x), (cogvideox.encode(x).mean - 0.25) * 0.5)
    for vae in (wan, cogvideox):
        z = vae.encode(x).mean
        torch.testing.assert_close(vae.denormalise(vae.normalise(z)), z)


def test_an_even_number_of_latents_is_decoded_as_the_longer_video_begins(folders):
    vae = load_vae(folders["cogvideox"])
    z = vae.encode(video(5)).mean
    longer = torch.cat([z, z[:, :, -1:]], dim=2)
    assert torch.equal(vae.decode(z), vae.decode(longer)[:, :, :5])


def test_frames_that_do_not_fit_are_told_the_near_misses(vae):
    with pytest.raises(ValueError, match=r"video of 7 frames: the VAE takes 4k \+ 1 of them; use 5 or 9"):
        vae.encode(video(7))
    with pytest.raises(ValueError, match=r"expected \(B, 3, T, H, W\)"):
        vae.encode(video(5)[0])


def test_it_is_loaded_frozen_and_nothing_is_drawn(folder):
    before = torch.get_rng_state()
    vae = load_vae(folder)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in vae.modules())
    assert not any(parameter.requires_grad for parameter in vae.parameters())
    saved = load_file(folder / WEIGHTS)
    assert saved.keys() == vae.network.state_dict().keys()
    assert all(torch.equal(vae.network.state_dict()[name], tensor) for name, tensor in saved.items())


def test_half_precision_is_inside_only(folder):
    vae = load_vae(folder, dtype=torch.bfloat16)
    assert {p.dtype for p in vae.parameters()} == {torch.bfloat16}
    z = vae.encode_latents(video(5))
    assert z.dtype == vae.decode_latents(z).dtype == vae.latent_std.dtype == torch.float32
    torch.testing.assert_close(z, load_vae(folder).encode_latents(video(5)), atol=0.3, rtol=0.1)


def test_patches_of_wan_2_2(tmp_path):
    vae = load_vae(tiny_wan(tmp_path, is_residual=True, patch_size=2, in_channels=12, out_channels=12))
    assert vae.cfg.stride_space == 16
    x = video(9, 30, 32)
    z = vae.encode(x).mean
    assert z.shape == (1, 4, 3, 2, 2)
    assert torch.equal(vae.decode(z), vae.network.decode(z).sample)
    assert vae.decode(z, (30, 32)).shape == x.shape


def test_its_config_is_read_without_its_weights(folder, tmp_path):
    target = edited(folder, tmp_path / "vae")
    (target / WEIGHTS).unlink()
    config = read_vae_config(target)
    assert [config[key] for key in ("latent_channels", "stride_time", "stride_space")] == [4, 4, 8]
    assert vae_files(target) == (WEIGHTS, "config.json")
    with pytest.raises(FileNotFoundError, match=f"no {WEIGHTS}"):
        load_vae(target)


def test_weights_that_do_not_fit_are_told_apart(folder, tmp_path):
    target = edited(folder, tmp_path / "vae")
    state = load_file(folder / WEIGHTS)
    state["decoder.conv_inn"] = state.pop(next(name for name in state if name.startswith("decoder.conv_in.")))
    (target / WEIGHTS).unlink()
    save_file(state, target / WEIGHTS)
    with pytest.raises(
        ValueError, match=r"missing \(1\): decoder\.conv_in\..*unexpected \(1\): decoder\.conv_inn"
    ):
        load_vae(target)
    (target / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_vae(target)
    (target / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        load_vae(target)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"_class_name": "AutoencoderKLWann"},
            "published VAE 'AutoencoderKLWann' is not known; did you mean 'AutoencoderKLWan'?"),
        ({"_class_name": "AutoencoderDC"}, "known: AutoencoderKLWan, AutoencoderKLCogVideoX"),
        ({"z_dim": None}, "describes no AutoencoderKLWan that can be used: it has no 'z_dim'"),
        ({"latents_std": [1.0] * 16}, "16 numbers of latent_std for 4 latent channels"),
        ({"temperal_downsample": [True, True, True]}, "makes 8 frames a latent"),
    ],
)  # fmt: skip
def test_a_folder_of_something_else_is_told_what_is_known(folders, tmp_path, settings, error):
    with pytest.raises(ValueError, match=r"config\.json") as raised:
        load_vae(edited(folders["wan"], tmp_path / "vae", **settings))
    assert error in str(raised.value)


def test_without_diffusers_it_says_what_to_install(folder, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install 'rushes\[published\]'"):
        load_vae(folder)
