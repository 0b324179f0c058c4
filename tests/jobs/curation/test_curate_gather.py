"""Units of many videos, in any order, become one analysis per source."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.curation.analysis import Analysis
from jobs.curation.measure_progress import merge_units
from pipelines.records import Quarantined


def units(uri, count):
    """Parts of a video; whoever measures the last one brings the clips."""
    return [
        Analysis(uri, uri, 10.0, units=count, unit=(k, k + 1), hashed=k == 0, decoded_s=1.0,
            finished=k == count - 1,
                 clips=[{"clip_id": uri}] if k == count - 1 else [])
        for k in range(count)
    ]  # fmt: skip


@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=6), order=st.randoms(use_true_random=False))
def test_each_source_comes_once_with_its_clips_and_all_its_costs(counts, order):
    parts = [part for number, count in enumerate(counts) for part in units(f"v{number}", count)]
    order.shuffle(parts)
    got = {analysis.source_uri: analysis for analysis in merge_units(iter(parts))}
    assert sorted(got) == sorted(f"v{number}" for number in range(len(counts)))
    for number, count in enumerate(counts):
        analysis = got[f"v{number}"]
        assert analysis.clips == [{"clip_id": f"v{number}"}]
        assert analysis.decoded_s == count
        assert analysis.hashed
        assert analysis.unit is None


def test_a_source_that_needs_no_unit_comes_at_once():
    known = Analysis("a", "v", 2.0, finished=True)
    parts = iter([known, *units("b", 2)])
    assert next(merge_units(parts)).source_uri == "a"


def test_a_unit_that_failed_for_now_leaves_its_source_without_clips():
    bad = Quarantined("a", "signals", "internal", "no disk", "a")
    first, last = units("a", 2)
    last.finished, last.clips, last.quarantined = False, [], bad
    (analysis,) = merge_units([last, first])
    assert analysis.quarantined == bad
    assert not analysis.clips


def test_a_lost_unit_is_a_fault():
    with pytest.raises(AssertionError, match="units of \\['a'\\] are missing"):
        list(merge_units(units("a", 3)[:2]))
