"""Perceptual distances: zero for equal videos, growing with what eyes mind, differentiable, asked for by
name."""

import sys

import pytest
import torch
from torch.nn.functional import avg_pool3d

from jobs.training.perceptual import EfficientNetDistance, perceptual_distance
from tests.support.footage import pan


@pytest.fixture(scope="module")
def distance() -> EfficientNetDistance:
    return EfficientNetDistance()


def video(seed: int, frames: int = 2, height: int = 64, width: int = 80) -> torch.Tensor:
    """A textured pan, (1, 3, T, H, W) in [-1, 1]."""
    return torch.from_numpy(pan(seed, frames, height, width)).permute(3, 0, 1, 2)[None].float() / 127.5 - 1


def blurred(x: torch.Tensor, side: int) -> torch.Tensor:
    return avg_pool3d(x, (1, side, side), 1, (0, side // 2, side // 2), count_include_pad=False)


def test_equal_videos_are_at_zero_and_blur_moves_them_apart(distance):
    x = torch.cat([video(1), video(2)])
    assert distance(x, x).tolist() == [0, 0]
    little, much = distance(x, blurred(x, 3)), distance(x, blurred(x, 7))
    assert (little > 0).all()
    assert (little < much).all()
    assert (much < 16).all()


def test_blur_is_further_off_than_a_shift_of_brightness_with_the_same_error(distance):
    x = video(1) * 0.8
    soft = blurred(x, 5)
    brighter = x + (soft - x).square().mean().sqrt()
    assert float(distance(x, soft)) > 2 * float(distance(x, brighter))


def test_each_video_is_measured_on_its_own_and_the_frames_of_one_are_averaged(distance):
    x, y = torch.cat([video(1), video(2)]), torch.cat([video(3), video(4)])
    torch.testing.assert_close(distance(x, y)[1:], distance(x[1:], y[1:]))
    frames = torch.cat([distance(x[:1, :, t : t + 1], y[:1, :, t : t + 1]) for t in range(2)])
    torch.testing.assert_close(distance(x[:1], y[:1])[0], frames.mean())


def test_gradients_reach_the_reconstruction_and_nothing_else(distance):
    x, y = video(1).requires_grad_(), blurred(video(1), 5).requires_grad_()
    distance(x, y).sum().backward()
    assert y.grad is not None
    assert torch.isfinite(y.grad).all()
    assert y.grad.abs().sum() > 0
    assert x.grad is None
    assert all(p.grad is None for p in distance._stages.parameters())


def test_descending_it_brings_a_blurred_frame_nearer(distance):
    x, y = video(1, frames=1), blurred(video(1, frames=1), 5).requires_grad_()
    optimizer, distances = torch.optim.Adam([y], lr=0.002), []
    for _ in range(8):
        optimizer.zero_grad()
        loss = distance(x, y).sum()
        loss.backward()
        optimizer.step()
        distances.append(float(loss.detach()))
    assert distances[-1] < 0.5 * distances[0]


@pytest.mark.parametrize("size", [(16, 16), (33, 70), (96, 64)])
def test_frames_of_any_size_are_taken(distance, size):
    x = video(1, 1, *size)
    assert float(distance(x, -x)) > 0


def test_under_autocast_it_computes_in_full_precision(distance):
    x, y = video(1), video(2)
    with torch.autocast("cpu", torch.bfloat16):
        inside = distance(x.bfloat16(), y.bfloat16())
    torch.testing.assert_close(inside, distance(x.bfloat16().float(), y.bfloat16().float()))


def test_making_one_draws_no_numbers_of_anybody_elses():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    perceptual_distance("efficientnet")
    assert torch.equal(torch.get_rng_state(), state)


def test_a_wrong_name_gets_the_near_miss():
    with pytest.raises(ValueError, match="did you mean 'lpips'"):
        perceptual_distance("lpip")
    with pytest.raises(ValueError, match="brings its weights along"):
        perceptual_distance("efficientnet", "weights.pt")


def test_lpips_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(ValueError, match="pip install lpips; or take 'efficientnet'"):
        perceptual_distance("lpips", "weights.pt")


def test_lpips_is_the_packages_own_with_the_weights_of_a_file(tmp_path):
    lpips = pytest.importorskip("lpips", reason="an extra that is not installed: pip install lpips")
    torch.manual_seed(0)
    net = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)
    torch.save(net.state_dict(), tmp_path / "alex.pt")
    x, y = video(1), video(2).requires_grad_()
    with torch.no_grad():
        wanted = torch.stack([net(x[:, :, t], y[:, :, t]).mean() for t in range(2)]).mean()
    made = perceptual_distance("lpips", tmp_path / "alex.pt")(x, y)
    torch.testing.assert_close(made.detach(), wanted[None])
    made.sum().backward()
    assert y.grad is not None
    with pytest.raises(ValueError, match="needs its weights"):
        perceptual_distance("lpips")
    with pytest.raises(FileNotFoundError, match="no weights of 'lpips' in"):
        perceptual_distance("lpips", tmp_path / "none.pt")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="holds no state of lpips"):
        perceptual_distance("lpips", tmp_path / "other.pt")
