"""The difference of two state_dicts as an error message with a suggestion.

In: expected and actual parameter shapes by name. Out: one line, empty if they match.
"""

import difflib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

Shapes = Mapping[str, Sequence[int]]
_SIMILAR = 0.6
_MOST_PAIRS = 10_000  # of names that are compared with each other: a file made to be a burden has millions


def state_diff(expected: Shapes, actual: Shapes) -> str:
    """Missing, unexpected and wrong-shape names, and which of the first two look like one tensor under two
    names."""
    missing = sorted(expected.keys() - actual.keys())
    unexpected = sorted(actual.keys() - expected.keys())
    shapes = [
        f"{name} is {list(actual[name])}, not {list(expected[name])}"
        for name in sorted(expected.keys() & actual.keys())
        if list(actual[name]) != list(expected[name])
    ]
    pairs = renames({name: expected[name] for name in missing}, {name: actual[name] for name in unexpected})
    renamed = [f"'{now}' here may be '{then}' there" for now, then in pairs.items()]
    parts = [("missing", missing), ("unexpected", unexpected), ("wrong shape", shapes), ("renamed?", renamed)]
    return "; ".join(f"{title} ({len(names)}): {_first(names)}" for title, names in parts if names)


def renames(missing: Shapes, unexpected: Shapes) -> dict[str, str]:
    """Which unexpected name each missing one resembles most, one to one.

    Two names are compared only if their tensors have one shape and the names the same numbers in them, such
    as the block's: it keeps block 3 from being taken for block 4, and thousands of names from being compared
    each with each.
    """
    groups: dict[tuple, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, names in enumerate((missing, unexpected)):
        for name in sorted(names):
            groups[tuple(names[name]), tuple(re.findall(r"\d+", name))][side].append(name)
    pairs: dict[str, str] = {}
    for wanted, given in groups.values():
        if len(wanted) * len(given) > _MOST_PAIRS:
            continue
        ratios = sorted(
            (-difflib.SequenceMatcher(None, now, then).ratio(), now, then) for now in wanted for then in given
        )
        taken: set[str] = set()
        for negative, now, then in ratios:
            if -negative >= _SIMILAR and now not in pairs and then not in taken:
                pairs[now] = then
                taken.add(then)
    return dict(sorted(pairs.items()))


def _first(names: Sequence[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
