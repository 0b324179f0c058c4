"""Frames and files → `data:` URIs, so that the page fetches nothing.

In: uint8 frames, clips of a dataset, files of footage. Out: JPEG filmstrips and mp4s as text for `src`.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.dataset import Dataset
from pipelines.errors import MediaError, Reason
from pipelines.media.clock import read_clock
from pipelines.media.decode import decode_frames
from pipelines.media.ranged import size_of
from pipelines.source_file import source_file

logger = logging.getLogger(__name__)

_JPEG_QUALITY = 76


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as a URI that carries them.

    Args:
        kind: media type, such as image/jpeg.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def jpeg_uri(frame_HWC: np.ndarray, quality: int = _JPEG_QUALITY) -> str:
    """An RGB picture, uint8 (H, W, 3), as a JPEG's URI."""
    import cv2

    bgr = cv2.cvtColor(np.ascontiguousarray(frame_HWC), cv2.COLOR_RGB2BGR)
    done, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    assert done, "OpenCV codes every uint8 picture as JPEG"
    return data_uri(coded.tobytes(), "image/jpeg")


def strip_uri(frames_THWC: np.ndarray) -> str:
    """Frames side by side in one JPEG."""
    return jpeg_uri(np.concatenate(list(frames_THWC), axis=1))


def moments(length_s: float, num: int) -> list[float]:
    """The middles of `num` equal parts of a length: times that show what happens, not how it begins."""
    return [length_s * (k + 0.5) / num for k in range(num)]


def picture_width(row: Mapping[str, Any], height: int) -> int:
    """Width of a clip's picture at a height, at its own aspect; even."""
    return max(2, 2 * round(height * row["width"] / row["height"] / 2))


def clip_frames(dataset: Dataset, row: Mapping[str, Any], num: int, height: int) -> np.ndarray:
    """`num` frames spread over a kept clip, from its shard; uint8 (num, height, W, 3)."""
    times = moments(row["end_s"] - row["start_s"], num)
    return decode_frames(dataset.read(row, "mp4"), times, height, picture_width(row, height))


class Footage:
    """Pictures of clips that are in no shard, from the footage itself as long as it is there unchanged."""

    def __init__(self, sizes_bytes: Mapping[str, int]):
        """sizes_bytes: of each source when it was curated, by URI."""
        self._sizes_bytes = sizes_bytes
        self._starts_s: dict[str, float] = {}

    def frames(self, row: Mapping[str, Any], num: int, height: int) -> np.ndarray | None:
        """`num` frames spread over a clip, or None where the footage can no longer show them (the log says why)."""
        uri = row["source_uri"]
        try:
            with source_file(uri) as file:
                if size_of(file) != self._sizes_bytes.get(uri):
                    raise MediaError(Reason.MISSING, "the file has changed since it was curated")
                if uri not in self._starts_s:
                    clock = read_clock(file)
                    self._starts_s[uri] = float(clock.pts[0] * clock.time_base)
                begin_s = row["start_s"] - self._starts_s[uri]
                times: Sequence[float] = [begin_s + t for t in moments(row["end_s"] - row["start_s"], num)]
                return decode_frames(file, times, height, picture_width(row, height))
        except MediaError as error:
            logger.warning("no picture of clip %s from %s: %s", row["clip_id"], uri, error)
            return None
