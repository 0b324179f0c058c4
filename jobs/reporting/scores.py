"""The scores of all clips, where the recipe draws its lines, and what the page needs to draw others.

In: the index of a dataset, and the recipe that decided it. Out: a card per measured score: a histogram with
the sides that can be bounded, or a bar per label; the scores that nobody measured, and why.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jobs.cli.formatting import format_number, format_words
from jobs.reporting.decision import MOST_ROWS, DecisionData, comparable, decision_data, packed
from jobs.reporting.drawing.histograms import NO_BIN, Histogram, histogram, places
from jobs.reporting.gaps import UNKNOWN_REASON, gaps, models
from jobs.reporting.index import Clips
from jobs.reporting.rules import rejected_by_rule, rejected_regardless
from pipelines.recipes.recipe import Recipe, Rule
from pipelines.scores.base import Score
from pipelines.scores.registry import CAPTION_SCORES, SCORES

_MOST_LABELS = 16


@dataclass(frozen=True, slots=True)
class LabelBar:
    """How many clips carry a label; widths in percent of the most frequent one."""

    label: str
    kept: int
    rejected: int
    kept_width: float
    rejected_width: float


@dataclass(frozen=True, slots=True)
class Side:
    """A side of a score that a rule can bound.

    Attributes:
        name: min or max.
        bound: the recipe's own, as people read it, and to the last digit; empty without one.
        at: where it stands on the axis, percent; at its end without one.
        reason: what a clip beyond it is called.
    """

    name: str
    bound: str
    exact: str
    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class ScoreCard:
    """One score over all clips: a histogram, or bars of labels.

    Attributes:
        key, name: as the recipe writes it, and as people read it.
        sides: those that a rule can bound; none of a score that is only looked at.
        refused, refused_only_here: clips that the recipe refuses for it, and those among them that nothing
        else refuses.
        gaps: why it is null, for how many clips.
        by: what measured it.
        bins: of the clips that the page holds, uint8; kept and rejected clips of all by bin are in `counts`.
        is_deferred: whether a clip without a value is not refused, as it is measured once the clip is kept
        and captioned.
        values: of the clips that the page holds, float32, of a score with sides; empty else.
    """

    key: str
    name: str
    doc: str
    unit: str
    by: list[str]
    histogram: Histogram | None
    labels: list[LabelBar]
    sides: list[Side]
    refused: int
    refused_only_here: int
    not_measured: int
    gaps: list[tuple[str, int]]
    is_deferred: bool
    bins: str
    counts: tuple[list[int], list[int]]
    values: str


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """A score that no clip has; if the recipe bounds it, that refuses all of them."""

    name: str
    doc: str
    gaps: list[tuple[str, int]]
    refuses_all: bool


@dataclass(frozen=True, slots=True)
class ScoresView:
    """All scores.

    Attributes:
        bounded, others: cards of the scores that the recipe asks for, and of the rest.
    """

    bounded: list[ScoreCard]
    others: list[ScoreCard]
    unmeasured: list[Unmeasured]
    recipe_name: str
    data: DecisionData


def scores_view(clips: Clips, recipe: Recipe, most_rows: int = MOST_ROWS) -> ScoresView:
    """Cards of all scores.

    Args:
        most_rows: clips that the page holds.
    """
    rules = {rule.score: rule for rule in recipe.rules}
    refused = {name: rejected_by_rule(clips, rule) for name, rule in rules.items()}
    times = np.sum(list(refused.values()), axis=0) if refused else np.zeros(len(clips), int)
    stay = rejected_regardless(clips, recipe)
    for name, own in refused.items():  # a bound that has no card can't be moved
        if not _is_measured(clips, name):
            stay |= own
    data, why, who = decision_data(clips, stay, most_rows), gaps(clips), models(clips)
    bounded: list[ScoreCard] = []
    others: list[ScoreCard] = []
    unmeasured: list[Unmeasured] = []
    for name, score in SCORES.items():
        if not (score.is_number or score.is_label):
            continue
        nulls = clips.table[name].null_count if clips.has(name) else len(clips)
        reasons = _reasons(why.get(name, []), nulls)
        if not _is_measured(clips, name):
            unmeasured.append(
                Unmeasured(_name(name), score.doc, reasons, name in refused and bool(refused[name].all()))
            )
            continue
        own = refused.get(name, np.zeros(len(clips), bool))
        common = {
            "key": name,
            "name": _name(name),
            "doc": score.doc,
            "by": [model for model, _ in who.get(score.source, [])],
            "refused": int(own.sum()),
            "refused_only_here": int((own & (times == 1) & ~stay).sum()),
            "not_measured": nulls,
            "gaps": reasons,
            "is_deferred": name in CAPTION_SCORES,
        }
        make = _label_card if score.is_label else _number_card
        card = make(clips, score, rules.get(name, Rule(name)), data, common)
        (bounded if name in rules else others).append(card)
    return ScoresView(bounded, others, unmeasured, recipe.name, data)


def _is_measured(clips: Clips, name: str) -> bool:
    return name in SCORES and clips.has(name) and clips.table[name].null_count < len(clips)


def _name(score: str) -> str:
    return format_words([score.removesuffix("_s")])


def _reasons(said: Sequence[tuple[str, int]], nulls: int) -> list[tuple[str, int]]:
    unsaid = nulls - sum(count for _, count in said)
    return [*said, (UNKNOWN_REASON, unsaid)] if unsaid > 0 else list(said)


def _number_card(clips: Clips, score: Score, rule: Rule, data: DecisionData, common: Mapping) -> ScoreCard:
    bounds = {side: value for side, value in (("min", rule.min), ("max", rule.max)) if math.isfinite(value)}
    values = clips.numbers(rule.score)
    chart = histogram(values, clips.kept, list(bounds.values()))
    sides = [
        _side(name, bounds.get(name), reason, chart)
        for name, reason in (("min", score.low), ("max", score.high))
        if reason and chart
    ]
    held = comparable(values[data.rows], list(bounds.values())) if sides else np.array([], "<f4")
    return ScoreCard(
        **common,
        unit=score.unit,
        histogram=chart,
        labels=[],
        sides=sides,
        bins=packed(chart.bins[data.rows]) if chart else "",
        counts=(chart.kept, chart.rejected) if chart else ([], []),
        values=packed(held),
    )


def _side(name: str, bound: float | None, reason: str, chart: Histogram) -> Side:
    end = 0.0 if name == "min" else 100.0
    at = end if bound is None else round(float(places(chart.axis, np.array([bound]))[0]), 2)
    return Side(
        name,
        "" if bound is None else format_number(bound),
        "" if bound is None else repr(bound),
        at,
        format_words([reason]),
    )


def _label_card(clips: Clips, score: Score, rule: Rule, data: DecisionData, common: Mapping) -> ScoreCard:
    labels = clips.column(rule.score)
    found = Counter(label for label in labels if label is not None)
    shown = [label for label, _ in sorted(found.items(), key=lambda item: (-item[1], item[0]))[:_MOST_LABELS]]
    place = {label: k for k, label in enumerate(shown)}
    bins = np.array([place.get(label, NO_BIN) for label in labels], np.uint8)
    kept, rejected = (
        np.bincount(bins[which], minlength=256)[: len(shown)].tolist() for which in (clips.kept, ~clips.kept)
    )
    most = max(found.values())
    bars = [
        LabelBar(label, a, b, round(100 * a / most, 2), round(100 * b / most, 2))
        for label, a, b in zip(shown, kept, rejected, strict=True)
    ]
    return ScoreCard(
        **common,
        unit="",
        histogram=None,
        labels=bars,
        sides=[],
        bins=packed(bins[data.rows]),
        counts=(kept, rejected),
        values="",
    )
