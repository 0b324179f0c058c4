"""What is to be seen: ImageNet's names for native frames, and an embedding by which look-alikes are found."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.scores.base import ClipMeasurements, Meter, MeterRow, NativeFrame, Score
from pipelines.scores.config import ScoreConfig
from pipelines.scores.embedding import COLUMN, normalised
from pipelines.vision import imagenet

VERSION = 3
_PER_FRAME, _PER_CLIP = 20, 10
_TAGS = pa.list_(
    pa.struct(
        [pa.field("name", pa.string()), pa.field("number", pa.int16()), pa.field("probability", pa.float32())]
    )
)
"""A class, its place in ImageNet's list, and how likely it is."""


def _load(cfg: ScoreConfig, precision: str) -> Callable[[NativeFrame], MeterRow]:
    net = imagenet.ImageNet(precision)

    def look(frame: NativeFrame) -> MeterRow:
        """In the whole frame and squares side by side, the view that is surest of a class speaks for it:
        small things are found, and wide frames are seen undistorted. The embedding is the whole frame's,
        which cropping moves least.
        """
        entire = net.predict(imagenet.squash_resize(frame.rgb))
        parts = [net.predict(square).probabilities for square in imagenet.square_crops(frame.rgb)]
        best = np.max([entire.probabilities, *parts], axis=0)
        likeliest = np.argsort(-best, kind="stable")[:_PER_FRAME]
        tags = [{"name": net.classes[k], "number": int(k), "probability": float(best[k])} for k in likeliest]
        return {"tags": tags, COLUMN.name: normalised(entire.features)}

    return look


def _tags(clip: ClipMeasurements) -> list[dict[str, Any]] | None:
    rows = clip.native.get("tags")
    if rows is None or not len(rows):
        return None
    total: dict[tuple[str, int], float] = {}
    for frame in rows["tags"].to_pylist():
        for tag in frame:
            named = (tag["name"], tag["number"])
            total[named] = total.get(named, 0.0) + tag["probability"]
    likeliest = sorted(total, key=lambda named: (-total[named], named))[:_PER_CLIP]
    return [
        {"name": named[0], "number": named[1], "probability": total[named] / len(rows)} for named in likeliest
    ]


METER = Meter(
    name="tags",
    columns=(pa.field("tags", _TAGS), COLUMN),
    load=_load,
    settings=lambda cfg, precision: [VERSION, imagenet.weights_hash(), precision],
    model=lambda cfg: f"{imagenet.MODEL} ImageNet-1k v{VERSION}",
    missing=lambda cfg: None if cfg.tags else "switched off; set scores.tags=true",
)

SCORES = {
    "tags": Score(
        _tags,
        f"the {_PER_CLIP} likeliest ImageNet classes: mean over native frames, of each its {_PER_FRAME} "
        "likeliest",
        "probability, 0–1",
        "tags",
        kind=_TAGS,
    ),
}
