"""The default recipe rejects pictures in which nothing moves, whatever their grain and coding, and keeps all
in which something does."""

from collections.abc import Callable
from functools import cache

import av
import cv2
import numpy as np
import pytest

from pipelines.measure.config import SignalConfig
from pipelines.measure.measure import Measurements, measure
from pipelines.media.decode import iterate_pictures
from pipelines.media.read_clock import read_clock
from pipelines.recipes.config import RecipeConfig
from pipelines.recipes.recipe import load_recipe
from pipelines.records import Span
from pipelines.scores.config import ScoreConfig
from pipelines.scores.registry import score_clip
from pipelines.shots.config import ShotConfig
from tests.support.footage import real_clips, texture, write

FPS, FRAMES, HEIGHT, WIDTH = 25, 60, 180, 320


@cache
def place(name: str) -> np.ndarray:
    """The first picture of a real clip; uint8 (H, W, 3)."""
    with av.open(str(real_clips()[name])) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    return cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def still(background: np.ndarray) -> np.ndarray:
    return np.repeat(background[None], FRAMES, axis=0)


def grainy(frames: np.ndarray, deviation: float) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.clip(frames + rng.normal(0, deviation, frames.shape), 0, 255).astype(np.uint8)


def walkers(background: np.ndarray, height: int = 22, px_per_s: float = 28) -> np.ndarray:
    """Three people, at least an eighth of the picture high, who cross it before a camera on a tripod."""
    rng, frames = np.random.default_rng(5), still(background).copy()
    people = [
        (rng.uniform(0, WIDTH), y, way * px_per_s * rng.uniform(0.8, 1.2), rng.integers(20, 230, 3).tolist())
        for y, way in ((90, 1), (120, -1), (150, 1))
    ]
    for k, frame in enumerate(frames):
        for x, y, speed, colour in people:
            at, stride = (x + speed * k / FPS) % WIDTH, height * 0.15 * np.sin(2 * np.pi * 1.8 * k / FPS)

            def point(right: float, up: float, at: float = at, y: float = y) -> tuple[int, int]:
                return round((at + right) * 8), round((y - up * height) * 8)

            cv2.ellipse(
                frame, point(0, 0.85), (round(height * 0.8), height), 0, 0, 360, colour, -1, cv2.LINE_AA, 3
            )
            cv2.ellipse(
                frame,
                point(0, 0.55),
                (round(height * 1.2), round(height * 2)),
                0,
                0,
                360,
                colour,
                -1,
                cv2.LINE_AA,
                3,
            )
            for leg in (stride, -stride):
                cv2.line(frame, point(0, 0.35), point(leg, 0), colour, max(1, height // 12), cv2.LINE_AA, 3)
    return frames


def drifting(canvas: np.ndarray, px_per_s: float) -> np.ndarray:
    """The middle of a wide picture that passes slowly."""
    moves = (np.float32([[1, 0, -16 - px_per_s * k / FPS], [0, 1, -16]]) for k in range(FRAMES))
    return np.stack([cv2.warpAffine(canvas, move, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR) for move in moves])


def clouds(background: np.ndarray, px_per_s: float) -> np.ndarray:
    """A soft sky that drifts over a landscape."""
    frames, sky = still(background).copy(), cv2.GaussianBlur(texture(9, HEIGHT + 50, WIDTH + 80), (0, 0), 5)
    frames[:, : HEIGHT // 2] = drifting(sky, px_per_s)[:, : HEIGHT // 2]
    return frames


def scores_of(frames: np.ndarray, folder, crf: int) -> dict:
    path = write(folder / "scene.mp4", frames, fps=FPS, options={"crf": str(crf)})
    clock = read_clock(path)
    pictures = enumerate(iterate_pictures(path, int(clock.pts[0]), clock.end_pts, clock))
    shots = ShotConfig(detector="content")
    tables = measure(
        pictures,
        clock,
        (0, FRAMES),
        Measurements(SignalConfig(), shots, ScoreConfig(), ("signals", "quality"), "fp32"),
    )
    span = Span(int(clock.pts[0]), clock.end_pts, clock.time_base)
    return score_clip(tables.pop("signals"), tables, WIDTH, HEIGHT, span, ScoreConfig())


def padded(name: str) -> np.ndarray:
    return cv2.copyMakeBorder(place(name), 40, 40, 40, 40, cv2.BORDER_REFLECT)


BIKES, BUNNY, CAR = "bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4"
STILL: dict[str, tuple[Callable[[], np.ndarray], int]] = {
    "a slide": (lambda: still(place(BUNNY)), 20),
    "a slide, coarsely coded": (lambda: still(place(BIKES)), 38),
    "a photograph with a sensor's grain": (lambda: grainy(still(place(BIKES)), 3), 20),
    "strong grain": (lambda: grainy(still(place(CAR)), 6), 20),
    "strong grain, coarsely coded": (lambda: grainy(still(place(BUNNY)), 8), 32),
    "a wall with grain": (
        lambda: grainy(still(cv2.GaussianBlur(texture(4, HEIGHT, WIDTH), (0, 0), 8)), 4),
        20,
    ),
}
MOVING: dict[str, tuple[Callable[[], np.ndarray], int]] = {
    "people who walk past a street": (lambda: grainy(walkers(place(BIKES)), 2), 23),
    "people who walk through a meadow": (lambda: grainy(walkers(place(BUNNY), 30, 40), 2), 23),
    "people, with strong grain": (lambda: grainy(walkers(place(CAR)), 5), 26),
    "a slow pan": (lambda: grainy(drifting(padded(BIKES), 2), 2), 23),
    "a slow pan over little texture": (lambda: drifting(cv2.GaussianBlur(padded(CAR), (0, 0), 3), 3), 23),
    "clouds": (lambda: grainy(clouds(place(BUNNY), 3), 2), 23),
    "slower clouds": (lambda: clouds(place(BIKES), 2), 23),
}


@pytest.mark.parametrize("scene", STILL)
def test_what_stands_still_is_rejected(tmp_path, scene):
    render, crf = STILL[scene]
    scores = scores_of(render(), tmp_path, crf)
    assert load_recipe(RecipeConfig()).reject_reasons(scores) == ["static"], scores["motion_peak"]


@pytest.mark.parametrize("scene", MOVING)
def test_what_moves_is_kept_however_small_or_slow_it_is(tmp_path, scene):
    render, crf = MOVING[scene]
    scores = scores_of(render(), tmp_path, crf)
    assert load_recipe(RecipeConfig()).reject_reasons(scores) == [], scores["motion_peak"]
    if "people" in scene:
        # the mean over the frame does not tell them from a still picture
        assert scores["motion_mean"] < 0.002
