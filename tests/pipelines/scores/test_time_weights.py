"""What is shown for longer counts for more; even frames count alike, whatever their rate."""

from fractions import Fraction

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.grid import MOTION_PER_S, on_grid
from pipelines.scores.time_weights import expand_motion, expand_native_rows, repeat_counts


def even(fps: Fraction, num_frames: int, tick: Fraction) -> np.ndarray:
    """When frames of a rate begin, and the last one ends, as a container rounds it: seconds (n + 1,)."""
    return np.array([float(round(k / fps / tick) * tick) for k in range(num_frames + 1)])


@settings(deadline=None)
@given(
    st.fractions(min_value=1, max_value=240, max_denominator=1001),
    st.integers(2, 200),
    st.sampled_from([Fraction(1, 1000), Fraction(1, 90000)]),
)
def test_of_even_frames_every_measurement_counts_once(fps, num_frames, tick):
    bounds = even(fps, num_frames, tick)
    ticks = np.round(bounds / float(tick)).astype(np.int64)
    grid = on_grid(ticks[:-1], tick, Fraction(1, MOTION_PER_S))
    speeds = np.where(grid, np.arange(num_frames, dtype=float), np.nan)
    speeds[0] = np.nan  # nothing is before it
    found = expand_motion({"motion": speeds}, np.diff(bounds), 1 / MOTION_PER_S)
    assert found["motion"].tolist() == speeds[np.isfinite(speeds)][1:].tolist()
    native = on_grid(ticks[:-1], tick, 2.0)
    rows = pa.table({"pts": ticks[:-1][native]})
    assert expand_native_rows(rows, bounds[:-1][native], float(bounds[-1]), 2.0).equals(rows)


def test_a_measurement_counts_once_for_every_step_that_passes():
    assert repeat_counts(np.array([0.08, 0.12, 0.08, 1.0]), 1 / 12).tolist() == [1, 1, 1, 12]
    assert repeat_counts(np.array([25.0, 25.0, 50.0]), 1 / 12).tolist() == [1, 1, 2]
    assert repeat_counts(np.array([]), 1 / 12).tolist() == []
    rows = pa.table({"pts": [0, 1, 2]})
    assert (
        expand_native_rows(rows, np.array([0.0, 2.0, 4.0]), 60.0, 2.0)["pts"].to_pylist() == [0, 1] + [2] * 28
    )
