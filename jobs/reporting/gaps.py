"""Why scores are null, and who measured those that are not.

In: the index. Out: by score, how many clips lack it for which reason; by source of scores, its models. All of
it is in the index: nothing is guessed from a configuration.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import pyarrow as pa

from jobs.reporting.index import Clips

UNKNOWN_REASON = "the index does not say why"


def gaps(clips: Clips) -> dict[str, list[tuple[str, int]]]:
    """By score: (why it is null, for how many clips), the most frequent first."""
    return _ordered(_counted(clips, "score_gaps", "score", "why"))


def models(clips: Clips) -> dict[str, list[tuple[str, int]]]:
    """By source of scores: (what measured, how many clips), the most frequent first."""
    return _ordered(_counted(clips, "score_models", "source", "model"))


def _counted(clips: Clips, column: str, key: str, value: str) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    if clips.has(column):
        pairs = clips.table[column].combine_chunks().flatten()
        counts = pa.table({key: pairs.field(key), value: pairs.field(value)}).group_by(
            [key, value], use_threads=False
        )
        for row in counts.aggregate([([], "count_all")]).to_pylist():
            found[row[key]][row[value] or UNKNOWN_REASON] += row["count_all"]
    return found


def _ordered(found: dict[str, Counter[str]]) -> dict[str, list[tuple[str, int]]]:
    return {
        key: sorted(counts.items(), key=lambda item: (-item[1], item[0])) for key, counts in found.items()
    }
