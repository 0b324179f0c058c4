"""Scores measure what was rendered: how far things move, what the camera does, how bright and how sharp it is."""

import math
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from pipelines.config import ScoreConfig, ShotConfig, SignalConfig
from pipelines.measure import measure
from pipelines.media.clock import Clock
from pipelines.scores.registry import REASONS, SCORES, known_score, score_clip, score_fields
from tests.footage import film, pan, texture, zoom

FPS = 25
HEIGHT, WIDTH = 144, 256


METER_NAMES = ("quality",)


def measured(frames, fps, meters=METER_NAMES):
    """Signals and native rows of frames that no codec has touched."""
    numbers = np.arange(len(frames), dtype=np.int64)
    clock = Clock(
        pts=numbers,
        end_pts=len(frames),
        time_base=Fraction(1, fps),
        rate=Fraction(fps),
        demuxer="rawvideo",
        rotated=False,
        keyframes=numbers,
        head_packets=0,
        timing="pts",
        delay=0,
        plain=True,
    )
    pictures = [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames]
    for number, picture in enumerate(pictures):
        picture.pts = number
    shots = ShotConfig(detector="content")
    tables = measure(pictures, clock, 0, len(frames), SignalConfig(), shots, ScoreConfig(), ("signals", *meters))
    return tables.pop("signals"), tables


def scores_of(frames, fps=FPS):
    signals, native = measured(frames, fps)
    return score_clip(signals, native, frames.shape[2], frames.shape[1], len(frames) / fps, ScoreConfig())


@pytest.mark.parametrize(("right", "down"), [(1.0, 0.0), (-2.0, 0.0), (0.0, 1.5), (1.2, -0.9)])
def test_motion_of_a_pan_is_its_speed_in_shares_of_the_diagonal_per_second(right, down):
    scores = scores_of(pan(1, 20, HEIGHT, WIDTH, right, down))
    speed = math.hypot(right, down) * FPS / math.hypot(HEIGHT, WIDTH)
    assert scores["motion_mean"] == pytest.approx(speed, rel=0.1)
    assert scores["motion_p95"] >= scores["motion_mean"] * 0.99
    assert scores["object_motion"] < 0.15 * speed  # the camera explains it


def test_the_same_motion_at_twice_the_rate_is_twice_as_fast():
    frames = pan(2, 16, HEIGHT, WIDTH, right=1.5)
    assert scores_of(frames, fps=50)["motion_mean"] == pytest.approx(2 * scores_of(frames)["motion_mean"], rel=0.02)


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


def test_a_shaking_camera_is_handheld():
    rng = np.random.default_rng(4)
    canvas = texture(4, HEIGHT + 40, WIDTH + 40)
    at = 20 + rng.integers(-6, 7, (24, 2))
    assert scores_of(np.stack([canvas[y : y + HEIGHT, x : x + WIDTH] for y, x in at]))["camera"] == "handheld"


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
    scores = score_clip(signals.slice(8, 8), native, 64, 48, 8 / FPS, ScoreConfig())
    assert scores["motion_mean"] == 0.0


def test_every_score_says_its_unit_model_and_reasons():
    assert [field.name for field in score_fields()] == list(SCORES)
    assert all(field.metadata[b"unit"] and field.metadata[b"source"] for field in score_fields())
    assert {s.low for s in SCORES.values()} | {s.high for s in SCORES.values()} <= {*REASONS, ""}
    with pytest.raises(ValueError, match="score 'motion_meen' is not known; did you mean 'motion_mean'"):
        known_score("motion_meen")
