"""What a clip looks like, small: its thumbnails inside the safe rectangle, by time. What copies are found
from, and neighbours.

In: the clip's rows of the dense signals, and its row of the index. Out: a row of `LOOKS`, 4.6 KB per second
of clip at 8 thumbnails per second.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, overload

import numpy as np
import pyarrow as pa

from pipelines.dedup import thumb

VERSION = 1
_SLACK = 0.25  # of a cell, that a bar may reach further than the safe rectangle says
SIDE = 24  # cells of a look; a picture that fills three quarters of its frame's thumbnail has as many

LOOKS = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field(
            "thumbs",
            pa.large_binary(),
            metadata={"doc": "uint8 (n, 24, 24) of luma inside the safe rectangle, squeezed to a square"},
        ),
        pa.field(
            "thumb_s", pa.list_(pa.float32()), metadata={"doc": "when, from the clip's start", "unit": "s"}
        ),
        pa.field(
            "unrest",
            pa.float32(),
            metadata={
                "doc": "median change of lightness from frame to frame; grain alone makes it rise",
                "unit": "0-255",
            },
        ),
        pa.field(
            "embedding",
            pa.list_(pa.float16()),
            metadata={"doc": "mean over native frames; null if not measured"},
        ),
        pa.field(
            "clip_embedding", pa.list_(pa.float16()), metadata={"doc": "the same of the configured CLIP"}
        ),
        pa.field("clip_fingerprint", pa.string(), metadata={"doc": "which CLIP that was; null if none"}),
    ]
)


@dataclass(frozen=True, slots=True)
class Look:
    """A row of `LOOKS`: `thumbs` float32 (n, SIDE, SIDE), `times_s` float64 (n,) from the clip's start."""

    thumbs: np.ndarray
    times_s: np.ndarray
    unrest: float


def look_row(signals: pa.Table, clip: Mapping[str, Any]) -> dict[str, Any]:
    """A clip's row of `LOOKS`, except its embedding, which the caller adds.

    Args:
        signals: rows of the clip's frames only.
        clip: `clip_id`, `start_pts`, `time_base`, `width`, `height` and the safe rectangle.
    """
    small = signals.select(["pts", "thumb"]).filter(signals["thumb"].is_valid())
    pictures = np.frombuffer(b"".join(small["thumb"].to_pylist()), np.uint8)
    pictures = pictures.reshape(-1, thumb.SIDE, thumb.SIDE).astype(np.float32)
    rows = _inside(clip["safe_y"] / clip["height"], (clip["safe_y"] + clip["safe_height"]) / clip["height"])
    columns = _inside(clip["safe_x"] / clip["width"], (clip["safe_x"] + clip["safe_width"]) / clip["width"])
    inside = np.clip(np.rint(rows @ pictures @ columns.T), 0, 255).astype(np.uint8)
    since_start = small["pts"].to_numpy() - clip["start_pts"]
    change = signals["delta_lum"].to_numpy()[1:]  # the first frame's points outside the clip
    return {
        "clip_id": clip["clip_id"],
        "thumbs": inside.tobytes(),
        "thumb_s": (since_start * float(Fraction(clip["time_base"]))).astype(np.float32),
        "unrest": float(np.median(change)) if len(change) else 0.0,
    }


class Looks(Sequence[Look]):
    """Rows of a table of `LOOKS`, in an order of one's own. Each is unpacked when it is asked for: the table
    is not copied."""

    def __init__(self, table: pa.Table, rows: Sequence[int]):
        self._rows = rows
        self._thumbs, self._times, self._unrest = table["thumbs"], table["thumb_s"], table["unrest"]

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, number: int) -> Look: ...

    @overload
    def __getitem__(self, number: slice) -> list[Look]: ...

    def __getitem__(self, number: int | slice) -> Look | list[Look]:
        if isinstance(number, slice):
            return [self[place] for place in range(*number.indices(len(self)))]
        row = self._rows[number]
        cells = np.frombuffer(self._thumbs[row].as_buffer(), np.uint8).reshape(-1, SIDE, SIDE)
        times = self._times[row].values.to_numpy()
        return Look(cells.astype(np.float32), times.astype(np.float64), self._unrest[row].as_py())


@lru_cache(maxsize=256)
def _inside(start: float, end: float) -> np.ndarray:
    """Weights (SIDE, thumb.SIDE) that average what lies between two shares of an axis into SIDE cells.

    Only cells of the thumbnail that no bar reaches into count, even if the rectangle is a bit wrong: a sliver
    of black would look like another picture, while a sliver less looks like a crop.
    """
    first = 0 if start == 0 else math.ceil(start * thumb.SIDE + _SLACK)
    last = thumb.SIDE if end == 1 else math.floor(end * thumb.SIDE - _SLACK)
    if last - first < thumb.SIDE // 8:
        first, last = 0, thumb.SIDE
    bounds = np.linspace(first, last, SIDE + 1)
    cells = np.arange(thumb.SIDE)
    overlap = np.minimum(bounds[1:, None], cells + 1) - np.maximum(bounds[:-1, None], cells)
    weights = np.clip(overlap, 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
