"""A clip's row → what its .json in a shard says: identity, span, media, geometry and text.

In: a row of the index. Out: the same fields for every clip, each of one type and never null, so that readers
that guess types from the first samples (Hugging Face's `datasets` does) guess right. Scores and decisions
live in the index, where they can change without rewriting shards.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from pipelines.dataset.schema import INDEX

PASSPORT_FIELDS = (
    "clip_id",
    "video_id",
    "source_uri",
    "source_text",
    "source_license",
    "source_dataset",
    "start_pts",
    "end_pts",
    "time_base",
    "start_s",
    "end_s",
    "num_frames",
    "fps",
    "width",
    "height",
    "pixel_aspect",
    "caption_short",
    "caption_dense",
    "caption_model",
    "tag_subject",
    "tag_setting",
    "tag_camera",
    "tag_light",
    "tag_motion",
    "tag_style",
)
"""What a clip is. The ids of shards depend on it: with another name here, every shard would be written
again."""

CUT_FIELDS = ("cut_method", "cut_why", "lead_frames")
"""How a clip's mp4 was made: in the index and in its .json."""

_BETWEEN = ", "


def clip_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a clip's .json says: text that is null becomes "", a list one text, and a float has a point.

    Args:
        row: with the columns PASSPORT and MADE of the index.

    Raises:
        ValueError: a number is null.
    """
    return {name: _stored(name, row[name]) for name in (*PASSPORT_FIELDS, *CUT_FIELDS)}


def read_cut_fields(stored: Mapping[str, Any]) -> dict[str, Any]:
    """How a clip's mp4 was made, as the index has it, from a .json of this or an earlier version."""
    return {name: None if stored[name] == "" else stored[name] for name in CUT_FIELDS}


def differing_fields(stored: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    """Names of fields in which a .json says something else than a row of the index.

    Earlier versions stored null and lists as the index has them, and lacked fields that are null in their
    rows: shards that exist stay as they are.

    Raises:
        ValueError: a number of the row is null.
    """
    now = clip_json(row)
    return sorted(
        name
        for name in now.keys() | stored.keys()
        if name not in now or stored.get(name) not in (now[name], row[name])
    )


def _stored(name: str, value: Any) -> str | int | float:
    kind = INDEX.field(name).type
    if pa.types.is_list(kind):
        return _joined(value or ())
    if pa.types.is_string(kind):
        return value or ""
    if value is None:
        raise ValueError(f"{name} is null")
    return float(value) if pa.types.is_floating(kind) else int(value)


def _joined(words: Iterable[str]) -> str:
    return _BETWEEN.join(words)
