"""A recipe's YAML, a preset or a file → its content, checked.

In: a name or a path. Out: `rules` (of each `score`, and `min` or `max` or both as floats), and `source` and
`not_expressed` where the file has them. Which scores there are is not known here.
"""

import math
from collections.abc import Collection
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from pipelines.naming import closest_match, did_you_mean

_PRESETS = "recipes"
_KEYS = ("source", "rules", "not_expressed")
SIDES = ("min", "max")
_RULE_KEYS = ("score", *SIDES)
_MOST_BYTES, _MOST_RULES = 64 * 2**10, 1000  # the longest preset has 6 KB and 20 rules


class _Loader(yaml.SafeLoader):
    """Of plain values, each written out: with aliases a kilobyte can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias (*name); write out what it stands for")
        return super().compose_node(parent, index)


def read_recipe(name: str, where: str) -> dict[str, Any]:
    """The content of a preset or a file.

    Args:
        where: how errors begin.

    Raises:
        FileNotFoundError: no preset and no file of that name.
        ValueError: it says something else than a recipe does.
    """
    try:
        value = yaml.load(_data(name, where), _Loader)
    except RecursionError:
        raise ValueError(f"{where}: nested deeper than any recipe is") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(value, dict):
        raise ValueError(
            f"{where}: expected a mapping with a list 'rules', each with 'score' and 'min' or 'max'"
        )
    _check_keys(value, _KEYS, f"{where}: a recipe has no")
    if not isinstance(value.get("rules"), list):
        raise ValueError(f"{where}: expected a list 'rules', each with 'score' and 'min' or 'max'")
    if not isinstance(value.get("source", ""), str):
        raise ValueError(f"{where}: 'source' is {value['source']!r}, not a text")
    left_out = value.get("not_expressed", [])
    if not isinstance(left_out, list) or not all(isinstance(text, str) for text in left_out):
        raise ValueError(f"{where}: 'not_expressed' is {left_out!r}, not a list of texts")
    return value | {"rules": parse_rules(value["rules"], where)}


def parse_rules(value: Any, where: str) -> list[dict[str, Any]]:
    """Rules as a file or a manifest has them, each of one score with `min` or `max` or both as floats.

    Raises:
        ValueError: they are something else.
    """
    if not isinstance(value, list) or len(value) > _MOST_RULES:
        raise ValueError(
            f"{where}: expected a list 'rules' of at most {_MOST_RULES}, each with 'score' and 'min' or 'max'"
        )
    rules = [_rule(rule, where) for rule in value]
    scores = [rule["score"] for rule in rules]
    if twice := [score for score in scores if scores.count(score) > 1]:
        raise ValueError(f"{where}: '{twice[0]}' has several rules; give one with 'min' and 'max'")
    return rules


def _rule(rule: Any, where: str) -> dict[str, Any]:
    if not isinstance(rule, dict):
        raise ValueError(f"{where}: rule {rule!r} needs 'score' and 'min' or 'max'")
    _check_keys(rule, _RULE_KEYS, f"{where}: rule {rule!r} has an unknown key")
    if "score" not in rule or not {*SIDES} & set(rule):
        raise ValueError(f"{where}: rule {rule!r} needs 'score' and 'min' or 'max'")
    if not isinstance(rule["score"], str):
        raise ValueError(f"{where}: 'score' is {rule['score']!r}, not the name of one score")
    bounds = {side: _finite(rule[side]) for side in SIDES if side in rule}
    if wrong := [side for side, bound in bounds.items() if bound is None]:
        raise ValueError(f"{where}: '{wrong[0]}' of '{rule['score']}' is {rule[wrong[0]]!r}, not a number")
    return {"score": rule["score"]} | bounds


def _finite(value: Any) -> float | None:
    """None if it is not one. YAML 1.1 reads `2e-3` as a text, and `yes` as a bool."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _check_keys(value: dict[Any, Any], known: Collection[str], complaint: str) -> None:
    for key in value:
        if key not in known:
            hint = did_you_mean(str(key), known)
            raise ValueError(f"{complaint} '{key}'; {hint}")


def presets() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("pipelines").joinpath(_PRESETS)
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def _data(name: str, where: str) -> bytes:
    preset = resources.files("pipelines").joinpath(_PRESETS).joinpath(f"{name}.yaml")
    if preset.is_file():
        return preset.read_bytes()
    if Path(name).suffix in (".yaml", ".yml"):
        if Path(name).is_file():
            if Path(name).stat().st_size > _MOST_BYTES:
                raise ValueError(f"{where}: it has more than {_MOST_BYTES:,} bytes, which no recipe has")
            return Path(name).read_bytes()
        raise FileNotFoundError(f"{where}: there is no such file")
    near = closest_match(name, presets())
    hint = f"did you mean '{near}'?" if near else f"presets are {', '.join(presets())}; or give a .yaml file"
    raise FileNotFoundError(f"{where}: recipe '{name}' is not known; {hint}")
