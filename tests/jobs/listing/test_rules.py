"""What is said to loosen a recipe lets the clip pass, and nothing more is loosened than must be."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.cli.compose import compose
from jobs.cli.registry import JOBS
from jobs.listing.rules import loosening_overrides
from pipelines.recipes.recipe import Recipe, Rule, load_recipe
from pipelines.scores.registry import SCORES

BOUNDED = ("duration_s", "luma_mean", "motion_mean", "sharpness")
NUMBERS = st.floats(-1e6, 1e6).map(lambda value: value if abs(value) > 1e-9 else 0.0)


@settings(deadline=None)
@given(st.data())
def test_a_clip_passes_the_recipe_that_is_loosened_as_it_is_said(data):
    rules = []
    for score in BOUNDED:
        low, high = sorted((data.draw(NUMBERS), data.draw(NUMBERS)))
        rules.append(Rule(score, low, high if SCORES[score].high else math.inf))
    recipe = Recipe("test", tuple(rules))
    row = dict.fromkeys(SCORES) | {score: data.draw(st.none() | NUMBERS) for score in BOUNDED}
    overrides = loosening_overrides(recipe.as_rows(), row)
    assert bool(overrides) == bool(recipe.reject_reasons(row))
    current = {"name": "test", "rules": recipe.as_rows()}
    cfg = compose(JOBS["select"], ["dataset=d", *overrides]).cfg
    assert load_recipe(cfg.recipe, current).reject_reasons(row) == []
