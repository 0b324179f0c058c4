"""Scores measure what was rendered: how far things move, what the camera does, how bright and how sharp it
is."""

import math
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.measure.config import SignalConfig
from pipelines.measure.measure import Measurements, measure
from pipelines.media.clock import Clock
from pipelines.media.picture_format import Framing
from pipelines.records import Span
from pipelines.scores.config import ScoreConfig
from pipelines.scores.registry import REASONS, SCORES, get_score, score_clip, score_fields
from pipelines.shots.config import ShotConfig
from tests.support.footage import film, pan, texture, zoom

FPS = 25
HEIGHT, WIDTH = 144, 256


METER_NAMES = ("quality",)


def measured(frames, fps, meters=METER_NAMES, bounds=None):
    """Signals and native rows of frames that no codec has touched, shown one after another, or at these
    times."""
    bounds = np.arange(len(frames) + 1, dtype=np.int64) if bounds is None else np.asarray(bounds, np.int64)
    clock = Clock(
        pts=bounds[:-1],
        end_pts=int(bounds[-1]),
        time_base=Fraction(1, fps),
        rate=Fraction(fps),
        demuxer="rawvideo",
        framing=Framing(),
        as_coded=True,
        keyframes=bounds[:-1],
        head_packets=0,
        timing="pts",
        delay=0,
        plain=True,
        stream=0,
        by_packet=True,
    )
    pictures = [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames]
    for pts, picture in zip(bounds[:-1].tolist(), pictures, strict=True):
        picture.pts = pts
    shots = ShotConfig(detector="content")
    tables = measure(
        enumerate(pictures),
        clock,
        (0, len(frames)),
        Measurements(SignalConfig(), shots, ScoreConfig(), ("signals", *meters), "fp32"),
    )
    return tables.pop("signals"), tables


def scores_of(frames, fps=FPS):
    signals, native = measured(frames, fps)
    return score_clip(
        signals,
        native,
        frames.shape[2],
        frames.shape[1],
        Span(0, len(frames), Fraction(1, fps)),
        ScoreConfig(),
    )


@pytest.mark.parametrize(("right", "down"), [(1.0, 0.0), (-2.0, 0.0), (0.0, 1.5), (1.2, -0.9)])
def test_motion_of_a_pan_is_its_speed_in_shares_of_the_diagonal_per_second(right, down):
    scores = scores_of(pan(1, 20, HEIGHT, WIDTH, right, down))
    speed = math.hypot(right, down) * FPS / math.hypot(HEIGHT, WIDTH)
    assert scores["motion_mean"] == pytest.approx(speed, rel=0.1)
    assert scores["motion_p95"] >= scores["motion_mean"] * 0.99
    assert scores["object_motion"] < 0.15 * speed  # the camera explains it


def test_the_same_motion_at_twice_the_rate_is_twice_as_fast():
    frames = pan(2, 16, HEIGHT, WIDTH, right=1.5)
    assert scores_of(frames, fps=50)["motion_mean"] == pytest.approx(
        2 * scores_of(frames)["motion_mean"], rel=0.02
    )


@pytest.mark.parametrize(
    ("frames", "label"),
    [
        (pan(3, 20, HEIGHT, WIDTH, right=2.0), "pan right"),
        (pan(3, 20, HEIGHT, WIDTH, right=-2.0), "pan left"),
        (pan(3, 20, HEIGHT, WIDTH, right=0.0, down=2.0), "tilt down"),
        (pan(3, 20, HEIGHT, WIDTH, right=0.0, down=-2.0), "tilt up"),
        (zoom(3, 20, HEIGHT, WIDTH, 1.01), "zoom in"),
        (zoom(3, 20, HEIGHT, WIDTH, 1 / 1.01), "zoom out"),
        (np.repeat(texture(3, HEIGHT, WIDTH)[None], 12, axis=0), "static"),
    ],
)
def test_the_camera_is_named_by_what_it_does(frames, label):
    assert scores_of(frames)["camera"] == label


def shaken(seed, num_frames, right=0.0):
    """A camera in a hand that sways by 4 px, and pans by so many px a frame; uint8 (T, H, W, 3)."""
    t = np.arange(num_frames) / FPS
    canvas = texture(seed, HEIGHT + 40, WIDTH + 40 + math.ceil(abs(right) * num_frames))
    x = 20 + 4 * np.sin(2 * np.pi * 1.3 * t) + right * np.arange(num_frames)
    y = 20 + 4 * np.sin(2 * np.pi * 0.9 * t + 1)
    moves = [np.float32([[1, 0, -a], [0, 1, -b]]) for a, b in zip(x, y, strict=True)]
    return np.stack([cv2.warpAffine(canvas, move, (WIDTH, HEIGHT)) for move in moves])


def test_a_shaking_camera_is_handheld():
    assert scores_of(shaken(4, 50))["camera"] == "handheld"


def test_a_shaking_camera_that_pans_is_a_pan():
    scores = scores_of(shaken(4, 50, right=2.0))
    assert scores["camera"] == "pan right"
    assert scores["camera_magnitude"] == pytest.approx(2.0 * FPS / math.hypot(HEIGHT, WIDTH), rel=0.15)


@pytest.mark.parametrize("per_frame", [0.01, -0.01])
def test_a_roll_has_its_speed_whichever_way_it_turns(per_frame):
    canvas = texture(9, 3 * HEIGHT, 3 * WIDTH)
    frames = []
    for k in range(24):
        move = cv2.getRotationMatrix2D((WIDTH * 1.5, HEIGHT * 1.5), math.degrees(per_frame * k), 1)
        move[:, 2] -= (WIDTH, HEIGHT)
        frames.append(cv2.warpAffine(canvas, move, (WIDTH, HEIGHT)))
    scores = scores_of(np.stack(frames))
    assert scores["camera"] == "roll"
    assert scores["camera_magnitude"] == pytest.approx(0.01 * FPS, rel=0.05)


def test_what_walks_through_the_picture_of_a_camera_that_stands_is_no_pan():
    frames = np.repeat(texture(10, HEIGHT, WIDTH)[None], 24, axis=0)
    walker = texture(11, HEIGHT, 100)
    for k in range(24):
        frames[k, 20:, 10 + 5 * k : 110 + 5 * k] = walker[20:]
    scores = scores_of(frames)
    assert scores["camera"] == "static"
    assert scores["camera_magnitude"] < 0.01
    covered = 100 * (HEIGHT - 20) / (HEIGHT * WIDTH)
    assert scores["object_motion"] == pytest.approx(covered * 5 * FPS / math.hypot(HEIGHT, WIDTH), rel=0.35)


def test_bars_around_a_picture_change_neither_its_motion_nor_its_camera():
    bar = 24
    frames = pan(12, 24, HEIGHT, WIDTH, right=1.0, down=2.0)
    frames[:, :bar] = frames[:, HEIGHT - bar :] = 0
    signals, native = measured(frames, FPS, ("bars",))
    scores = score_clip(signals, native, WIDTH, HEIGHT, Span(0, len(frames), Fraction(1, FPS)), ScoreConfig())
    assert scores["safe_height"] == pytest.approx(HEIGHT - 2 * bar, abs=2)
    assert scores["camera"] == "tilt down"
    assert scores["motion_mean"] == pytest.approx(math.hypot(1, 2) * FPS / math.hypot(HEIGHT, WIDTH), rel=0.1)


@pytest.mark.parametrize("frozen", [0, 6, 12])
def test_frames_that_repeat_the_one_before_are_the_static_ratio(frozen):
    frames = pan(13, 25, HEIGHT, WIDTH, right=0.5)
    frames[1 : 1 + frozen] = frames[0]
    assert scores_of(frames)["static_ratio"] == pytest.approx(frozen / 24)


def test_a_small_thing_that_moves_is_no_frozen_picture():
    frames = np.repeat(texture(14, HEIGHT, WIDTH)[None], 12, axis=0)
    for k in range(12):
        frames[k, 60:70, 20 + 3 * k : 30 + 3 * k] = 200
    assert scores_of(frames)["static_ratio"] == 0.0


def test_black_frames_are_counted_and_dark_ones_are_not():
    frames = np.repeat((texture(15, HEIGHT, WIDTH) // 4 + 30)[None], 12, axis=0)
    assert scores_of(frames)["black_ratio"] == 0.0
    frames[3:6] = 12
    assert scores_of(frames)["black_ratio"] == pytest.approx(3 / 12)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(size=st.integers(1, 30))
def test_flicker_is_how_much_brightness_alternates(size):
    frames = np.full((12, 48, 64, 3), 100, np.uint8)
    frames[::2] += size
    assert scores_of(frames)["flicker"] == pytest.approx(size, abs=1e-3)


def test_neither_a_fade_nor_a_bright_thing_that_moves_flickers():
    fade = np.stack([np.full((48, 64, 3), 100 + 4 * k, np.uint8) for k in range(12)])
    assert scores_of(fade)["flicker"] == pytest.approx(0, abs=1e-3)
    things = np.full((12, 64, 128, 3), 60, np.uint8)
    for k in range(12):
        things[k, 20:40, 8 * k : 8 * k + 20] = 250
    assert scores_of(things)["flicker"] == pytest.approx(0, abs=1e-3)


def test_a_clip_of_one_frame_has_no_motion_and_says_so():
    scores = scores_of(texture(16, HEIGHT, WIDTH)[None])
    gaps = {gap["score"] for gap in scores["score_gaps"]}
    for name in (
        "motion_mean",
        "motion_p95",
        "object_motion",
        "static_ratio",
        "flicker",
        "camera",
        "camera_magnitude",
    ):
        assert scores[name] is None
        assert name in gaps


def test_a_zoom_has_its_speed():
    scores = scores_of(zoom(5, 20, HEIGHT, WIDTH, 1.01))
    assert scores["camera_magnitude"] == pytest.approx(0.01 * FPS, rel=0.1)


def test_luma_and_sharpness_follow_light_and_blur():
    picture = np.random.default_rng(6).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    dark = scores_of(np.repeat((picture // 3)[None], 4, axis=0))
    plain = scores_of(np.repeat(picture[None], 4, axis=0))
    soft = scores_of(np.repeat(cv2.GaussianBlur(picture, (0, 0), 3)[None], 4, axis=0))
    assert dark["luma_mean"] == pytest.approx(plain["luma_mean"] / 3, abs=1.5)
    assert soft["sharpness"] < 0.2 * plain["sharpness"]


def test_the_cut_before_a_clip_is_not_its_motion():
    frames = film(pan(7, 8, 48, 64), np.repeat(texture(8, 48, 64)[None], 8, axis=0))
    signals, native = measured(frames, FPS)
    scores = score_clip(signals.slice(8, 8), native, 64, 48, Span(8, 16, Fraction(1, FPS)), ScoreConfig())
    assert scores["motion_mean"] == 0.0


def test_every_score_says_its_unit_model_and_reasons():
    assert [field.name for field in score_fields()] == list(SCORES)
    assert all(field.metadata[b"unit"] and field.metadata[b"source"] for field in score_fields())
    assert {s.low for s in SCORES.values()} | {s.high for s in SCORES.values()} <= {*REASONS, ""}
    with pytest.raises(ValueError, match="score 'motion_meen' is not known; did you mean 'motion_mean'"):
        get_score("motion_meen")


def test_a_picture_that_stands_counts_as_if_it_were_shown_again_and_again():
    """Twenty frames of a pan, then its last one for six seconds, then twenty of something darker."""
    walk, dark = pan(3, 20, HEIGHT, WIDTH, right=1.5), pan(4, 20, HEIGHT, WIDTH, right=1.5) // 3
    again = film(walk, np.repeat(walk[-1:], 150, axis=0), dark)
    once, bounds = film(walk, dark), [*range(20), *range(170, 191)]
    wanted = scores_of(again)
    signals, native = measured(once, FPS, bounds=bounds)
    found = score_clip(signals, native, WIDTH, HEIGHT, Span(0, 190, Fraction(1, FPS)), ScoreConfig())
    assert found["duration_s"] == wanted["duration_s"]
    for name in ("luma_mean", "luma_std"):
        assert found[name] == pytest.approx(wanted[name], rel=1e-6)
    for name in ("static_ratio", "black_ratio"):
        assert found[name] == pytest.approx(wanted[name], abs=0.01)
    assert found["motion_mean"] == pytest.approx(wanted["motion_mean"], rel=0.25)
    assert native["quality"]["pts"].to_pylist() == [0, 19, 170]  # 19 stands from 0.76 s to 6.8 s


@pytest.mark.parametrize("stands_s", [2, 600])
def test_one_picture_is_still_for_as_long_as_it_stands(stands_s):
    signals, native = measured(texture(5, 48, 64)[None], FPS, bounds=[0, stands_s * FPS])
    scores = score_clip(signals, native, 64, 48, Span(0, stands_s * FPS, Fraction(1, FPS)), ScoreConfig())
    assert (scores["static_ratio"], scores["motion_mean"], scores["motion_p95"]) == (1.0, 0.0, 0.0)
    assert scores["camera"] == "static"


def test_slides_are_still_and_what_follows_a_short_picture_is_not_told_by_it():
    slides = np.stack([texture(seed, 48, 64) for seed in range(4)])
    bounds = np.array([0, 25, 50, 75, 100]) * FPS
    signals, native = measured(slides, FPS, bounds=bounds)
    span = Span(0, int(bounds[-1]), Fraction(1, FPS))
    assert score_clip(signals, native, 64, 48, span, ScoreConfig())["static_ratio"] == 1.0
    signals, native = measured(slides, FPS)
    assert (
        score_clip(signals, native, 64, 48, Span(0, 4, Fraction(1, FPS)), ScoreConfig())["static_ratio"]
        == 0.0
    )
