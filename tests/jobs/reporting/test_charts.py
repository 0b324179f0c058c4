"""Charts and numbers: geometry that stays in its box and loses nothing."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.cli.formatting import format_bytes, format_duration, format_number, format_timestamp
from jobs.reporting.drawing.charts import axis, line_chart, thin
from pipelines.even_sample import even_sample

VALUES = st.floats(-1e6, 1e6, allow_subnormal=False).filter(lambda v: v == 0 or abs(v) > 1e-9)


@settings(deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=50))
def test_an_axis_shows_every_value_and_its_ticks_inside(values):
    shown = axis(values)
    assert all(0 <= shown.place(v) <= 100 for v in values)
    assert all(-0.01 <= tick.at <= 100.01 for tick in shown.ticks(4))
    assert all(
        math.isclose(shown.value(shown.place(v)), v, rel_tol=1e-6, abs_tol=1e-6 * (shown.high - shown.low))
        for v in values
    )


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10**6), VALUES), min_size=2, max_size=400, unique_by=lambda p: p[0]),
    st.integers(3, 100),
)
def test_thinning_keeps_the_ends_and_the_order(points, most):
    points = sorted(points)
    thinned = thin(points, most)
    assert len(thinned) <= most
    assert (thinned[0], thinned[-1]) == (points[0], points[-1])
    assert [x for x, _ in thinned] == sorted(x for x, _ in thinned)


def test_a_chart_leaves_out_what_is_not_finite_and_is_none_without_a_line():
    chart = line_chart("loss", "", {"a": ("train", [(0, 2.0), (1, math.nan), (2, 1.0)]), "b": ("held", [])})
    assert [line.name for line in chart.lines] == ["a"]
    assert [text for _, _, text in chart.lines[0].points] == ["step 0: 2", "step 2: 1"]
    assert line_chart("loss", "", {"a": ("train", [(0, 2.0)])}) is None


@settings(deadline=None)
@given(st.lists(st.integers(), unique=True, max_size=300).map(sorted), st.integers(1, 50))
def test_a_sample_is_spread_in_order_and_the_same_every_time(items, most):
    chosen = even_sample(items, most)
    assert len(chosen) == min(len(items), most)
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= set(items)


def test_numbers_are_written_for_people():
    assert [format_number(v) for v in (0, 0.00421, 3.14159, 128.4, 12_345.0, 1e9, None, math.nan)] == [
        "0",
        "0.00421",
        "3.14",
        "128",
        "12,300",
        "1.00e+09",
        "–",
        "–",
    ]
    assert [format_duration(s) for s in (0.321, 17.62, 59.97, 125.0, 3 * 3600 + 7 * 60)] == [
        "0.32 s",
        "17.6 s",
        "1 min 00 s",
        "2 min 05 s",
        "3 h 07 min",
    ]
    assert [format_timestamp(s) for s in (3.21, 760.0, 3723.0)] == ["0:03.2", "12:40.0", "1:02:03"]
    assert [format_bytes(b) for b in (940, 999_600, 1_234_567, 31_000_000_000)] == [
        "940 bytes",
        "1.0 MB",
        "1.2 MB",
        "31.0 GB",
    ]
