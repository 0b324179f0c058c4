"""The clips just below and just above each threshold of the recipe: what its number means, to the eye.

In: the index, the recipe. Out: by score and side, the nearest clips on both sides of the bound, in the order
of their values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from jobs.cli.formatting import format_number
from jobs.reporting.drawing.thumbs import Thumb, Thumbs
from jobs.reporting.index import Clips
from pipelines.recipes.recipe import Recipe, Rule

_EACH = 4
_MOST_BOUNDS = 32


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A clip near a bound: its value as people read it, and to the last digit."""

    thumb: Thumb
    value: str
    exact: str


@dataclass(frozen=True, slots=True)
class CutOff:
    """The clips around one bound of the recipe: `below` and `above` are by value; which of them is refused,
    the side says."""

    side: str
    bound: str
    below: list[Neighbour]
    above: list[Neighbour]


def bounds_of(recipe: Recipe) -> list[tuple[Rule, str, float]]:
    """(rule, min or max, bound) of every threshold that gets pictures."""
    every = [
        (rule, side, value) for rule in recipe.rules for side, value in (("min", rule.min), ("max", rule.max))
    ]
    return [bound for bound in every if math.isfinite(bound[2])][:_MOST_BOUNDS]


def cutoffs(clips: Clips, recipe: Recipe, thumbs: Thumbs) -> dict[str, list[CutOff]]:
    """By score, one for each bounded side; none where no clip has the score."""
    found: dict[str, list[CutOff]] = {}
    for rule, side, bound in bounds_of(recipe):
        if clips.has(rule.score) and clips.table[rule.score].null_count < len(clips):
            values = clips.numbers(rule.score)
            below, above = nearest(values, side, bound)
            sides = (
                [_neighbour(clips, float(values[k]), k, bound, thumbs) for k in places]
                for places in (below, above)
            )
            found.setdefault(rule.score, []).append(CutOff(side, format_number(bound), *sides))
    return found


def nearest(values: np.ndarray, side: str, bound: float, each: int = _EACH) -> tuple[list[int], list[int]]:
    """Places of the values nearest to a bound, below and above it, ascending by value.

    Args:
        values: float64 (N), NaN where there is none.
        side: a value that equals the bound is kept: above a min, below a max.
    """
    order = np.argsort(values, kind="stable")[: int(np.isfinite(values).sum())]
    cut = int(np.searchsorted(values[order], bound, side="left" if side == "min" else "right"))
    return order[max(0, cut - each) : cut].tolist(), order[cut : cut + each].tolist()


def _neighbour(clips: Clips, value: float, place: int, bound: float, thumbs: Thumbs) -> Neighbour:
    return Neighbour(thumbs.get(clips.rows[place]), apart(value, bound), repr(value))


def apart(value: float, bound: float) -> str:
    """A value with as many digits as tell it from the bound."""
    if value == bound or format_number(value) != format_number(bound):
        return format_number(value)
    return next(
        (text for digits in range(4, 17) if float(text := f"{value:.{digits}g}") != bound), repr(value)
    )
