"""Shots lie between transitions, whose frames belong to none; flashes and shakes are no transitions; clips make up shots."""

from fractions import Fraction
from functools import cache
from itertools import islice

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenedetect import AdaptiveDetector, ContentDetector, detect

from pipelines.clips import cut_clips
from pipelines.config import ClipConfig, ShotConfig, SignalConfig
from pipelines.media.clock import read_clock
from pipelines.media.decode import iterate_pictures
from pipelines.media.picture import upright
from pipelines.shots import find_shots
from pipelines.signals import SCHEMA, measure
from tests.footage import REAL_CLIPS, film, pan, real_clips, write


@cache
def signals_of(name):
    return signals_at(real_clips()[name], ShotConfig(detector="content"))


def signals_at(path, cfg):
    clock = read_clock(path)
    pictures = iterate_pictures(path, int(clock.pts[0]), clock.end_pts)
    return measure(pictures, clock, 0, len(clock.pts), SignalConfig(), cfg), clock


@pytest.mark.parametrize("name", REAL_CLIPS)
@pytest.mark.parametrize("detector", ["content", "adaptive"])
def test_cuts_are_those_of_pyscenedetect_on_real_footage(name, detector):
    signals, clock = signals_of(name)
    cfg = ShotConfig(detector=detector)
    theirs = ContentDetector(min_scene_len=0.6) if detector == "content" else AdaptiveDetector(min_scene_len=0.6)
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
        frames = [cv2.resize(upright(picture), (160, 96), interpolation=cv2.INTER_AREA) for picture in pictures]
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
    return [(clock.index_of(s.span.start_pts), clock.index_of(s.span.end_pts), s.start_kind, s.end_kind) for s in shots]


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
    film = np.concatenate([a[:48], a[48:] * down, np.zeros((5, 96, 160, 3)), b[:12] * up, b[12:]])  # frames 48 … 76
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


def test_an_unknown_detector_is_told_the_near_miss():
    with pytest.raises(ValueError, match="did you mean 'cascade'"):
        find_shots(table_of([0], [0.0]), 1, Fraction(1, 25), ShotConfig(detector="casade"))


def table_of(pts, changes):
    columns = {name: [0] * len(pts) for name in SCHEMA.names}
    columns |= {"pts": pts} | dict.fromkeys(("delta_hue", "delta_sat", "delta_lum"), changes)
    return pa.table(columns, schema=SCHEMA)


frames_in_time = st.lists(
    st.tuples(st.integers(1, 2000), st.sampled_from([0.0, 3.0, 20.0, 60.0])), min_size=2, max_size=120
)


@given(frames_in_time, st.sampled_from(["content", "adaptive"]), st.floats(0.0, 2.0), st.floats(0.2, 5.0))
def test_shots_make_up_the_video_and_clips_make_up_the_shots(steps, detector, min_shot_s, max_s):
    pts = np.cumsum([step for step, _ in steps]).tolist()
    end_pts = pts[-1] + 40
    signals = table_of(pts, [change for _, change in steps])
    cfg = ShotConfig(detector=detector, min_shot_s=min_shot_s)
    shots = find_shots(signals, end_pts, Fraction(1, 1000), cfg)
    clips = cut_clips("v", shots, np.array(pts), ClipConfig(min_s=0.0, max_s=max_s))
    for pieces in (shots, clips):
        assert [piece.span.start_pts for piece in pieces] == [pts[0], *(p.span.end_pts for p in pieces[:-1])]
        assert pieces[-1].span.end_pts == end_pts
        assert sum(piece.num_frames for piece in pieces) == len(pts)
        assert all(piece.num_frames > 0 for piece in pieces)
        assert {piece.span.start_pts for piece in pieces} <= set(pts)
    longest_gap = max(np.diff([*pts, end_pts])) / 1000
    assert max(clip.span.duration_s for clip in clips) <= max_s + longest_gap
    assert len({clip.clip_id for clip in clips}) == len(clips)


def test_a_long_shot_is_divided_into_equal_pieces():
    pts = np.arange(250) * 40
    signals = table_of(pts.tolist(), [0.0] * 250)
    shots = find_shots(signals, 10_000, Fraction(1, 1000), ShotConfig(detector="content"))
    clips = cut_clips("v", shots, pts, ClipConfig(min_s=1.0, max_s=4.0))
    assert [clip.num_frames for clip in clips] == [84, 83, 83]
    assert [(clip.start_kind, clip.end_kind) for clip in clips] == [
        ("edge", "divided"),
        ("divided", "divided"),
        ("divided", "edge"),
    ]
