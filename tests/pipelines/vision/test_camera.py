"""What moved between two frames: the camera is what the background does, however much moves in front of
it."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.vision.flow import STILL, motion_between
from tests.support.footage import texture

HEIGHT, WIDTH = 144, 256
DIAGONAL = math.hypot(HEIGHT, WIDTH)


def gray(seed, height=3 * HEIGHT, width=3 * WIDTH):
    return cv2.cvtColor(texture(seed, height, width), cv2.COLOR_RGB2GRAY)


def seen(canvas, right=0.0, down=0.0, zoom=0.0, roll=0.0):
    """A canvas as a camera shows it whose picture moved so: px, share of the size, radians clockwise."""
    c, s = (1 + zoom) * math.cos(roll), (1 + zoom) * math.sin(roll)
    x, y = WIDTH / 2 - 0.5, HEIGHT / 2 - 0.5
    at_x, at_y = x + WIDTH, y + HEIGHT
    move = np.array([[c, -s, x + right - c * at_x + s * at_y], [s, c, y + down - s * at_x - c * at_y]])
    return cv2.warpAffine(canvas, move, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)


def with_blob(picture, blob, x, y, rx=66, ry=54):
    """An ellipse of another picture in front, 30 % of it all."""
    mask = cv2.ellipse(np.zeros_like(picture), (round(x), round(y)), (rx, ry), 0, 0, 360, 255, -1)
    at = np.float32([[1, 0, x - WIDTH / 2 - WIDTH], [0, 1, y - HEIGHT / 2 - HEIGHT]])
    front = cv2.warpAffine(blob, at, (WIDTH, HEIGHT))
    return np.where(mask > 0, front, picture)


def with_bars(picture, bar):
    picture = picture.copy()
    picture[:bar] = picture[HEIGHT - bar :] = 3
    return picture


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 5),
    right=st.floats(-8, 8),
    down=st.floats(-8, 8),
    zoom=st.floats(-0.04, 0.04),
    roll=st.floats(-0.04, 0.04),
)
def test_a_move_of_the_camera_is_found(seed, right, down, zoom, roll):
    canvas = gray(seed)
    camera = motion_between(seen(canvas), seen(canvas, right, down, zoom, roll)).camera
    assert camera.pan_x * DIAGONAL == pytest.approx(right, abs=0.2)
    assert camera.pan_y * DIAGONAL == pytest.approx(down, abs=0.2)
    assert camera.zoom == pytest.approx(zoom, abs=0.003)
    assert camera.roll_rad == pytest.approx(roll, abs=0.003)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 5), x=st.floats(90, 166), step=st.floats(3, 8), sign=st.sampled_from((-1, 1)))
def test_what_moves_in_front_of_a_camera_that_stands_is_no_pan(seed, x, step, sign):
    back, blob = seen(gray(seed)), gray(seed + 100)
    moved = motion_between(with_blob(back, blob, x, 72), with_blob(back, blob, x + sign * step, 72))
    assert math.hypot(moved.camera.pan_x, moved.camera.pan_y) * DIAGONAL < 0.2
    assert moved.objects * DIAGONAL == pytest.approx(0.3 * step, rel=0.35)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 5), step=st.floats(3, 8), sign=st.sampled_from((-1, 1)))
def test_a_camera_that_follows_what_moves_pans(seed, step, sign):
    back, blob = gray(seed), gray(seed + 100)
    now = with_blob(seen(back, sign * step), blob, 128, 72)
    camera = motion_between(with_blob(seen(back), blob, 128, 72), now).camera
    assert camera.pan_x * DIAGONAL == pytest.approx(sign * step, abs=0.3)


@pytest.mark.parametrize("bar", [12, 25])
def test_bars_stand_still_and_hold_nothing_back(bar):
    canvas = gray(7)
    moved = motion_between(with_bars(seen(canvas), bar), with_bars(seen(canvas, 2, 4), bar))
    assert moved.camera.pan_y * DIAGONAL == pytest.approx(4, abs=0.2)
    assert moved.mean * DIAGONAL * HEIGHT / (HEIGHT - 2 * bar) == pytest.approx(math.hypot(2, 4), rel=0.05)


@pytest.mark.parametrize("gain", [0.8, 1.1])
def test_light_that_changes_is_no_motion(gain):
    picture = seen(gray(8))
    assert motion_between(picture, cv2.convertScaleAbs(picture, alpha=gain)).mean * DIAGONAL < 0.1


def test_nothing_moves_between_two_frames_that_are_the_same():
    picture = seen(gray(9))
    moved = motion_between(picture, picture)
    assert moved.mean == pytest.approx(0, abs=1e-6)
    assert moved.objects == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("picture", [np.zeros((HEIGHT, WIDTH), np.uint8), np.full((8, 64), 90, np.uint8)])
def test_black_and_tiny_frames_stand_still(picture):
    assert motion_between(picture, picture) == STILL


def test_a_flat_picture_tells_of_no_motion():
    picture = np.full((HEIGHT, WIDTH), 128, np.uint8)
    assert motion_between(picture, picture + 1).mean < 1e-6


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (100, 180), (33, 47)])
def test_what_was_measured_before_leaves_no_trace(size):
    canvas = gray(10)
    pair = seen(canvas), seen(canvas, 3, 1, 0.01, 0.01)
    first = motion_between(*pair)
    other = [np.ascontiguousarray(seen(gray(seed))[: size[0], : size[1]]) for seed in (11, 12)]
    motion_between(*other)
    assert motion_between(*pair) == first
