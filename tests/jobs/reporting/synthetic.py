"""An index without footage: rows with scores of all kinds, decided by a recipe, some of them copies; and the
page about them."""

import numpy as np

from jobs.reporting.account import LedgerView
from jobs.reporting.copies import CopiesView
from jobs.reporting.gallery import GalleryView
from jobs.reporting.index import COLUMNS, Clips
from jobs.reporting.page import View, render
from jobs.reporting.scores import scores_view
from jobs.reporting.timeline import FootageView
from pipelines.dataset.schema import INDEX, KEPT, REJECTED, table
from pipelines.recipes.recipe import Recipe, Rule
from pipelines.scores.registry import CAPTION_SCORES

RECIPE = Recipe(
    "test",
    (
        Rule("duration_s", 2.0, 20.0),
        Rule("luma_mean", 16.0, 240.0),
        Rule("motion_mean", 0.0123456789, float("inf")),  # more digits than single precision holds
        Rule("sharpness", 5.0, float("inf")),
        Rule("text_match", 0.05, float("inf")),
    ),
)


def rows(num: int, seed: int, recipe: Recipe = RECIPE) -> list[dict]:
    """Index rows: values on and around the recipe's bounds, some missing, every tenth kept clip a copy of
    another one."""
    rng = np.random.default_rng(seed)
    made = []
    for k in range(num):
        start_s, duration_s = (
            30.0 * k,
            float(rng.choice([2.0, 20.0, round(rng.uniform(0.2, 24), 2)], p=[0.1, 0.1, 0.8])),
        )
        row = {
            "clip_id": f"{k:024x}",
            "source_uri": f"file:///nowhere/{k % 7}.mp4",
            "start_s": start_s,
            "end_s": start_s + duration_s,
            "duration_s": duration_s,
            "short_side": float(rng.choice([240, 480, 720, 1080])),
            "motion_mean": float(rng.choice([0.0123456789, 0.0123456788, rng.lognormal(-3.5, 1.2), 0.0])),
            "object_motion": float(rng.choice([0.1 * 3, 0.3, rng.uniform()])),
            "luma_mean": float(rng.uniform(0, 255)),
            "sharpness": None if rng.uniform() < 0.05 else float(rng.lognormal(3, 1.5)),
            "camera": str(rng.choice(["static", "pan left", "zoom in"])),
            "width": 1280,
            "height": 720,
        }
        if row["sharpness"] is None:
            row["score_gaps"] = [{"score": "sharpness", "why": "too short"}]
        whole = dict.fromkeys(INDEX.names) | row
        if not against(recipe, whole):  # it gets a caption, and what needs one is measured
            whole["text_match"] = float(rng.uniform(0, 0.4))
        reasons = against(recipe, whole)
        made.append(whole | {"status": REJECTED if reasons else KEPT, "reject_reasons": reasons})
    kept = [row for row in made if row["status"] == KEPT]
    for copy in kept[9::10]:
        copy.update(
            status=REJECTED,
            reject_reasons=["duplicate"],
            duplicate_of=kept[0]["clip_id"],
            duplicate_kind="perceptual",
            duplicate_similarity=0.97,
        )
    return made


def against(recipe: Recipe, row: dict) -> list[str]:
    """Reasons against a clip; what needs a caption is not asked of a clip that has none."""
    return recipe.reject_reasons(row, pending=[name for name in CAPTION_SCORES if row[name] is None])


def clips_of(found: list[dict]) -> Clips:
    index = table(found, INDEX)
    return Clips(index.select(COLUMNS), index.to_batches())


def page_of(found: list[dict], recipe: Recipe = RECIPE, most_rows: int = 20_000) -> str:
    """The page with nothing but what decides on it."""
    return render(
        View(
            title="synthetic",
            summary="",
            is_run=False,
            manifest=1,
            keys=[],
            steps=[],
            total="",
            select="rushes select dataset=here",
            funnel=[],
            scores=scores_view(clips_of(found), recipe, most_rows),
            cutoffs={},
            copies=CopiesView([], 0, []),
            footage=FootageView([], 0),
            gallery=GalleryView([], 0, [], 0),
            books=LedgerView([], None, [], 0, "", [], 0, [], [], 0, [], 0),
            trainings=[],
            videos=None,
        )
    )
