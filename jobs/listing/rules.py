"""The rules of a recipe as a person reads them, and how one would be loosened so that a clip passes.

In: rules as a manifest has them, and a clip's row. Out: text, and `recipe.…=…` as typed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

_DIGITS = 4


def rule_text(rule: Mapping[str, Any]) -> str:
    """16 ≤ luma_mean ≤ 240."""
    low = f"{rule['min']:g} ≤ " if "min" in rule else ""
    high = f" ≤ {rule['max']:g}" if "max" in rule else ""
    return f"{low}{rule['score']}{high}"


def loosening_overrides(rules: Iterable[Mapping[str, Any]], row: Mapping[str, Any]) -> list[str]:
    """The overrides of `rushes select` under which a clip passes the rules that it breaks; none if it breaks
    none."""
    overrides = []
    for rule in rules:
        score, value = rule["score"], row[rule["score"]]
        for side, none, outward in (("min", -math.inf, math.floor), ("max", math.inf, math.ceil)):
            if side not in rule:
                continue
            if value is None:
                overrides.append(f"recipe.{side}.{score}={none}")
            elif (value < rule["min"]) if side == "min" else (value > rule["max"]):
                overrides.append(f"recipe.{side}.{score}={_rounded(value, outward)}")
    return overrides


def _rounded(value: float, outward: Any) -> str:
    """Few digits, on the side on which the value itself passes."""
    if value == 0:
        return "0"
    step = 10.0 ** (math.floor(math.log10(abs(value))) - _DIGITS + 1)
    near = float(f"{outward(value / step) * step:.{_DIGITS}g}")
    passes = near <= value if outward is math.floor else near >= value
    return f"{near:.{_DIGITS}g}" if passes else repr(value)
