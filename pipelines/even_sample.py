"""What is shown of more than fits: the same choice every time, spread over all.

In: a sorted sequence. Out: a part of it, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def even_sample(items: Sequence[T], most: int) -> list[T]:
    """At most `most` items at even distances, the first among them."""
    if len(items) <= most:
        return list(items)
    return [items[len(items) * k // most] for k in range(most)]
