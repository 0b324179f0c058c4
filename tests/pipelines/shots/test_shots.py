"""Shots lie between transitions, whose frames belong to none; flashes and shakes are no transitions; a
detector may say what it likes."""

from fractions import Fraction
from functools import cache
from itertools import islice

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenedetect import AdaptiveDetector, ContentDetector, detect

from pipelines.measure.config import SignalConfig
from pipelines.measure.signals import SCHEMA, measure
from pipelines.media.decode import iterate_pictures
from pipelines.media.picture import upright
from pipelines.media.read_clock import read_clock
from pipelines.shots.config import ShotConfig
from pipelines.shots.find_shots import find_shots
from tests.support.footage import REAL_CLIPS, film, pan, real_clips, write


@cache
def signals_of(name):
    return signals_at(real_clips()[name], ShotConfig(detector="content"))


def signals_at(path, cfg):
    clock = read_clock(path)
    pictures = iterate_pictures(path, int(clock.pts[0]), clock.end_pts)
    return measure(enumerate(pictures), clock, (0, len(clock.pts)), SignalConfig(), cfg, "fp32"), clock


@pytest.mark.parametrize("name", REAL_CLIPS)
@pytest.mark.parametrize("detector", ["content", "adaptive"])
def test_cuts_are_those_of_pyscenedetect_on_real_footage(name, detector):
    signals, clock = signals_of(name)
    cfg = ShotConfig(detector=detector)
    theirs = (
        ContentDetector(min_scene_len=0.6) if detector == "content" else AdaptiveDetector(min_scene_len=0.6)
    )
    expected = [start.frame_num for start, _ in detect(str(real_clips()[name]), theirs)] or [0]
    shots = find_shots(signals, clock.end_pts, clock.time_base, cfg)
    assert [clock.index_of(shot.span.start_pts) for shot in shots] == expected


def test_the_cuts_of_bikes_are_where_they_are_seen():
    signals, clock = signals_of("bikes.mp4")
    shots = find_shots(signals, clock.end_pts, clock.time_base, ShotConfig(detector="content"))
    assert [clock.index_of(shot.span.start_pts) for shot in shots] == [0, 30, 76, 137, 187, 242]
    assert [shot.start_kind for shot in shots] == ["edge"] + ["hard"] * 5


def test_cuts_of_a_variable_frame_rate_are_in_its_own_time(tmp_path):
    pts = [k * 4 for k in range(30)] + [120 + k * 10 for k in range(20)]
    frames = film(pan(1, 30, 48, 64), pan(2, 20, 48, 64))
    path = write(tmp_path / "vfr.mp4", frames, pts=pts, time_base=Fraction(1, 100))
    cfg = ShotConfig(detector="content")
    signals, clock = signals_at(path, cfg)
    shots = find_shots(signals, clock.end_pts, clock.time_base, cfg)
    assert [shot.span.start_s for shot in shots] == [0.0, 1.2]


@cache
def scenes():
    """Three shots of real footage that show different things, 60 frames of 160 × 96 each."""
    found = []
    for name, first in (("bikes.mp4", 137), ("bigbuckbunny.mp4", 30), ("carphone_pristine.mp4", 10)):
        path = real_clips()[name]
        clock = read_clock(path)
        pictures = islice(iterate_pictures(path, int(clock.pts[first]), clock.end_pts), 45)
        frames = [
            cv2.resize(upright(picture), (160, 96), interpolation=cv2.INTER_AREA) for picture in pictures
        ]
        found.append(np.stack([*frames, *frames[-2:-17:-1]]).astype(float))
    return found


def mixed(before, after, frames):
    """Both shots, the end of one over the beginning of the other."""
    share = (np.arange(1, frames + 1) / (frames + 1))[:, None, None, None]
    both = (1 - share) * before[-frames:] + share * after[:frames]
    return np.concatenate([before[:-frames], both, after[frames:]])


def shots_of(frames, tmp_path, **changes):
    path = write(tmp_path / "film.mp4", np.clip(frames, 0, 255).astype(np.uint8))
    cfg = ShotConfig(**changes)
    signals, clock = signals_at(path, cfg)
    shots = find_shots(signals, clock.end_pts, clock.time_base, cfg)
    return [
        (clock.index_of(s.span.start_pts), clock.index_of(s.span.end_pts), s.start_kind, s.end_kind)
        for s in shots
    ]


def test_a_hard_cut_is_found_to_the_frame(tmp_path):
    a, b, c = scenes()
    assert shots_of(np.concatenate([a, b, c]), tmp_path) == [
        (0, 60, "edge", "hard"),
        (60, 120, "hard", "hard"),
        (120, 180, "hard", "edge"),
    ]


@pytest.mark.parametrize("detector", ["cascade", "transnet"])
def test_the_frames_of_a_dissolve_belong_to_no_shot(tmp_path, detector):
    a, b, _ = scenes()
    first, second = shots_of(mixed(a, b, 14), tmp_path, detector=detector)  # frames 46 … 59
    assert (first[3], second[2]) == ("dissolve", "dissolve")
    assert 36 <= first[1] <= 48
    assert 58 <= second[0] <= 70


def test_the_frames_of_a_fade_belong_to_no_shot(tmp_path):
    a, b, _ = scenes()
    down, up = (np.linspace(*ends, 12)[:, None, None, None] for ends in ((1, 0), (0, 1)))
    # frames 48 … 76
    film = np.concatenate([a[:48], a[48:] * down, np.zeros((5, 96, 160, 3)), b[:12] * up, b[12:]])
    first, second = shots_of(film, tmp_path)
    assert (first[3], second[2]) == ("fade", "fade")
    assert 40 <= first[1] <= 51
    assert 74 <= second[0] <= 85


@pytest.mark.parametrize("what", ["flash", "shake"])
def test_what_comes_back_was_no_transition(tmp_path, what):
    shot = scenes()[0].copy()
    if what == "flash":
        shot[28:31] = shot[28:31] * 1.8 + 100
    else:
        jolts = np.random.default_rng(3).integers(-14, 15, (8, 2))
        for k, jolt in enumerate(jolts, 26):
            shot[k] = np.roll(shot[k], jolt, axis=(0, 1))
    assert shots_of(shot, tmp_path) == [(0, 60, "edge", "edge")]


def test_a_cut_to_the_same_place_in_another_light_is_a_cut(tmp_path):
    shot = scenes()[0].copy()
    shot[30:] = shot[30:] * np.array([0.5, 0.3, 0.9])
    assert shots_of(shot, tmp_path) == [(0, 30, "edge", "hard"), (30, 60, "hard", "edge")]


@pytest.mark.parametrize("seed", [3, 9, 13])
def test_a_camera_that_moves_fast_from_the_first_frame_to_the_last_shows_one_shot(tmp_path, seed):
    assert shots_of(pan(seed, 30, 48, 64, right=2.0), tmp_path) == [(0, 30, "edge", "edge")]


def test_an_unknown_detector_is_told_the_near_miss():
    with pytest.raises(ValueError, match="did you mean 'cascade'"):
        find_shots(table_of([0], [0.0]), 1, Fraction(1, 25), ShotConfig(detector="casade"))


BLANK = {"thumb": None, "picture_format": "", "interlaced": False}


def table_of(pts, changes):
    columns = {name: [BLANK.get(name, 0)] * len(pts) for name in SCHEMA.names}
    columns |= {"pts": pts} | dict.fromkeys(("delta_hue", "delta_sat", "delta_lum"), changes)
    return pa.table(columns, schema=SCHEMA)


frames_in_time = st.lists(
    st.tuples(st.integers(1, 2000), st.sampled_from([0.0, 3.0, 20.0, 60.0])), min_size=2, max_size=120
)


@settings(deadline=None)
@given(frames_in_time, st.sampled_from(["content", "adaptive"]), st.floats(0.0, 2.0))
def test_shots_between_hard_cuts_make_up_the_video(steps, detector, min_shot_s):
    pts = np.cumsum([step for step, _ in steps]).tolist()
    end_pts = pts[-1] + 40
    signals = table_of(pts, [change for _, change in steps])
    shots = find_shots(
        signals, end_pts, Fraction(1, 1000), ShotConfig(detector=detector, min_shot_s=min_shot_s)
    )
    assert [shot.span.start_pts for shot in shots] == [pts[0], *(shot.span.end_pts for shot in shots[:-1])]
    assert shots[-1].span.end_pts == end_pts
    assert sum(shot.num_frames for shot in shots) == len(pts)
    assert {shot.span.start_pts for shot in shots} <= set(pts)


per_frame = st.tuples(
    st.floats(0, 1), st.floats(0, 1), st.floats(0, 90), st.floats(0, 250), st.sampled_from([0.0, 40.0])
)


@settings(derandomize=True, deadline=None)
@given(st.lists(per_frame, min_size=1, max_size=90), st.sampled_from(["cascade", "transnet"]), st.data())
def test_whatever_the_signals_say_shots_are_apart_and_in_order(frames, detector, data):
    alike, seen, spread, luma, change = map(list, zip(*frames, strict=True))
    looked = data.draw(st.lists(st.booleans(), min_size=len(seen), max_size=len(seen)))
    columns = {name: [BLANK.get(name, 0)] * len(frames) for name in SCHEMA.names}
    columns |= {name: alike for name in SCHEMA.names if name.startswith("alike")}
    columns |= {
        "pts": [40 * k for k in range(len(frames))],
        "luma_std": spread,
        "luma_mean": luma,
        "delta_lum": change,
    }
    columns |= {"transition": [p if look else None for p, look in zip(seen, looked, strict=True)]}
    shots = find_shots(
        pa.table(columns, schema=SCHEMA), 40 * len(frames), Fraction(1, 1000), ShotConfig(detector=detector)
    )
    bounds = [bound for shot in shots for bound in (shot.span.start_pts, shot.span.end_pts)]
    assert bounds == sorted(bounds)
    assert all(bound % 40 == 0 and 0 <= bound <= 40 * len(frames) for bound in bounds)
    for shot in shots:
        assert shot.num_frames == (shot.span.end_pts - shot.span.start_pts) // 40 > 0
        assert {shot.start_kind, shot.end_kind} <= {"edge", "hard", "fade", "dissolve"}
        assert (
            0
            <= min(shot.start_confidence, shot.end_confidence)
            <= max(shot.start_confidence, shot.end_confidence)
            <= 1
        )
    assert all((shot.start_kind == "edge") == (shot.span.start_pts == 0) for shot in shots)
