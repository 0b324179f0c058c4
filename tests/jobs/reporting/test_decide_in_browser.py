"""What the page counts is what the recipe that it hands back decides, in a real browser."""

import html
import json
import math
import random
import re

from jobs.cli.formatting import format_duration
from pipelines.recipes.config import RecipeConfig
from pipelines.recipes.recipe import Recipe, Rule, load_recipe
from tests.jobs.reporting.browser import document, driven, needs_browser
from tests.jobs.reporting.synthetic import RECIPE, against, page_of, rows

# Opens links, moves every slider through its range, types numbers, resets; writes down what the page says
# after each.
DRIVER = """{
const verdict = document.querySelector(".verdict"), records = [];
function record(did) {
  const scores = {};
  for (const figure of document.querySelectorAll(".score")) {
    const line = figure.querySelector(".refusals");
    if (line) scores[figure.dataset.key] = { refused: +line.dataset.refused, alone: +line.dataset.alone };
  }
  records.push({ did, clips: +verdict.dataset.clips, hours: +verdict.dataset.hours,
    command: verdict.querySelector("code").textContent,
    text: verdict.querySelector(".clips").textContent, said: verdict.querySelector(".said").textContent,
    copy: !verdict.querySelector(".copy").disabled, scores });
}
record("opened");
verdict.querySelector(".reset").click();
record("reset");
for (const link of LINKS) {
  location.hash = link;
  dispatchEvent(new HashChangeEvent("hashchange"));
  record("link");
}
verdict.querySelector(".reset").click();
for (const handle of document.querySelectorAll(".handle")) {
  for (const step of [60, 333, handle.dataset.side === "min" ? 0 : 500, 200]) {
    handle.value = step;
    handle.dispatchEvent(new Event("input"));
    record("slider");
  }
}
verdict.querySelector(".reset").click();
for (const [field, value] of TYPED) {
  const input = document.querySelector(field);
  input.value = value;
  input.dispatchEvent(new Event("input"));
  record("typed");
}
verdict.querySelector(".reset").click();
record("reset");
const out = document.createElement("pre");
out.id = "records";
out.textContent = JSON.stringify(records);
document.body.append(out);
}"""
TYPED = [
    ["#score-motion_mean input[type=number]", "0.0223456789123"],
    ["#score-motion_mean input[type=number]", "0.0123456789"],  # the recipe's own again
    ["#score-object_motion input[data-side=max][type=number]", "0.3"],
    ["#score-duration_s input[data-side=min][type=number]", ""],
    ["#score-sharpness input[type=number]", ""],
    ["#score-luma_mean input[data-side=min][type=number]", "999"],  # above the other side's 240
]


def open_in_browser(page: str, tmp_path, links, fragment: str) -> list[dict]:
    script = DRIVER.replace("LINKS", json.dumps(links)).replace("TYPED", json.dumps(TYPED))
    dom = document(driven(page, script), tmp_path, fragment)
    return json.loads(html.unescape(re.search(r'<pre id="records">(.*?)</pre>', dom, re.DOTALL)[1]))


def links(seed: int, num: int) -> list[str]:
    """Decisions as links: bounds anywhere, on values that clips have, and taken away."""
    rng = random.Random(seed)
    sides = {
        "duration_s": ("min", "max", lambda: rng.choice([2, 5, 12.5, rng.uniform(0, 25)])),
        "short_side": ("min", None, lambda: rng.choice([480, 481, 720])),
        "motion_mean": (
            "min",
            "max",
            lambda: rng.choice([0.0123457, 0.0123456, rng.lognormvariate(-3.5, 1.2)]),
        ),
        "object_motion": ("min", "max", lambda: rng.choice([0.3, rng.random()])),
        "luma_mean": ("min", "max", lambda: rng.uniform(0, 255)),
        "text_match": ("min", None, lambda: rng.uniform(0, 0.4)),
    }
    found = []
    for _ in range(num):
        parts = []
        for score in rng.sample(sorted(sides), rng.randint(1, 4)):
            low, high, value = sides[score]
            if high is None or rng.random() < 0.5:
                parts.append(f"{low}.{score}={rng.choice([value(), ''])}")
            else:
                parts.append(f"{high}.{score}={rng.choice([value(), 'inf'])}")
        found.append("&".join(parts))
    return found


def recipe_handed_back(command: str) -> Recipe:
    """What `rushes select` would decide by."""
    sides: dict[str, dict[str, float]] = {"min": {}, "max": {}}
    for side, score, value in re.findall(r" recipe\.(min|max)\.(\w+)=(\S+)", command):
        sides[side][score] = float(value)
    current = {"name": "test", "rules": RECIPE.as_rows()}
    return load_recipe(RecipeConfig("current", sides["min"], sides["max"]), current)


@needs_browser
def test_the_page_counts_what_the_recipe_that_it_hands_back_decides(tmp_path):
    found = rows(400, seed=3)
    own = [row for row in found if row["status"] == "kept"]
    decisions = [*links(5, 40), "min.luma_mean=245&max.luma_mean="]  # beyond the recipe's own other side
    records = open_in_browser(page_of(found), tmp_path, decisions, "min.luma_mean=100.5&max.nothing=1")

    assert records[0]["command"].endswith(" recipe.min.luma_mean=100.5")
    assert "max.nothing" in records[0]["said"]
    for reset in (records[1], records[-1]):
        assert reset["clips"] == len(own)
        assert (
            reset["text"]
            == f"{len(own)} clips, {format_duration(sum(r['end_s'] - r['start_s'] for r in own))}"
        )
        assert reset["command"] == "rushes select dataset=here"
        assert not reset["copy"]
    followed = [record["command"] for record in records if record["did"] == "link"]
    assert followed[-1].endswith(" recipe.min.luma_mean=245 recipe.max.luma_mean=inf")
    typed = [record["command"] for record in records if record["did"] == "typed"]
    assert typed[0].endswith(" recipe.min.motion_mean=0.0223457")
    assert "motion_mean" not in typed[1]
    assert {r["did"] for r in records} == {"opened", "reset", "link", "slider", "typed"}
    assert len({r["clips"] for r in records}) > 30, "the decisions are many"

    for record in records:
        recipe = recipe_handed_back(record["command"])
        refused = {row["clip_id"]: refusing(recipe, row) for row in found}
        kept = [row for row in found if not refused[row["clip_id"]] and row["duplicate_of"] is None]
        assert record["clips"] == len(kept), record
        assert math.isclose(
            record["hours"] * 3600, sum(r["end_s"] - r["start_s"] for r in kept), rel_tol=1e-5
        ), record
        for score, said in record["scores"].items():
            assert said["refused"] == sum(score in names for names in refused.values()), (score, record)
            alone = [r for r in found if refused[r["clip_id"]] == [score] and r["duplicate_of"] is None]
            assert said["alone"] == len(alone), (score, record)


def refusing(recipe: Recipe, row: dict) -> list[str]:
    """The scores whose rule refuses a clip."""
    return [rule.score for rule in recipe.rules if against(Recipe("one", (rule,)), row)]


@needs_browser
def test_of_many_clips_the_page_estimates_and_at_the_recipes_own_bounds_it_knows(tmp_path):
    found = rows(3000, seed=4)
    own = [row for row in found if row["status"] == "kept"]
    page = page_of(found, most_rows=1000)
    assert "is estimated from" in page
    records = open_in_browser(page, tmp_path, links(6, 12), "")
    assert (records[1]["clips"], records[1]["text"].startswith("≈")) == (len(own), False)
    for record in records:
        recipe = recipe_handed_back(record["command"])
        kept = [row for row in found if not against(recipe, row) and row["duplicate_of"] is None]
        assert abs(record["clips"] - len(kept)) <= 4 * math.sqrt(3000 / 1000 * 3000) / 2, (
            record
        )  # 4 standard errors, at most


@needs_browser
def test_a_bound_on_what_nobody_measured_refuses_all_and_no_other_bound_brings_a_clip_back(tmp_path):
    recipe = Recipe("needs luma_std", (*RECIPE.rules, Rule("luma_std", 4.0)))
    page = page_of(rows(60, seed=8, recipe=recipe), recipe)
    assert "so it refuses every clip" in page
    records = open_in_browser(page, tmp_path, ["min.duration_s=", "min.luma_std="], "")
    assert {record["clips"] for record in records} == {0}
