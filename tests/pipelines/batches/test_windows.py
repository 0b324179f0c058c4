"""Shapes and windows: native aspect kept, 4k+1 frames, and no moment both trained on and held out."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.batches.config import ShapeConfig, WindowConfig
from pipelines.batches.shapes import crop_coverage, fit_frames, fit_shape
from pipelines.batches.windows import HELD_OUT, TRAIN, plan_windows, time_blocks, window_lengths


@given(width=st.integers(64, 4096), height=st.integers(64, 4096), blocks=st.integers(4, 2000))
def test_a_shape_fits_the_budget_and_its_sides_are_multiples(width, height, blocks):
    h, w = fit_shape(width, height, blocks * 256, 16)
    assert h % 16 == w % 16 == 0
    assert h * w <= blocks * 256
    assert h <= math.ceil(height / 16) * 16
    assert w <= math.ceil(width / 16) * 16


@pytest.mark.parametrize("size", [(640, 272), (1280, 720), (176, 144), (720, 1280), (1920, 800)])
def test_at_a_fair_budget_almost_nothing_of_the_picture_is_cropped(size):
    h, w = fit_shape(*size, 256 * 256, 16)
    assert crop_coverage(*size, w, h) > 0.95
    assert h * w > 0.3 * min(256 * 256, size[0] * size[1])


def test_a_budget_below_one_block_says_so():
    with pytest.raises(ValueError, match="raise it to at least 256"):
        fit_shape(640, 480, 255, 16)


@given(frames=st.integers(0, 400), most=st.integers(1, 100))
def test_frames_are_4k_plus_1_and_the_most_that_fit(frames, most):
    fitted = fit_frames(frames, most)
    if frames == 0:
        assert fitted == 0
    else:
        assert fitted % 4 == 1
        assert fitted <= min(frames, most) < fitted + 4


@given(
    duration_s=st.floats(0.1, 60),
    fps=st.floats(1, 60),
    stride_s=st.floats(0.05, 5),
    share=st.floats(0, 0.9),
    most=st.sampled_from([1, 5, 17, 33]),
)
def test_no_moment_is_both_trained_on_and_held_out(duration_s, fps, stride_s, share, most):
    shapes, cfg = ShapeConfig(fps=fps, max_frames=most), WindowConfig(stride_s=stride_s, holdout_share=share)
    trained, held = time_blocks(duration_s, fps, cfg)
    windows = plan_windows(duration_s, shapes, cfg)
    for window in windows:
        first = round(window.start_s * fps)
        block = (0, trained) if window.split == TRAIN else (trained, trained + held)
        assert block[0] <= first
        assert first + window.num_frames <= block[1]
        assert window.num_frames % 4 == 1
    assert [w.index for w in windows] == list(range(len(windows)))
    if trained:
        assert max(round(w.start_s * fps) + w.num_frames for w in windows if w.split == TRAIN) == trained
    if share == 0:
        assert all(w.split == TRAIN for w in windows)


def test_window_lengths_by_hand():
    assert window_lengths(17, 1) == [17, 9, 5, 1]
    assert window_lengths(17, 5) == [17, 9, 5]
    assert window_lengths(13, 5) == [13, 5]
    assert window_lengths(5, 5) == [5]
    assert window_lengths(1, 5) == [1]
    assert window_lengths(17, 17) == [17]


def test_a_clip_too_short_to_hold_anything_out_is_trained_on_whole():
    windows = plan_windows(0.4, ShapeConfig(fps=12), WindowConfig(holdout_share=0.2, holdout_min_frames=5))
    assert {w.split for w in windows} == {TRAIN}
    assert HELD_OUT in {w.split for w in plan_windows(2.0, ShapeConfig(fps=12), WindowConfig())}
