"""A clip → the name of its file: which footage, where in it, and which clip.

In: a row of the index. Out: `walk_0m04.00s_a0ae2e26.mp4`, which no other clip of the dataset has, on any file
system.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

_MOST_BYTES = 120  # of the footage's own name; a name of a file may have 255
_ID = re.compile(r"[A-Za-z0-9_-]+")
_REFUSED = '<>:"/\\|?*'  # by one file system or another


def file_name(row: Mapping[str, Any], digits: int) -> str:
    """The name of a clip's file.

    Args:
        row: with source_uri, start_s and clip_id.
        digits: of the id, that tell all clips apart.

    Raises:
        ValueError: the id is none, and would lead elsewhere.
    """
    if not _ID.fullmatch(row["clip_id"]):
        raise ValueError(
            f"clip {row['clip_id'][:100]!r} has no id that rushes gives; who wrote this dataset?"
        )
    return f"{_stem(row['source_uri'])}_{_moment(row['start_s'])}_{row['clip_id'][:digits]}.mp4"


def _stem(uri: str) -> str:
    """The footage's name without its ending, as far as every file system takes it."""
    stem = PurePosixPath(uri).stem
    plain = "".join("_" if c in _REFUSED or unicodedata.category(c)[0] == "C" else c for c in stem)
    short = plain.encode()[:_MOST_BYTES].decode(errors="ignore").lstrip("-").strip(" .")
    return short or "clip"


def _moment(seconds: float) -> str:
    """0m04.00s, 1h02m03.50s; a source may begin before 0."""
    hundredths = round(abs(seconds) * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    before = "-" if seconds < 0 and hundredths else ""
    clock = f"{hours}h{minutes:02d}m" if hours else f"{minutes}m"
    return f"{before}{clock}{rest // 100:02d}.{rest % 100:02d}s"
