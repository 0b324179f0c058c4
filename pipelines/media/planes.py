"""The samples of a planar picture as arrays, and a picture made of such arrays: nothing is converted.

In: FFmpeg's frame in a planar format, without padding in its samples. Out: a plane per component, (H, W),
uint8 or uint16.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.plane import VideoPlane


def rows_of(plane: "VideoPlane") -> np.ndarray:
    """A view of a plane with its padding, uint8 (height, bytes of a line)."""
    samples = np.frombuffer(memoryview(plane), np.uint8)
    return samples[: plane.line_size * plane.height].reshape(plane.height, plane.line_size)


def planes_of(picture: "VideoFrame") -> list[np.ndarray]:
    """Views of its planes; valid as long as the picture is."""
    kind = _kind(picture)
    found = []
    for plane in picture.planes:
        found.append(rows_of(plane)[:, : plane.width * kind.itemsize].view(kind))
    return found


def picture_of(planes: Sequence[np.ndarray], pixel_format: str) -> "VideoFrame":
    """A picture of these samples; the first plane has its size."""
    import av

    height, width = planes[0].shape
    picture = av.VideoFrame(width, height, pixel_format)
    for plane, samples in zip(picture.planes, planes, strict=True):
        if samples.shape != (plane.height, plane.width):
            raise ValueError(
                f"{pixel_format} of {width} × {height} has no plane of {samples.shape[1]} × "
                f"{samples.shape[0]}"
            )
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        data = np.ascontiguousarray(samples).view(np.uint8)
        rows[:, : data.shape[1]] = data
        plane.update(rows.tobytes().ljust(plane.buffer_size, b"\0"))
    return picture


def _kind(picture: "VideoFrame") -> np.dtype:
    return np.dtype(np.uint8 if picture.format.components[0].bits <= 8 else np.uint16)
