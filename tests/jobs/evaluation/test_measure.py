"""Figures of windows and their means: the original itself is perfect, and what can't be measured is left
out."""

import pytest
import torch

from jobs.evaluation.measure import FIGURES, measure, summary
from jobs.training.perceptual import perceptual_distance
from tests.support.footage import pan


def video(frames: int) -> torch.Tensor:
    return torch.from_numpy(pan(1, frames, 48, 64, right=3.0)).permute(3, 0, 1, 2)[None].float() / 127.5 - 1


def test_the_original_itself_is_perfect_and_a_still_image_has_no_motion():
    distance, x = perceptual_distance("efficientnet"), video(5)
    figures = measure(x, x, distance)
    assert tuple(figures) == FIGURES
    assert figures["psnr_db"] > 100
    assert (figures["ssim"], figures["perceptual"]) == (pytest.approx(1), 0)
    assert figures["flicker"] in (0, None)
    assert figures["motion_sharpness"] == pytest.approx(1)
    image = measure(x[:, :, :1], -x[:, :, :1], distance)
    assert (image["flicker"], image["motion_sharpness"]) == (None, None)
    assert image["perceptual"] > 0


def test_a_mean_leaves_out_what_was_not_measured_and_says_how_many_were():
    one = dict.fromkeys(FIGURES, 1.0)
    found = summary([one, {**one, "psnr_db": 3.0, "flicker": None}, {**one, "flicker": 4.0}])
    assert (found["psnr_db"], found["flicker"]) == (pytest.approx(5 / 3), 2.5)
    assert (found["windows"], found["windows_with"]) == (3, {"flicker": 2})
    assert summary([{**one, "flicker": None}])["flicker"] is None
