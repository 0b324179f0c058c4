"""A clip that has no file → why, and what would give it one.

In: its row, and the recipe of its dataset. Out: one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.listing.account import in_words
from jobs.listing.rules import loosening_overrides
from pipelines.dataset.reader import Dataset
from pipelines.scores.registry import DUPLICATE, UNAVAILABLE


def why_no_file(dataset: Dataset, row: Mapping[str, Any], digits: int, uri: str) -> str:
    """What a person is told who asks for a rejected clip's file.

    Args:
        row: the whole row of the index.
        digits: of an id, that tell all clips apart.
        uri: of the dataset, as it was typed.
    """
    reasons = row["reject_reasons"]
    words = ", ".join(in_words(reason) for reason in reasons)
    said = f"clip {row['clip_id'][:digits]} was rejected ({words}), and rejected clips have no file"
    if DUPLICATE in reasons:
        return (
            f"{said}; {row['duplicate_of'][:digits]} is kept in its place: "
            f"clip={row['duplicate_of'][:digits]}"
        )
    if UNAVAILABLE in reasons:
        return (
            f"{said}; rushes select dataset={uri} cuts it once its source {row['source_uri']} is there again"
        )
    overrides = " ".join(loosening_overrides(dataset.manifest.recipe.get("rules", ()), row))
    return f"{said}; it gets one if it is kept: rushes select dataset={uri} {overrides}".rstrip()
