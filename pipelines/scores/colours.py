"""Which colours are to be seen, by name, on native frames."""

from typing import Any

import pyarrow as pa

from pipelines.scores.base import ClipMeasurements, Meter, MeterRow, NativeFrame, Score
from pipelines.vision.colours import colour_shares, dominant

VERSION = 1
_COLOURS = pa.list_(pa.struct([pa.field("name", pa.string()), pa.field("share", pa.float32())]))


def _look(frame: NativeFrame) -> MeterRow:
    return {"colours": [{"name": name, "share": share} for name, share in colour_shares(frame.rgb).items()]}


def _colours(clip: ClipMeasurements) -> list[dict[str, Any]] | None:
    rows = clip.native.get("colours")
    if rows is None or not len(rows):
        return None
    frames = [{seen["name"]: seen["share"] for seen in frame} for frame in rows["colours"].to_pylist()]
    return [{"name": name, "share": share} for name, share in dominant(frames)]


METER = Meter(
    name="colours",
    columns=(pa.field("colours", _COLOURS),),
    load=lambda cfg, precision: _look,
    settings=lambda cfg, precision: VERSION,
    model=lambda cfg: f"colours v{VERSION}",
)

SCORES = {
    "colours": Score(
        _colours,
        "colours that cover at least 8% of the native frames, the largest first",
        "share of the frame",
        "colours",
        kind=_COLOURS,
    ),
}
