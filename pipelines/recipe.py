"""Scores → kept or rejected, with reasons: rules that can change without touching footage.

In: a recipe (a preset or a file, with overrides) and the scores of a clip. Out: the reasons against it, none if it is
kept. Reasons are a closed set, named by the scores. A recipe has a hash: what it says, not what it is called.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from pipelines.config import RecipeConfig
from pipelines.ids import fingerprint
from pipelines.scores.registry import NOT_MEASURED, known_score

_PRESETS = "recipes"


@dataclass(frozen=True, slots=True)
class Rule:
    """A clip is kept only if min ≤ score ≤ max."""

    score: str
    min: float = -math.inf
    max: float = math.inf


@dataclass(frozen=True, slots=True)
class Recipe:
    """Rules over scores, sorted by score; `name` is for people and not part of the hash."""

    name: str
    rules: tuple[Rule, ...]

    @property
    def hash(self) -> str:
        return fingerprint([[rule.score, str(rule.min), str(rule.max)] for rule in self.rules])

    def against(self, scores: Mapping[str, Any]) -> list[str]:
        """Sorted reasons to reject a clip with these scores; empty: it is kept."""
        reasons = set()
        for rule in self.rules:
            value = scores[rule.score]
            if value is None:
                reasons.add(NOT_MEASURED)
            elif value < rule.min:
                reasons.add(known_score(rule.score).low)
            elif value > rule.max:
                reasons.add(known_score(rule.score).high)
        return sorted(reasons)


def load_recipe(cfg: RecipeConfig, min_s: float) -> Recipe:
    """The recipe of a run: the preset or file, tightened or loosened by overrides, with the shortest clip as a rule.

    Args:
        cfg: names the recipe and its overrides; an override replaces the recipe's own bound.
        min_s: shortest clip kept, seconds.

    Raises:
        FileNotFoundError: no preset and no file of that name.
        ValueError: a file that says something else than rules over known scores.
    """
    bounds: dict[str, dict[str, float]] = {"duration_s": {"min": min_s}}
    where = f"recipe.name={cfg.name}"
    for rule in _read(cfg.name, where):
        known_score(rule["score"])
        bounds.setdefault(rule["score"], {}).update(
            {side: float(rule[side]) for side in ("min", "max") if side in rule}
        )
    for side, overrides in (("min", cfg.min), ("max", cfg.max)):
        for score, value in overrides.items():
            bounds.setdefault(score, {})[side] = float(value)
    for score, sides in bounds.items():
        _check(score, sides, where)
    return Recipe(cfg.name, tuple(Rule(score, **bounds[score]) for score in sorted(bounds)))


def _check(score: str, sides: Mapping[str, float], where: str) -> None:
    spec = known_score(score)
    for side, reason in (("min", spec.low), ("max", spec.high)):
        if side in sides and not reason:
            raise ValueError(f"{where}: score '{score}' can't be bounded by '{side}'")
    if sides.get("min", -math.inf) > sides.get("max", math.inf):
        raise ValueError(
            f"{where}: {score} is to be at least {sides['min']} and at most {sides['max']}: nothing is kept"
        )


def _read(name: str, where: str) -> list[dict[str, Any]]:
    value = yaml.safe_load(_text(name, where))
    rules = value.get("rules") if isinstance(value, dict) else None
    if not isinstance(rules, list):
        raise ValueError(f"{where}: expected a mapping with a list 'rules', each with 'score' and 'min' or 'max'")
    for rule in rules:
        if not isinstance(rule, dict) or "score" not in rule or not {"min", "max"} & set(rule):
            raise ValueError(f"{where}: rule {rule!r} needs 'score' and 'min' or 'max'")
        if unknown := set(rule) - {"score", "min", "max"}:
            raise ValueError(
                f"{where}: rule for '{rule['score']}' has '{min(unknown)}'; known are 'score', 'min', 'max'"
            )
        if wrong := [side for side in ("min", "max") if side in rule and not isinstance(rule[side], int | float)]:
            raise ValueError(f"{where}: '{wrong[0]}' of '{rule['score']}' is {rule[wrong[0]]!r}, not a number")
    return rules


def _text(name: str, where: str) -> str:
    folder = resources.files("pipelines").joinpath(_PRESETS)
    preset = folder.joinpath(f"{name}.yaml")
    if preset.is_file():
        return preset.read_text()
    if Path(name).suffix in (".yaml", ".yml"):
        if Path(name).is_file():
            return Path(name).read_text()
        raise FileNotFoundError(f"{where}: there is no such file")
    presets = sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    near = difflib.get_close_matches(name, presets, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"presets are {', '.join(presets)}; or give a .yaml file"
    raise FileNotFoundError(f"{where}: recipe '{name}' is not known; {hint}")
