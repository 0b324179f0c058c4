"""Histograms count every clip once, on an axis that a slider can stand on."""

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.reporting.drawing.histograms import BINS, NO_BIN, histogram, places, score_axis

NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False).filter(lambda v: v == 0 or abs(v) > 1e-9)
MAYBE = NUMBERS | st.just(float("nan"))


@settings(deadline=None)
@given(st.lists(st.tuples(MAYBE, st.booleans()), max_size=60), st.lists(NUMBERS, max_size=2))
def test_a_histogram_counts_every_clip_once(clips, bounds):
    values, kept = np.array([v for v, _ in clips], float), np.array([k for _, k in clips], bool)
    chart = histogram(values, kept, bounds)
    measured = np.isfinite(values)
    if not measured.any():
        assert chart is None
        return
    assert (sum(chart.kept), sum(chart.rejected)) == (kept[measured].sum(), (~kept)[measured].sum())
    assert chart.most == max(np.add(chart.kept, chart.rejected))
    assert ((chart.bins == NO_BIN) == ~measured).all()
    counted = np.bincount(chart.bins[measured], minlength=BINS)
    assert counted.tolist() == np.add(chart.kept, chart.rejected).tolist()
    assert [len(re.findall("z", path)) for path in chart.paths] == [
        np.count_nonzero(c) for c in (chart.kept, chart.rejected)
    ]


@settings(deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=60), st.lists(NUMBERS, max_size=2))
def test_an_axis_places_larger_values_further_and_bounds_inside(values, bounds):
    scale = score_axis(np.array(values), bounds)
    at = places(scale, np.sort(values))
    assert (np.diff(at) >= 0).all()
    assert ((at >= 0) & (at <= 100)).all()
    for bound in bounds:
        if not scale.log or bound > 0:
            assert scale.low <= bound <= scale.high
    if min(values) >= 0 and all(b >= 0 for b in bounds):
        assert scale.low >= 0


def test_values_that_crowd_at_zero_get_an_axis_that_tells_them_apart():
    values = np.concatenate([np.zeros(50), np.geomspace(0.001, 3, 500)])
    scale = score_axis(values, [0.002])
    assert scale.log
    assert 2 < places(scale, np.array([0.002]))[0] < 40
    assert places(scale, np.array([0.0]))[0] == 0


def test_a_bound_next_to_zero_has_room_to_move():
    scale = score_axis(np.linspace(0, 0.26, 60), [0.002])
    assert scale.log
    assert places(scale, np.array([0.002]))[0] > 2
