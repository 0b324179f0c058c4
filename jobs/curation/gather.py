"""Analyses of units, in any order → one analysis per source, when its last one is in. Pure.

In: what came back from the workers. Out: per source its clips, or why there are none, and what all its units cost.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from jobs.curation.analysis import Analysis


def whole(parts: Iterable[Analysis]) -> Iterator[Analysis]:
    """One analysis per source."""
    waiting: dict[str, list[Analysis]] = defaultdict(list)
    for part in parts:
        got = waiting[part.source_uri]
        got.append(part)
        if len(got) >= part.units:
            yield _joined(waiting.pop(part.source_uri))
    assert not waiting, f"units of {sorted(waiting)} are missing"


def _joined(parts: list[Analysis]) -> Analysis:
    parts = sorted(parts, key=lambda part: part.unit or (0, 0))
    # Without a finished one, some unit failed for a reason that may pass.
    final = next((part for part in parts if part.finished), None) or next(part for part in parts if part.quarantined)
    return replace(
        final, unit=None, hashed=any(part.hashed for part in parts), decoded_s=sum(part.decoded_s for part in parts)
    )
