"""What the scenes of the motion benchmark are said to do is what their frames show."""

import cv2
import numpy as np
import pytest

from benchmarks.footage.moving_scenes import LABELS, flows, plan, render

SEED = 5000


@pytest.mark.parametrize("label", LABELS)
def test_a_frame_moved_by_its_matrices_is_the_next(label):
    scene = next(s for s in (plan(label, seed, False) for seed in range(SEED, SEED + 40)) if not s.blobs)
    x, y, w, h = scene.picture
    shown = [
        frame[y : y + h, x : x + w].astype(float) for _, frame in zip(range(4), render(scene), strict=False)
    ]
    move = (scene.place[3] @ np.linalg.inv(scene.place[0]))[:2]
    moved = cv2.warpAffine(shown[0] / scene.gain[0] * scene.gain[3], move, (w, h), borderValue=(-1, -1, -1))
    inside = cv2.erode((moved.min(2) >= 0).astype(np.uint8), np.ones((9, 9))) > 0
    unmoved = np.abs(shown[0] - shown[3])[inside].mean()
    error = np.abs(moved - shown[3])[inside].mean()
    assert error < 2 + scene.noise + 0.3 * unmoved


def test_what_stands_has_no_flow_and_what_pans_has_its_speed():
    still = next(
        s for s in (plan("static", seed, False) for seed in range(SEED, SEED + 60)) if "none no" in s.traits
    )
    assert flows(still).mean() < 0.005
    pans = (plan("pan right", seed, False) for seed in range(SEED, SEED + 60))
    moving = next(s for s in pans if "none steady" in s.traits and "shake=0.000" in s.traits)
    right = np.diff([(place @ (*moving.background.shape[1::-1], 1))[0] for place in moving.place])
    speed = -right.mean() * moving.fps / np.hypot(moving.width, moving.height)
    assert 0.04 <= speed <= 0.6
    assert flows(moving).mean() == pytest.approx(speed, rel=0.07)  # a pan is seldom quite along its axis


def test_a_scene_is_the_same_whenever_it_is_planned():
    first, second = plan("roll", SEED, False), plan("roll", SEED, False)
    assert all(np.array_equal(a, b) for _, a, b in zip(range(3), render(first), render(second), strict=False))


@pytest.mark.parametrize("label", LABELS)
def test_large_things_cover_a_fifth_to_nearly_a_half(label):
    for seed in range(SEED, SEED + 10):
        scene = plan(label, seed, False)
        if len(scene.blobs) == 1:
            blob, (_, _, w, h) = scene.blobs[0], scene.picture
            areas = (
                blob.alpha.sum() * np.array([np.linalg.det(place[:2, :2]) for place in blob.place]) / (w * h)
            )
            assert 0.19 <= areas.max() <= 0.48
