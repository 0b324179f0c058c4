"""Shots are PySceneDetect's, over exact time; shots make up the video and clips make up the shots."""

from fractions import Fraction
from functools import cache

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
