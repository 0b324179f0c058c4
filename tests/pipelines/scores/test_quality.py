"""Measures of quality follow what is done to a picture, and nothing else: not its bars, not its place on a
grid."""

from itertools import pairwise

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.scores import quality
from pipelines.scores.base import NativeFrame
from pipelines.scores.config import ScoreConfig
from tests.support.footage import real_clips, texture


@pytest.fixture(scope="module")
def pictures():
    """Luma of a frame of each real clip."""
    found = []
    for path in real_clips().values():
        with av.open(str(path)) as container:
            found.append(
                next(p for k, p in enumerate(container.decode(video=0)) if k == 40).to_ndarray(format="gray")
            )
    return found


def compressed(gray, level):
    _, data = cv2.imencode(".jpg", gray, (cv2.IMWRITE_JPEG_QUALITY, level))
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


def noisy(gray, sigma, seed=0):
    noise = np.random.default_rng(seed).normal(0, sigma, gray.shape)
    return np.clip(np.round(gray + noise), 0, 255).astype(np.uint8)


def rises(values):
    return all(a < b for a, b in pairwise(values))


def test_blur_rises_and_sharpness_falls_with_the_width_of_a_blur(pictures):
    for gray in pictures:
        blurred = [gray, *(cv2.GaussianBlur(gray, (0, 0), sigma) for sigma in (0.6, 1, 1.5, 2.2, 3))]
        assert rises([quality.blur(picture) for picture in blurred])
        assert rises([-quality.sharpness(picture) for picture in blurred])


def test_noise_is_what_was_added(pictures):
    for gray in pictures:
        for sigma in (3, 6, 12):
            true = np.hypot(sigma, quality.noise(gray))
            assert quality.noise(noisy(gray, sigma)) == pytest.approx(true, rel=0.15)


def test_noise_alone_is_measured_alone():
    flat = np.full((120, 160), 128, np.uint8)
    assert quality.noise(flat) == 0.0
    assert quality.noise(noisy(flat, 5)) == pytest.approx(5, rel=0.1)


def test_blockiness_rises_as_jpeg_gets_coarser_and_is_little_before(pictures):
    for gray in pictures:
        values = [quality.blockiness(compressed(gray, level)) for level in (80, 50, 30, 15, 8)]
        assert all(a <= b for a, b in pairwise(values))
        assert quality.blockiness(cv2.GaussianBlur(gray, (0, 0), 0.8)) < 0.13 < values[-1]


@settings(max_examples=20, deadline=None)
@given(x=st.integers(0, 15), y=st.integers(0, 15))
def test_a_grid_is_seen_wherever_it_begins(x, y):
    blocky = compressed(noisy(texture(2, 240, 320)[..., 1], 4), 8)
    whole, moved = quality.blockiness(blocky), quality.blockiness(blocky[y:, x:])
    assert moved == pytest.approx(whole, rel=0.15)


@pytest.mark.parametrize("factor", [2 / 3, 0.75, 4 / 3, 1.5, 2.0])
def test_a_grid_is_seen_after_scaling(pictures, factor):
    clean = cv2.resize(pictures[0], None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    blocky = cv2.resize(
        compressed(pictures[0], 8), None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR
    )
    assert quality.blockiness(blocky) > 0.1 + quality.blockiness(clean)


def test_neither_a_fence_nor_noise_is_a_grid():
    fence = texture(4, 240, 320)[..., 1].copy()
    fence[:, 10::29] = 255
    assert quality.blockiness(fence) < 0.1
    assert quality.blockiness(noisy(np.full((240, 320), 128, np.uint8), 10)) < 0.05


def test_bars_hide_nothing(pictures):
    look = quality.METER.load(ScoreConfig(), "fp32")

    def row(gray):
        return look(
            NativeFrame(av.VideoFrame.from_ndarray(np.repeat(gray[..., None], 3, axis=2), format="rgb24"))
        )

    plain = noisy(pictures[1], 4)
    framed = cv2.copyMakeBorder(plain, 64, 64, 0, 0, cv2.BORDER_CONSTANT, value=0)
    assert row(framed) == pytest.approx(row(plain), rel=0.05, abs=0.01)


def test_a_flat_or_tiny_picture_has_no_value_where_there_is_none():
    flat = np.full((240, 320), 128, np.uint8)
    assert quality.blur(flat) is None
    assert quality.blockiness(flat) == 0.0
    assert quality.noise(np.zeros((8, 8), np.uint8)) is None
    assert quality.blockiness(np.zeros((64, 64), np.uint8)) is None


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 271), (300, 1), (3, 5)])
def test_pictures_of_a_line_or_a_pixel_are_looked_at(size):
    gray = np.random.default_rng(1).integers(0, 255, size, np.uint8)
    look = quality.METER.load(None, "fp32")
    frame = NativeFrame(av.VideoFrame.from_ndarray(np.repeat(gray[..., None], 3, axis=2), format="rgb24"))
    assert set(look(frame)) == {"sharpness", "blockiness", "blur", "noise"}
