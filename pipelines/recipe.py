"""Scores → kept or rejected, with reasons: rules that can change without touching footage.

In: a recipe (a preset, a file, or what a dataset was decided by; with overrides) and the scores of a clip. Out: the reasons
against it, none if it is kept. Reasons are a closed set, named by the scores. A recipe has a hash: what it says, not what it
is called.
"""

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from pipelines.config import RecipeConfig, ScoreConfig
from pipelines.ids import fingerprint
from pipelines.scores.registry import NOT_MEASURED, known_score, missing

CURRENT = "current"
_PRESETS = "recipes"
_KEYS = ("source", "rules", "not_expressed")


@dataclass(frozen=True, slots=True)
class Rule:
    """A clip is kept only if min ≤ score ≤ max."""

    score: str
    min: float = -math.inf
    max: float = math.inf


@dataclass(frozen=True, slots=True)
class Recipe:
    """Rules over scores, sorted by score. `name`, where the thresholds are from (`source`) and which of the source's rules
    these scores can't express (`not_expressed`) are for people and not part of the hash.
    """

    name: str
    rules: tuple[Rule, ...]
    source: str = ""
    not_expressed: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        return fingerprint([[rule.score, str(rule.min), str(rule.max)] for rule in self.rules])

    def against(self, scores: Mapping[str, Any], pending: Collection[str] = ()) -> list[str]:
        """Sorted reasons to reject a clip with these scores; empty: it is kept.

        Args:
            pending: scores that are still to be measured: their rules are not asked yet.
        """
        reasons = set()
        for rule in self.rules:
            if rule.score in pending:
                continue
            value = scores[rule.score]
            if value is None:
                reasons.add(NOT_MEASURED)
            elif value < rule.min:
                reasons.add(known_score(rule.score).low)
            elif value > rule.max:
                reasons.add(known_score(rule.score).high)
        return sorted(reasons)

    def as_rows(self) -> list[dict[str, Any]]:
        """The rules as a file or a manifest has them: `score`, and `min` or `max` where bounded."""
        return [
            {"score": rule.score}
            | ({"min": rule.min} if math.isfinite(rule.min) else {})
            | ({"max": rule.max} if math.isfinite(rule.max) else {})
            for rule in self.rules
        ]


def load_recipe(cfg: RecipeConfig, current: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of a run: the preset or file, tightened or loosened by overrides.

    Args:
        cfg: names the recipe and its overrides; an override replaces the recipe's own bound, ±inf removes it.
        current: of the dataset's manifest, for the name `current`; None before the first.

    Raises:
        FileNotFoundError: no preset and no file of that name, or no dataset to take the current one from.
        ValueError: a file that says something else than rules over known scores.
    """
    where = f"recipe.name={cfg.name}"
    if cfg.name == CURRENT:
        if current is None:
            raise FileNotFoundError(f"{where}: the dataset has no manifest yet; name a preset or a file")
        name, content = current["name"], {"rules": current["rules"]}
    else:
        name, content = cfg.name, _read(cfg.name, where)
    bounds: dict[str, dict[str, float]] = {}
    for rule in content["rules"]:
        known_score(rule["score"])
        bounds.setdefault(rule["score"], {}).update(
            {side: float(rule[side]) for side in ("min", "max") if side in rule}
        )
    for side, overrides in (("min", cfg.min), ("max", cfg.max)):
        for score, value in overrides.items():
            bounds.setdefault(score, {})[side] = float(value)
    for score, sides in bounds.items():
        _check(score, sides, where)
    rules = (Rule(score, **bounds[score]) for score in sorted(bounds))
    bounding = tuple(rule for rule in rules if math.isfinite(rule.min) or math.isfinite(rule.max))
    return Recipe(name, bounding, content.get("source", ""), tuple(content.get("not_expressed", ())))


def check_measurable(recipe: Recipe, scores: ScoreConfig) -> None:
    """Every score that the recipe needs is measured with this config.

    Raises:
        ValueError: says which is not, and which key to set.
    """
    lacking = [f"{rule.score}: {why}" for rule in recipe.rules if (why := missing(rule.score, scores)) is not None]
    if lacking:
        raise ValueError(
            f"recipe '{recipe.name}' needs scores that nothing measures here, and would reject every clip: "
            + "; ".join(lacking)
        )


def _check(score: str, sides: Mapping[str, float], where: str) -> None:
    spec = known_score(score)
    for side, reason in (("min", spec.low), ("max", spec.high)):
        if side in sides and not reason:
            raise ValueError(f"{where}: score '{score}' can't be bounded by '{side}'")
        if math.isnan(sides.get(side, 0.0)):
            raise ValueError(f"{where}: '{side}' of '{score}' is not a number")
    if sides.get("min", -math.inf) > sides.get("max", math.inf):
        raise ValueError(
            f"{where}: {score} is to be at least {sides['min']} and at most {sides['max']}: nothing is kept"
        )


def _read(name: str, where: str) -> dict[str, Any]:
    try:
        value = yaml.safe_load(_text(name, where))
    except yaml.YAMLError as error:
        raise ValueError(f"{where}: not YAML: {error}") from error
    rules = value.get("rules") if isinstance(value, dict) else None
    if not isinstance(rules, list):
        raise ValueError(f"{where}: expected a mapping with a list 'rules', each with 'score' and 'min' or 'max'")
    if unknown := set(value) - set(_KEYS):
        raise ValueError(f"{where}: a recipe has no '{min(unknown)}'; known are {', '.join(_KEYS)}")
    for rule in rules:
        if not isinstance(rule, dict) or "score" not in rule or not {"min", "max"} & set(rule):
            raise ValueError(f"{where}: rule {rule!r} needs 'score' and 'min' or 'max'")
        if unknown := set(rule) - {"score", "min", "max"}:
            raise ValueError(
                f"{where}: rule for '{rule['score']}' has '{min(unknown)}'; known are 'score', 'min', 'max'"
            )
        if wrong := [side for side in ("min", "max") if side in rule and not isinstance(rule[side], int | float)]:
            raise ValueError(f"{where}: '{wrong[0]}' of '{rule['score']}' is {rule[wrong[0]]!r}, not a number")
    return value


def presets() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("pipelines").joinpath(_PRESETS)
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _text(name: str, where: str) -> str:
    preset = resources.files("pipelines").joinpath(_PRESETS).joinpath(f"{name}.yaml")
    if preset.is_file():
        return preset.read_text()
    if Path(name).suffix in (".yaml", ".yml"):
        if Path(name).is_file():
            return Path(name).read_text()
        raise FileNotFoundError(f"{where}: there is no such file")
    near = difflib.get_close_matches(name, presets(), n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"presets are {', '.join(presets())}; or give a .yaml file"
    raise FileNotFoundError(f"{where}: recipe '{name}' is not known; {hint}")
