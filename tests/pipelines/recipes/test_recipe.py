"""A recipe keeps what its rules allow, says why it rejects, and is known by what it says."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.recipes.config import RecipeConfig
from pipelines.recipes.files import presets
from pipelines.recipes.recipe import Recipe, Rule, check_measurable, load_recipe
from pipelines.scores.config import ScoreConfig
from pipelines.scores.registry import NOT_MEASURED, REASONS, SCORES

GOOD = {
    "duration_s": 5.0,
    "short_side": 720.0,
    "motion_mean": 0.1,
    "motion_p95": 0.2,
    "motion_peak": 0.02,
    "object_motion": 0.05,
}
GOOD |= {
    "luma_mean": 120.0,
    "luma_std": 40.0,
    "sharpness": 200.0,
    "camera": "static",
    "camera_magnitude": 0.0,
}


def test_the_default_keeps_a_good_clip_and_permissive_keeps_everything():
    for name in ("default", "permissive"):
        assert load_recipe(RecipeConfig(name=name)).reject_reasons(GOOD) == []
    bad = GOOD | {"motion_peak": 0.0, "luma_mean": 2.0, "sharpness": None, "duration_s": 0.5}
    assert load_recipe(RecipeConfig(name="permissive")).reject_reasons(bad) == []
    assert load_recipe(RecipeConfig()).reject_reasons(bad) == ["dark", NOT_MEASURED, "static", "too_short"]


@pytest.mark.parametrize("name", presets())
def test_a_preset_says_where_its_thresholds_are_from(name):
    recipe = load_recipe(RecipeConfig(name=name))
    assert recipe.source
    assert recipe.not_expressed or recipe.source.startswith("this project")


def test_the_current_recipe_is_what_the_dataset_was_decided_by():
    tight = load_recipe(RecipeConfig(min={"motion_mean": 0.2}))
    again = load_recipe(RecipeConfig(name="current"), {"name": tight.name, "rules": tight.as_rows()})
    assert again.hash == tight.hash
    with pytest.raises(FileNotFoundError, match="no manifest yet"):
        load_recipe(RecipeConfig(name="current"))


def test_an_infinite_bound_takes_a_rule_away():
    free = load_recipe(RecipeConfig(min={"sharpness": -math.inf}))
    assert free.reject_reasons(GOOD | {"sharpness": None}) == []
    assert "sharpness" not in {rule.score for rule in free.rules}


def test_a_pending_score_is_not_asked_yet():
    recipe = Recipe("r", (Rule("sharpness", 5), Rule("luma_mean", 10)))
    assert recipe.reject_reasons({"sharpness": None, "luma_mean": 1.0}, pending={"sharpness"}) == ["dark"]


bounded = [name for name, score in SCORES.items() if score.low and score.high]


@given(st.sampled_from(bounded), st.floats(-10, 10), st.floats(0, 5), st.floats(-20, 20) | st.none())
def test_a_clip_is_kept_exactly_if_its_score_is_within_bounds(name, low, width, value):
    reasons = Recipe("r", (Rule(name, low, low + width),)).reject_reasons({name: value})
    assert (reasons == []) == (value is not None and low <= value <= low + width)
    assert set(reasons) <= set(REASONS)


@given(st.sampled_from(bounded), st.lists(st.floats(0, 1), max_size=30), st.floats(0, 1), st.floats(0, 1))
def test_tightening_only_ever_rejects_more(name, values, a, b):
    loose, tight = sorted((a, b))
    kept = [
        [v for v in values if not Recipe("r", (Rule(name, min=bound),)).reject_reasons({name: v})]
        for bound in (loose, tight)
    ]
    assert set(kept[1]) <= set(kept[0])


def test_overrides_replace_bounds_and_change_the_hash_but_a_name_does_not(tmp_path):
    plain = load_recipe(RecipeConfig())
    tight = load_recipe(RecipeConfig(min={"motion_mean": 0.2}))
    assert plain.reject_reasons(GOOD) == []
    assert tight.reject_reasons(GOOD) == ["static"]
    assert plain.hash != tight.hash
    (tmp_path / "mine.yaml").write_text("rules:\n  - {score: sharpness, min: 5}\n")
    (tmp_path / "yours.yaml").write_text("rules: [{score: sharpness, min: 5.0}]\n")
    mine, yours = (load_recipe(RecipeConfig(name=str(tmp_path / f"{n}.yaml"))) for n in ("mine", "yours"))
    assert mine.hash == yours.hash


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (
            RecipeConfig(name="defualt"),
            "recipe.name=defualt: recipe 'defualt' is not known; did you mean 'default'",
        ),
        (RecipeConfig(name="none.yaml"), "recipe.name=none.yaml: there is no such file"),
        (
            RecipeConfig(min={"motion_men": 0.1}),
            "recipe.min.motion_men=0.1: score 'motion_men' is not known; did you mean 'motion_mean'",
        ),
        (
            RecipeConfig(min={"camera": 1.0}),
            "recipe.min.camera=1: camera can't be bounded; it is for looking at only",
        ),
        (
            RecipeConfig(max={"sharpness": 3.0}),
            "recipe.max.sharpness=3: sharpness can't be bounded from above; it has a minimum: "
            "recipe.min.sharpness",
        ),
        (RecipeConfig(min={"luma_mean": math.nan}), "recipe.min.luma_mean=nan: that is not a number"),
        (
            RecipeConfig(min={"luma_mean": 250.0}),
            "recipe.min.luma_mean=250 and recipe.name=default: luma_mean is to be at least 250.0 and at "
            "most 240.0: nothing is kept",
        ),
        (
            RecipeConfig(min={"luma_mean": 3.0}, max={"luma_mean": 2.5}),
            "recipe.min.luma_mean=3 and recipe.max.luma_mean=2.5: luma_mean is to be at least 3.0 and at "
            "most 2.5",
        ),
        (
            RecipeConfig(min={"sharpness": math.inf}),
            "recipe.min.sharpness=inf: no clip is kept so; -inf takes the minimum of sharpness away",
        ),
        (
            RecipeConfig(max={"luma_mean": -math.inf}),
            "recipe.max.luma_mean=-inf: no clip is kept so; inf takes the maximum of luma_mean away",
        ),
    ],
)
def test_what_a_user_gets_wrong_is_said_with_the_key_that_was_typed(cfg, message):
    with pytest.raises((ValueError, FileNotFoundError), match=f"^{re.escape(message)}"):
        load_recipe(cfg)


def read(tmp_path, text):
    (tmp_path / "r.yaml").write_text(text)
    return load_recipe(RecipeConfig(name=str(tmp_path / "r.yaml")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "expected a mapping with a list 'rules'"),
        ("source: me", "expected a list 'rules'"),
        ("rule: [{score: sharpness, min: 1}]", "a recipe has no 'rule'; did you mean 'rules'?"),
        ("rules: []\nthresholds: []", "a recipe has no 'thresholds'; known are source, rules, not_expressed"),
        ("rules: [", "not YAML: while parsing a flow node"),
        ("rules: [sharpness]", "rule 'sharpness' needs 'score' and 'min' or 'max'"),
        ("rules: [{score: sharpness}]", "needs 'score' and 'min' or 'max'"),
        ("rules: [{score: sharpness, minimum: 1}]", "has an unknown key 'minimum'; did you mean 'min'?"),
        ("rules: [{scor: sharpness, min: 1}]", "has an unknown key 'scor'; did you mean 'score'?"),
        ("rules: [{score: sharpness, 7: 1}]", "has an unknown key '7'; known are score, min, max"),
        ("rules: [{score: [sharpness], min: 1}]", "'score' is ['sharpness'], not the name of one score"),
        ("rules: [{score: null, min: 1}]", "'score' is None, not the name of one score"),
        ("rules: [{score: sharpnes, min: 1}]", "score 'sharpnes' is not known; did you mean 'sharpness'?"),
        ("rules: [{score: sharpness, min: much}]", "'min' of 'sharpness' is 'much', not a number"),
        ("rules: [{score: sharpness, min: yes}]", "'min' of 'sharpness' is True, not a number"),
        ("rules: [{score: sharpness, min: [1]}]", "'min' of 'sharpness' is [1], not a number"),
        ("rules: [{score: sharpness, min: -.inf}]", "'min' of 'sharpness' is -inf, not a number"),
        ("rules: [{score: sharpness, min: nan}]", "'min' of 'sharpness' is 'nan', not a number"),
        (
            "rules: [{score: sharpness, max: 1}]",
            "sharpness can't be bounded from above; it has a minimum: min",
        ),
        (
            "rules: [{score: sharpness, min: 1}, {score: luma_std, min: 1}, {score: sharpness, min: 2}]",
            "'sharpness' has several rules; give one with 'min' and 'max'",
        ),
        ("rules: []\nsource: 2024", "'source' is 2024, not a text"),
        ("rules: []\nnot_expressed: all", "'not_expressed' is 'all', not a list of texts"),
        ("rules: []\nnot_expressed: [1]", "'not_expressed' is [1], not a list of texts"),
    ],
)
def test_a_file_that_is_no_recipe_is_said_in_one_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"^recipe.name=.*r.yaml: .*{re.escape(message)}") as raised:
        read(tmp_path, text)
    assert "\n" not in str(raised.value)


def test_bytes_that_are_no_text_are_no_recipe(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"rules: \xff\xfe\x00")
    with pytest.raises(ValueError, match=r"r\.yaml: not YAML"):
        load_recipe(RecipeConfig(name=str(tmp_path / "r.yaml")))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_in_a_file_are_read_however_they_are_written(tmp_path_factory, number):
    folder = tmp_path_factory.mktemp("recipes")
    for written in (repr(number), f"{number:.17g}", f"{number:e}", f"'{number}'"):
        (rule,) = read(folder, f"rules: [{{score: motion_mean, min: {written}}}]").rules
        assert rule == Rule("motion_mean", float(written.strip("'")))


def test_a_recipe_that_needs_a_model_says_which_before_anything_runs():
    with pytest.raises(ValueError, match=r"recipe 'opensora' needs scores .*aesthetic: .*scores.clip_model"):
        check_measurable(load_recipe(RecipeConfig(name="opensora")), ScoreConfig())
    check_measurable(load_recipe(RecipeConfig()), ScoreConfig())
