"""The tiny world shows what it says, and its judge says what it shows, also when that is not what was
told."""

import csv
from dataclasses import replace

import cv2
import numpy as np
import pytest

from benchmarks.footage.tinyworld_footage import (
    AREA,
    CLIP_FRAMES,
    FPS,
    RGB,
    STEP_XY,
    World,
    parse_pairs,
    render,
    scenes,
    write_footage,
)
from benchmarks.measure.tinyworld_judge import look, things
from pipelines.media.decode import frames_at
from pipelines.media.read_clock import read_clock

WORLD = World(colours=tuple(RGB))
EVERYTHING = WORLD.pairs() + WORLD.held_out


def small(frames: np.ndarray, side: int = 64) -> np.ndarray:
    return np.stack([cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA) for frame in frames])


def one(**changes):
    scene = scenes(WORLD, [("red", "left")], 1, seed=3)[0]
    return replace(scene, **changes)


@pytest.mark.parametrize("side", [32, 64])
def test_the_judge_is_right_on_all_that_is_rendered(side):
    for scene in scenes(WORLD, EVERYTHING, 96, seed=11):
        seen = look(small(render(scene), side), WORLD.colours)
        assert (seen.colour, seen.direction, seen.shape) == (scene.colour, scene.direction, scene.shape)
        assert all(seen.area_ok)


def test_the_judge_is_right_on_blurred_and_noisy_pictures():
    rng = np.random.default_rng(0)
    for scene in scenes(WORLD, EVERYTHING, 32, seed=12):
        soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.0) for frame in small(render(scene))])
        seen = look(np.clip(soft + rng.normal(0, 8, soft.shape), 0, 255).astype(np.uint8), WORLD.colours)
        assert (seen.colour, seen.direction) == (scene.colour, scene.direction)
        assert all(seen.area_ok)


def test_true_area_and_place_are_measured():
    for shape in WORLD.shapes:
        scene = one(shape=shape)
        frames = render(scene)
        for number in (0, CLIP_FRAMES - 1):
            (thing,) = things(frames[number])
            assert thing.area == pytest.approx(AREA, rel=0.08)
            assert thing.middle_xy == pytest.approx(scene.middle(number), abs=0.5 / frames.shape[1])


def test_shapes_stay_inside_the_frame():
    for scene in scenes(WORLD, EVERYTHING, 200, seed=5):
        frames = render(scene)[[0, -1]]
        edge = np.concatenate([frames[:, [0, -1]].ravel(), frames[:, :, [0, -1]].ravel()])
        assert (edge == scene.shade).all()


def test_another_colour_is_seen_as_what_it_is():
    assert look(small(render(one(colour="blue"))), WORLD.colours).colour == "blue"
    grey = small(render(one()))
    grey[:] = grey.mean(axis=3, keepdims=True) * 2.2
    assert look(grey, ("red", "blue")).colour is None


def test_a_colour_that_changes_is_none():
    changed = np.concatenate([render(one())[:12], render(one(colour="green"))[12:]])
    seen = look(small(changed), WORLD.colours)
    assert seen.colour is None
    assert seen.direction == "left"


def test_the_other_direction_is_seen_as_what_it_is():
    frames = small(render(one()))
    assert look(frames[::-1], WORLD.colours).direction == "right"
    assert look(frames.transpose(0, 2, 1, 3), WORLD.colours).direction == "up"


def test_what_stands_still_or_goes_astray_has_no_direction():
    frames = small(render(one()))
    assert look(np.repeat(frames[:1], 17, axis=0), WORLD.colours).direction is None
    slow = small(render(one(speed=0.005)))
    assert look(slow, WORLD.colours).direction is None
    there_and_back = np.concatenate([frames[::2], frames[::-2]])
    assert look(there_and_back, WORLD.colours).direction is None
    diagonal = np.stack([np.roll(frame, 2 * k, axis=0) for k, frame in enumerate(small(render(one()))[:12])])
    assert look(diagonal, WORLD.colours).direction is None
    jumping = frames[np.random.default_rng(0).permutation(len(frames))]
    assert look(jumping, WORLD.colours).direction is None


def test_two_objects_are_not_one():
    both = np.maximum(render(one(start_xy=(0.8, 0.25)))[:17], render(one(start_xy=(0.8, 0.75)))[:17])
    seen = look(small(both), WORLD.colours)
    assert not any(seen.area_ok)
    assert seen.direction is None
    half = np.concatenate([both[:9], render(one(start_xy=(0.8, 0.25)))[9:17]])
    assert sum(look(small(half), WORLD.colours).area_ok) == 8


def test_no_object_is_nothing():
    empty = np.full((17, 64, 64, 3), 40, np.uint8)
    seen = look(empty, WORLD.colours)
    assert (seen.colour, seen.direction, seen.shape, any(seen.area_ok)) == (None, None, None, False)


def test_too_large_and_too_small_are_not_the_true_area():
    frames = render(one(start_xy=(0.7, 0.5), frames=9))
    enlarged = small(frames[:, 16:112, 32:128], 64)
    assert not any(look(enlarged, WORLD.colours).area_ok)
    shrunk = np.pad(small(frames, 40), ((0, 0), (12, 12), (12, 12), (0, 0)), "edge")
    assert not any(look(shrunk, WORLD.colours).area_ok)


def test_pairs_that_are_held_out_are_not_shown_and_all_else_is():
    world = World()
    shown = {(scene.colour, scene.direction) for scene in scenes(world, world.pairs(), 66, seed=0)}
    assert shown == {(c, d) for c in world.colours for d in STEP_XY} - set(world.held_out)
    assert {s.shape for s in scenes(world, world.held_out, 6, seed=0)} == set(world.shapes)


def test_scenes_follow_from_the_seed_alone():
    world = World()
    assert scenes(world, world.pairs(), 20, seed=1) == scenes(world, world.pairs(), 20, seed=1)
    assert scenes(world, world.pairs(), 20, seed=1) != scenes(world, world.pairs(), 20, seed=2)


def test_a_world_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"colours: 'gren' is not known; did you mean 'green'\?"):
        World(colours=("gren",))
    with pytest.raises(ValueError, match=r"heldout: 'lefft' is not known; did you mean 'left'\?"):
        World(held_out=(("red", "lefft"),))
    with pytest.raises(ValueError, match="nothing that shows red"):
        World(held_out=tuple(("red", direction) for direction in STEP_XY))
    with pytest.raises(ValueError, match="'red' is not colour:direction"):
        parse_pairs("red")
    assert parse_pairs("red:left,blue:up") == World().held_out


def test_footage_is_videos_with_their_captions_beside_them(tmp_path):
    shown = scenes(World(), World().pairs(), 2, seed=0)
    path = write_footage(tmp_path / "footage", shown)
    rows = list(csv.DictReader(path.open()))
    assert [row["text"] for row in rows] == [scene.caption for scene in shown]
    clock = read_clock(path.parent / rows[1]["uri"])
    assert len(clock.pts) == CLIP_FRAMES
    assert float(clock.end_pts * clock.time_base) == pytest.approx(CLIP_FRAMES / FPS)
    decoded = frames_at(path.parent / rows[1]["uri"], clock, range(CLIP_FRAMES))
    assert look(small(decoded), WORLD.colours).colour == shown[1].colour
