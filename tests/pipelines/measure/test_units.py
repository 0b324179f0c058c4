"""Work units: together the whole video, each as long as asked."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.measure.units import plan_units, unit_name


@given(
    gaps=st.lists(st.integers(1, 90_000), min_size=0, max_size=200),
    start=st.integers(-(10**6), 10**9),
    unit_s=st.sampled_from([0.04, 0.5, 3, 7.3, 60]),
    time_base=st.sampled_from([Fraction(1, 1000), Fraction(1001, 30000), Fraction(1, 90000)]),
)
def test_units_are_the_whole_video_in_order_and_none_is_longer_than_asked(gaps, start, unit_s, time_base):
    pts = start + np.cumsum([0, *gaps])
    units = plan_units(pts, time_base, unit_s)
    assert units[0][0] == 0
    assert units[-1][1] == len(pts)
    assert all(before[1] == after[0] for before, after in pairwise(units))
    for first, last in units:
        assert first < last
        assert (int(pts[last - 1]) - int(pts[first])) * time_base < Fraction(str(unit_s))


def test_names_sort_in_time():
    units = [(0, 9), (9, 10), (10, 100), (100, 100_000), (100_000, 7_000_000)]
    names = [unit_name("v", unit) for unit in units]
    assert names == sorted(names)
