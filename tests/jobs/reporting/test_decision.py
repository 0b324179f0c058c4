"""What the page holds of the clips decides as the index does."""

import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.reporting.decision import comparable, decision_data
from jobs.reporting.rules import recipe_of, rejected_by_rule, rejected_regardless
from jobs.reporting.scores import scores_view
from pipelines.recipes.recipe import Recipe, Rule
from tests.jobs.reporting.synthetic import RECIPE, against, clips_of, rows

NUMBERS = st.floats(-1e9, 1e9, allow_subnormal=False).filter(lambda v: v == 0 or abs(v) > 1e-25)


def sides(values, bound) -> tuple[list[bool], list[bool]]:
    return (values >= bound).tolist(), (values <= bound).tolist()


@settings(deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=20), NUMBERS, st.integers(-3, 3))
def test_packed_values_are_on_the_same_side_of_every_bound_of_six_digits(values, near, ulps):
    bound = float(f"{near:.5e}")
    values = np.array([*values, near, bound, bound + ulps * np.spacing(bound or 1e-20), np.nan])
    single, mark = comparable(values, []), np.float32(bound)
    assert single.dtype == np.float32
    assert sides(single, mark) == sides(values, bound)


@settings(deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=20), NUMBERS, st.integers(-3, 3))
def test_packed_values_are_on_the_same_side_of_the_recipes_own_bound_whatever_its_digits(values, bound, ulps):
    values = np.array([*values, bound, bound + ulps * np.spacing(bound or 1e-20), float(f"{bound:.5e}")])
    assert sides(comparable(values, [bound]), np.float32(bound)) == sides(values, bound)


@settings(deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_packed_values_are_the_values(values):
    assert np.allclose(comparable(np.array(values), []), values, rtol=3e-7, atol=0)


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 10**6), st.integers(2, 80))
def test_every_clip_is_held_or_an_even_sample_of_both_kinds_that_knows_their_totals(num, seed, most):
    clips = clips_of(rows(num, seed))
    data = decision_data(clips, rejected_regardless(clips, RECIPE), most)
    held = clips.kept[data.rows]
    assert len(set(data.rows.tolist())) == len(data.rows) == min(num, most)
    assert held.tolist() == sorted(held.tolist(), reverse=True)  # kept ones first
    for kind, which in ((data.kept, clips.kept), (data.rejected, ~clips.kept)):
        assert kind.clips == which.sum()
        assert kind.seconds == pytest.approx(clips.duration_s[which].sum())
        assert kind.held == which[data.rows].sum() >= min(kind.clips, most // 2)
    assert data.is_sample == (len(data.rows) < num)
    seconds = np.frombuffer(base64.b64decode(data.duration_s), "<f4")
    assert np.allclose(seconds, clips.duration_s[data.rows])


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_a_rule_refuses_by_columns_what_the_recipe_refuses_by_rows(seed):
    found = rows(40, seed)
    clips = clips_of(found)
    for rule in RECIPE.rules:
        assert rejected_by_rule(clips, rule).tolist() == [
            bool(against(Recipe("", (rule,)), row)) for row in found
        ]
    stay = rejected_regardless(clips, RECIPE)
    assert stay.tolist() == [row["duplicate_of"] is not None for row in found]


def test_an_index_that_keeps_what_its_recipe_refuses_is_not_reported_on():
    found = rows(30, 1)
    wrong = next(row for row in found if row["status"] == "rejected" and row["duplicate_of"] is None)
    wrong.update(status="kept", reject_reasons=[])
    with pytest.raises(ValueError, match=f"{wrong['clip_id']}.*rushes select"):
        scores_view(clips_of(found), RECIPE)


def test_the_manifests_rules_are_the_recipe():
    recipe = Recipe("mine", (Rule("duration_s", 2.0), Rule("luma_mean", 16.0, 240.0)))
    assert recipe_of({"name": "mine", "hash": recipe.hash, "rules": recipe.as_rows()}).hash == recipe.hash
