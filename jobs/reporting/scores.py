"""How the scores of all clips are distributed, and where the recipe draws its lines.

In: the index of a dataset, and the recipe that decided it. Out: a histogram per measured score, a count per label.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.reporting.charts import Histogram, histogram
from jobs.reporting.text import words
from pipelines.config import RecipeConfig
from pipelines.recipe import Recipe, load_recipe
from pipelines.schema import KEPT
from pipelines.scores.registry import SCORES

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LabelBar:
    """How many clips carry a label; widths in percent of the most frequent one."""

    label: str
    kept: int
    rejected: int
    kept_width: float
    rejected_width: float


@dataclass(frozen=True, slots=True)
class ScoreView:
    """One score over all clips: a histogram, or bars of labels."""

    name: str
    doc: str
    unit: str
    model: str
    histogram: Histogram | None
    labels: list[LabelBar]
    refused: int
    not_measured: int


@dataclass(frozen=True, slots=True)
class ScoresView:
    """All scores; `has_bounds` says whether the thresholds of the recipe that decided are known here."""

    scores: list[ScoreView]
    recipe_name: str
    recipe_hash: str
    has_bounds: bool
    reasons: list[tuple[str, int]]


def recipe_of(manifest_recipe: Mapping[str, str], run_configs: Sequence[Mapping[str, Any]]) -> Recipe | None:
    """The recipe whose hash the manifest names, from the configs of the curation runs; None if none of them has it.

    Args:
        run_configs: composed configs of `rushes curate`, newest first.
    """
    for config in run_configs:
        try:
            recipe = load_recipe(RecipeConfig(**config["recipe"]), config["clips"]["min_s"])
        except (FileNotFoundError, ValueError) as error:  # a recipe's file may have gone since, or changed
            logger.info("a run's recipe can't be read any more: %s", error)
            continue
        if recipe.hash == manifest_recipe["hash"]:
            return recipe
    return None


def scores_view(
    clips: Sequence[Mapping[str, Any]], manifest_recipe: Mapping[str, str], recipe: Recipe | None
) -> ScoresView:
    """Distributions over all clips, kept and rejected."""
    bounds = {} if recipe is None else {rule.score: _bounds(rule.min, rule.max) for rule in recipe.rules}
    reasons = Counter(reason for clip in clips for reason in clip["reject_reasons"] or ())
    views = [_score_view(name, clips, bounds.get(name, {})) for name in SCORES if clips and name in clips[0]]
    counted = sorted(((words([reason]), n) for reason, n in reasons.items()), key=lambda item: (-item[1], item[0]))
    return ScoresView(views, manifest_recipe["name"], manifest_recipe["hash"], recipe is not None, counted)


def _bounds(low: float, high: float) -> dict[str, float]:
    return {side: value for side, value in (("min", low), ("max", high)) if math.isfinite(value)}


def _score_view(name: str, clips: Sequence[Mapping[str, Any]], bounds: Mapping[str, float]) -> ScoreView:
    score = SCORES[name]
    measured = [(clip[name], clip["status"] == KEPT) for clip in clips if clip[name] is not None]
    labels, chart = [], None
    if score.is_label:
        labels = _label_bars(measured)
    elif measured:
        chart = histogram([v for v, kept in measured if kept], [v for v, kept in measured if not kept], bounds)
    own = {score.low, score.high} - {""}
    low, high = bounds.get("min", -math.inf), bounds.get("max", math.inf)
    refused = sum(not low <= value <= high for value, _ in measured) if own and bounds else 0
    return ScoreView(
        words([name.removesuffix("_s")]),
        score.doc,
        "" if score.is_label else score.unit,
        score.source,
        chart,
        labels,
        refused,
        len(clips) - len(measured),
    )


def _label_bars(measured: Sequence[tuple[str, bool]]) -> list[LabelBar]:
    kept, everything = Counter(label for label, is_kept in measured if is_kept), Counter(label for label, _ in measured)
    most = max(everything.values(), default=1)
    return [
        LabelBar(
            label,
            kept[label],
            n - kept[label],
            round(100 * kept[label] / most, 2),
            round(100 * (n - kept[label]) / most, 2),
        )
        for label, n in sorted(everything.items(), key=lambda item: (-item[1], item[0]))
    ]
