"""Scores → kept or rejected, with reasons: rules that can change without touching footage.

In: a recipe (a preset, a file, or what a dataset was decided by; with overrides) and the scores of a clip.
Out: the reasons against it, none if it is kept. Reasons are a closed set, named by the scores. A recipe has a
hash: what it says, not what it is called.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.ids import fingerprint
from pipelines.recipes.config import RecipeConfig
from pipelines.recipes.files import SIDES, parse_rules, presets, read_recipe
from pipelines.scores.config import ScoreConfig
from pipelines.scores.registry import NOT_MEASURED, get_score, missing

CURRENT = "current"
_NO_BOUND = {"min": -math.inf, "max": math.inf}
_NAME = {"min": "minimum", "max": "maximum"}
_FROM = {"min": "below", "max": "above"}


@dataclass(frozen=True, slots=True)
class Rule:
    """A clip is kept only if min ≤ score ≤ max."""

    score: str
    min: float = -math.inf
    max: float = math.inf


@dataclass(frozen=True, slots=True)
class Recipe:
    """Rules over scores, sorted by score. `name`, where the thresholds are from (`source`) and which of the
    source's rules these scores can't express (`not_expressed`) are for people and not part of the hash.
    """

    name: str
    rules: tuple[Rule, ...]
    source: str = ""
    not_expressed: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        return fingerprint([[rule.score, str(rule.min), str(rule.max)] for rule in self.rules])

    def reject_reasons(self, scores: Mapping[str, Any], pending: Collection[str] = ()) -> list[str]:
        """Sorted reasons to reject a clip with these scores; empty: it is kept.

        Args:
            pending: scores that are measured later; their rules are skipped for now.
        """
        reasons = set()
        for rule in self.rules:
            if rule.score in pending:
                continue
            value = scores[rule.score]
            if value is None:
                reasons.add(NOT_MEASURED)
            elif value < rule.min:
                reasons.add(get_score(rule.score).low)
            elif value > rule.max:
                reasons.add(get_score(rule.score).high)
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
        cfg: names the recipe and its overrides; an override replaces the recipe's own bound, a minimum of
            -inf or a maximum of inf removes it.
        current: of the dataset's manifest, for the name `current`; None before the first.

    Raises:
        FileNotFoundError: no preset and no file of that name, or no dataset to take the current one from.
        ValueError: a file or an override that says something else than rules over known scores; it names
        which.
    """
    where = f"recipe.name={cfg.name}"
    content: Mapping[str, Any]
    if cfg.name == CURRENT:
        if current is None:
            raise FileNotFoundError(f"{where}: the dataset has no manifest yet; name a preset or a file")
        rules = manifest_rules(current)
        if rules is None:
            raise ValueError(
                f"{where}: an early version made the dataset, which kept the name of its recipe "
                f"('{current.get('name')}') and not its rules; name a preset or a file"
            )
        name, content = str(current.get("name")), {"rules": rules}
    else:
        name, content = cfg.name, read_recipe(cfg.name, where)
    bounds = {
        rule["score"]: {side: _Bound(float(rule[side]), where) for side in SIDES if side in rule}
        for rule in content["rules"]
    }
    for side, overrides in zip(SIDES, (cfg.min, cfg.max), strict=True):
        for score, value in overrides.items():
            typed = f"recipe.{side}.{score}={repr(float(value)).removesuffix('.0')}"
            bounds.setdefault(score, {})[side] = _Bound(float(value), typed)
    for score, sides in bounds.items():
        _check(score, sides, where)
    all_rules = (
        Rule(score, **{side: bound.value for side, bound in bounds[score].items()})
        for score in sorted(bounds)
    )
    bounding = tuple(rule for rule in all_rules if math.isfinite(rule.min) or math.isfinite(rule.max))
    return Recipe(name, bounding, content.get("source", ""), tuple(content.get("not_expressed", ())))


def manifest_rules(current: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The rules of a manifest's recipe. Early versions kept only its name and hash: the rules are those of
    the preset of that name if it has that hash, and None, not known, if not.
    """
    if "rules" in current:
        return parse_rules(current["rules"], "the dataset's recipe")
    if current.get("name") not in presets():  # a file of that name is another's word
        return None
    try:
        preset = load_recipe(RecipeConfig(name=current["name"]))
    except (FileNotFoundError, ValueError):
        return None
    return preset.as_rows() if preset.hash == current.get("hash") else None


def check_measurable(recipe: Recipe, scores: ScoreConfig) -> None:
    """Every score that the recipe needs is measured with this config.

    Raises:
        ValueError: says which is not, and which key to set.
    """
    lacking = [
        f"{rule.score}: {why}" for rule in recipe.rules if (why := missing(rule.score, scores)) is not None
    ]
    if lacking:
        raise ValueError(
            f"recipe '{recipe.name}' needs scores that nothing measures here, and would reject every clip: "
            + "; ".join(lacking)
        )


@dataclass(frozen=True, slots=True)
class _Bound:
    """One side of a rule, and what to name when it is wrong: the recipe, or the override as typed."""

    value: float
    given_by: str


def _check(score: str, sides: Mapping[str, _Bound], where: str) -> None:
    try:
        spec = get_score(score)
    except ValueError as error:
        raise ValueError(f"{next(iter(sides.values())).given_by}: {error}") from None
    reasons = {"min": spec.low, "max": spec.high}
    for side, bound in sides.items():
        other = "max" if side == "min" else "min"
        if not any(reasons.values()):
            raise ValueError(f"{bound.given_by}: {score} can't be bounded; it is for looking at only")
        if not reasons[side]:
            key = other if bound.given_by == where else f"recipe.{other}.{score}"
            raise ValueError(
                f"{bound.given_by}: {score} can't be bounded from {_FROM[side]}; it has a {_NAME[other]}: "
                f"{key}"
            )
        if math.isnan(bound.value):
            raise ValueError(f"{bound.given_by}: that is not a number")
        if bound.value == -_NO_BOUND[side]:
            raise ValueError(
                f"{bound.given_by}: no clip is kept so; {_NO_BOUND[side]} takes the {_NAME[side]} of "
                f"{score} away"
            )
    if set(sides) == set(SIDES) and sides["min"].value > sides["max"].value:
        by = " and ".join(dict.fromkeys(sides[side].given_by for side in SIDES))
        raise ValueError(
            f"{by}: {score} is to be at least {sides['min'].value} and at most {sides['max'].value}: "
            "nothing is kept"
        )
