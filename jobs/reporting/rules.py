"""The recipe that decided a dataset, and what of a clip it refuses: the same law as `Recipe.against`, by
columns.

In: the manifest, the index. Out: the rules, and for each of them which clips it refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jobs.reporting.index import Clips
from pipelines.recipes.recipe import Recipe, Rule, manifest_rules
from pipelines.scores.registry import CAPTION_SCORES


def recipe_of(manifest_recipe: Mapping[str, Any]) -> Recipe:
    """The recipe that a manifest describes; without rules if they are not known."""
    return Recipe(
        manifest_recipe["name"], tuple(Rule(**rule) for rule in manifest_rules(manifest_recipe) or ())
    )


def rejected_by_rule(clips: Clips, rule: Rule) -> np.ndarray:
    """bool (N): the clips that a rule refuses; one without the value is refused, unless its caption must come
    first."""
    values = clips.numbers(rule.score) if clips.has(rule.score) else np.full(len(clips), np.nan)
    later = np.isnan(values) if rule.score in CAPTION_SCORES else False
    return ~((values >= rule.min) & (values <= rule.max) | later)


def rejected_regardless(clips: Clips, recipe: Recipe) -> np.ndarray:
    """bool (N): rejected for something that is no rule, as copies are, so that no other bound brings them
    back.

    Raises:
        ValueError: the index keeps a clip that the rules refuse.
    """
    refused = np.zeros(len(clips), bool)
    for rule in recipe.rules:
        refused |= rejected_by_rule(clips, rule)
    wrong = np.flatnonzero(clips.kept & refused)
    if len(wrong):
        raise ValueError(
            f"the index keeps {len(wrong):,} clips that the manifest's recipe refuses, clip "
            f"{clips.table['clip_id'][int(wrong[0])].as_py()} the first; decide again with `rushes select`"
        )
    copies = np.array([clip_id is not None for clip_id in clips.column("duplicate_of")], bool)
    return ~clips.kept & (~refused | copies)
