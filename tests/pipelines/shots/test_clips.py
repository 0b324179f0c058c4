"""Clips make up their shots, and nothing else; their ends say what they are."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.records import Shot, Span
from pipelines.shots.clips import cut_clips
from pipelines.shots.config import ClipConfig

TICK = Fraction(1, 1000)


def shot(pts, first, last, end_pts, kinds=("edge", "edge"), sure=(1.0, 1.0)):
    bounds = [*pts, end_pts]
    return Shot(Span(int(bounds[first]), int(bounds[last]), TICK), last - first, *kinds, *sure)


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 2000) | st.sampled_from([40, 40, 40, 600_000]), min_size=4, max_size=120),
    st.floats(0.2, 5.0),
    st.data(),
)
def test_clips_make_up_the_shots_and_leave_out_what_lies_between(steps, max_s, data):
    pts = np.cumsum(steps)
    end_pts = int(pts[-1]) + 40
    bounds = sorted(data.draw(st.sets(st.integers(0, len(pts)), min_size=2, max_size=8)))
    shots = [shot(pts, a, b, end_pts) for a, b in zip(bounds[::2], bounds[1::2], strict=False)]
    clips = cut_clips("v", shots, pts, ClipConfig(max_s=max_s))
    for index, whole in enumerate(shots):
        pieces = [clip for clip in clips if clip.shot_index == index]
        assert [c.span.start_pts for c in pieces] == [
            whole.span.start_pts,
            *(c.span.end_pts for c in pieces[:-1]),
        ]
        assert pieces[-1].span.end_pts == whole.span.end_pts
        assert sum(clip.num_frames for clip in pieces) == whole.num_frames
        assert all(clip.num_frames > 0 and clip.span.start_pts in pts for clip in pieces)
        assert all(clip.span.duration_s <= max_s or clip.num_frames == 1 for clip in pieces)
    assert len({clip.clip_id for clip in clips}) == len(clips)


def test_a_long_shot_is_divided_into_equal_pieces():
    pts = np.arange(250) * 40
    whole = shot(pts, 0, 250, 10_000, ("edge", "dissolve"), (1.0, 0.7))
    clips = cut_clips("v", [whole], pts, ClipConfig(max_s=4.0))
    assert [clip.num_frames for clip in clips] == [84, 83, 83]
    assert [(clip.start_kind, clip.end_kind) for clip in clips] == [
        ("edge", "divided"),
        ("divided", "divided"),
        ("divided", "dissolve"),
    ]
    assert [(clip.start_confidence, clip.end_confidence) for clip in clips] == [
        (1.0, 1.0),
        (1.0, 1.0),
        (1.0, 0.7),
    ]


@settings(deadline=None)
@given(st.integers(1, 3000), st.sampled_from([1, 33, 40, 41]), st.floats(0.2, 30.0))
def test_of_even_frames_no_piece_is_much_shorter_than_the_others(num_frames, step, max_s):
    pts = np.arange(num_frames) * step
    clips = cut_clips("v", [shot(pts, 0, num_frames, num_frames * step)], pts, ClipConfig(max_s=max_s))
    lengths = [clip.num_frames for clip in clips]
    assert max(lengths) <= 2 * min(lengths) + 1


def test_a_picture_that_stands_longer_than_a_clip_may_last_is_a_clip_and_its_neighbours_are_others():
    pts = np.array([*range(0, 2000, 40), *range(600_000, 602_000, 40)])
    clips = cut_clips("v", [shot(pts, 0, 100, 602_000)], pts, ClipConfig(max_s=20.0))
    assert [(clip.num_frames, clip.span.start_s, clip.span.end_s) for clip in clips] == [
        (49, 0.0, 1.96),
        (1, 1.96, 600.0),
        (50, 600.0, 602.0),
    ]
    slides = np.arange(4) * 25_000
    clips = cut_clips("v", [shot(slides, 0, 4, 100_000)], slides, ClipConfig(max_s=20.0))
    assert [(clip.num_frames, clip.span.end_s) for clip in clips] == [
        (1, 25.0),
        (1, 50.0),
        (1, 75.0),
        (1, 100.0),
    ]
