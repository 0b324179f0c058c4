"""Pixels of a window at an exact shape, from the clips in the shards.

In: rows of a dataset's index, windows, shapes. Out: uint8 (T, H, W, 3). A bounded cache keeps decoded clips,
because training reads neighbouring windows of one clip many times.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np

from pipelines.dataset.reader import Dataset
from pipelines.dataset.shards import shard_key
from pipelines.errors import MediaError
from pipelines.media.decode import decode_frames

CLIP_COLUMNS = ("clip_id", "bucket", "shard", "offset", "size", "start_s", "end_s")
"""Of the index, that reading a clip's frames needs."""


class ClipError(ValueError):
    """A clip of a dataset can't be read. The message names the clip, its shard and the cause; callers skip
    the clip."""

    def __init__(self, row: Mapping[str, Any], why: str):
        self.clip_id = row["clip_id"]
        where = shard_key(row["bucket"], row["shard"]) if row["shard"] else "no shard"
        super().__init__(f"clip {self.clip_id} in {where}: {why}")


class FrameReader:
    """Reads windows of a dataset's clips at one frame rate. Safe to share between threads.

    Args:
        decode: a function with the signature of `decode_frames`, for example one that decodes in a child
        process.
    """

    def __init__(
        self,
        dataset: Dataset,
        fps: float,
        cache_bytes: int = 1 << 30,
        decode: Callable[[bytes, Sequence[float], int, int], np.ndarray] = decode_frames,
    ):
        self._decode = decode
        self._dataset, self._fps, self._cache_bytes = dataset, fps, cache_bytes
        self._cache: OrderedDict[tuple[str, int, int], np.ndarray] = OrderedDict()
        self._lock = Lock()

    def clip(self, row: Mapping[str, Any], height: int, width: int) -> np.ndarray:
        """A whole clip at `fps`, scaled to cover height × width and cropped at the centre; uint8 (T, H, W,
        3).

        Raises:
            ClipError: its bytes are not there, or don't decode.
            OSError: the storage does not answer.
        """
        key = (row["clip_id"], height, width)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        duration_s = row["end_s"] - row["start_s"]
        count = max(1, math.floor(duration_s * self._fps + 1e-6))
        try:
            mp4 = self._dataset.read(row, "mp4")
            frames = self._decode(mp4, [k / self._fps for k in range(count)], height, width)
        except (MediaError, FileNotFoundError, EOFError, ValueError) as error:
            raise ClipError(row, str(error)) from error
        with self._lock:
            self._cache[key] = frames
            while len(self._cache) > 1 and sum(f.nbytes for f in self._cache.values()) > self._cache_bytes:
                self._cache.popitem(last=False)
        return frames

    def window(
        self, row: Mapping[str, Any], first: int, num_frames: int, height: int, width: int
    ) -> np.ndarray:
        """Frames [first, first + num_frames) at `fps`; uint8 (num_frames, height, width, 3). Raises as
        `clip`."""
        frames = self.clip(row, height, width)[first : first + num_frames]
        assert len(frames) == num_frames, (
            f"clip {row['clip_id']} has no frames {first} … {first + num_frames} at {self._fps}/s"
        )
        return frames
