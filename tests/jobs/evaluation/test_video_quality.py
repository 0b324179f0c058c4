"""Figures of a reconstruction: each is what its formula says by hand, and moves the way its name says."""

import numpy as np
import pytest
import torch

from jobs.evaluation.video_quality import flicker, motion_sharpness, ssim


def noise(frames: int = 3, height: int = 16, width: int = 20, seed: int = 0, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, frames, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def grey(levels_THW: np.ndarray) -> torch.Tensor:
    """A grey video of levels 0 … 255, (1, 3, T, H, W)."""
    return torch.tensor(levels_THW, dtype=torch.float32)[None, None].expand(1, 3, -1, -1, -1) / 127.5 - 1


def stripes(offset: int, low: float = 40, high: float = 200, height: int = 16, width: int = 32) -> np.ndarray:
    """A frame of vertical bars four pixels wide, moved right by `offset`."""
    bars = np.where((np.arange(width) - offset) // 4 % 2 == 0, low, high)
    return np.broadcast_to(bars, (height, width))


def blurred(x: torch.Tensor) -> torch.Tensor:
    return (x.roll(1, -1) + x + x.roll(-1, -1)) / 3


def test_ssim_of_flat_frames_is_its_luminance_term():
    a, b = 0.25, 0.75  # of the range 0 … 1
    x, y = grey(np.full((1, 16, 16), 255 * a)), grey(np.full((1, 16, 16), 255 * b))
    assert float(ssim(x, y)) == pytest.approx((2 * a * b + 1e-4) / (a * a + b * b + 1e-4), abs=1e-5)


def test_ssim_of_one_window_is_the_formula_over_its_gaussian():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 1, (2, 11, 11))
    place = np.arange(11) - 5
    weights = np.exp(-(place[:, None] ** 2 + place[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
    var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
    cov = (weights * (a - mean_a) * (b - mean_b)).sum()
    wanted = (
        (2 * mean_a * mean_b + 1e-4)
        * (2 * cov + 9e-4)
        / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4))
    )
    assert float(ssim(grey(255 * a[None]), grey(255 * b[None]))) == pytest.approx(wanted, abs=1e-5)


def test_ssim_is_one_for_itself_symmetric_and_falls_with_noise():
    x = noise(batch=2) * 0.8
    torch.testing.assert_close(ssim(x, x), torch.ones(2))
    worse = [ssim(x, (x + share * noise(seed=1)).clamp(-1, 1)).mean() for share in (0.1, 0.3, 0.9)]
    assert 1 > worse[0] > worse[1] > worse[2]
    torch.testing.assert_close(ssim(x, x.flip(-1)), ssim(x.flip(-1), x))
    assert torch.isnan(ssim(noise(height=10), noise(height=10))).all(), "no window fits into ten pixels"


def test_flicker_is_the_change_that_a_still_scene_never_had():
    still = np.broadcast_to(stripes(0), (5, 16, 32)).copy()
    x = grey(still)
    assert float(flicker(x, x)) == 0
    shaking = still + 3.0 * (np.arange(5) % 2)[:, None, None]
    assert float(flicker(x, grey(shaking))) == pytest.approx(3.0, abs=1e-4)
    assert float(flicker(x, grey(still + 7.0))) == pytest.approx(0.0, abs=1e-4), (
        "an error that stays does not flicker"
    )


def test_flicker_counts_only_where_the_original_stands_still():
    moving = np.stack([np.hstack([stripes(0)[:, :16], stripes(4 * t)[:, :16]]) for t in range(4)])
    x, y = grey(moving), grey(moving).clone()
    y[..., 16:] = 0.0
    assert float(flicker(x, y)) == 0
    y[..., 1::2, :, :16] += 2 / 127.5
    assert float(flicker(x, y)) == pytest.approx(2.0, abs=1e-4)


def test_motion_sharpness_is_the_share_of_gradient_energy_that_is_left():
    x = grey(np.stack([stripes(2 * t) for t in range(4)]))
    assert float(motion_sharpness(x, x)) == pytest.approx(1.0)
    assert float(motion_sharpness(x, 0.5 * x)) == pytest.approx(0.25, abs=1e-5), (
        "half the contrast is a quarter of the energy"
    )
    assert float(motion_sharpness(x, blurred(x))) < 0.7


def test_motion_sharpness_does_not_see_what_stands_still():
    still, moving = np.stack([stripes(0)] * 4), np.stack([stripes(2 * t) for t in range(4)])
    x = torch.cat([grey(still), grey(moving)], dim=-1)
    y = torch.cat([torch.zeros_like(grey(still)), grey(moving)], dim=-1)
    assert float(motion_sharpness(x, y)) == pytest.approx(1.0, abs=0.05), "but for the seam"


def test_what_has_nothing_to_measure_is_not_a_number():
    image, still = noise(frames=1), noise(frames=1).expand(-1, -1, 4, -1, -1)
    moving = torch.cat([still, noise(frames=4, seed=3)])
    assert torch.isnan(flicker(image, image)).all()
    assert torch.isnan(motion_sharpness(image, image)).all()
    assert torch.isnan(motion_sharpness(moving, moving)).tolist() == [True, False]
    assert torch.isnan(flicker(moving, moving)).tolist() == [False, True]


def test_every_video_of_a_batch_is_measured_on_its_own():
    x, y = noise(batch=3, frames=4), noise(batch=3, frames=4, seed=1)
    for measure in (ssim, flicker, motion_sharpness):
        alone = torch.cat([measure(x[k : k + 1], y[k : k + 1]) for k in range(3)])
        torch.testing.assert_close(measure(x, y), alone, equal_nan=True)
