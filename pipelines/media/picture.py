"""One decoded picture → what is measured of it: small RGB pixels, native RGB pixels, a hash of all its
samples.

In: FFmpeg's own frame, as coded. Out: RGB as displayed, in square pixels, uint8 (H, W, 3); a hash that two
pictures share exactly if they are the same, bit for bit. Nothing here depends on which reader decoded it, or
on where in the file decoding began.
"""

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from pipelines.media.picture_format import Crop, PictureFormat, format_of
from pipelines.media.planes import rows_of

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.reformatter import VideoReformatter


def upright(picture: "VideoFrame") -> np.ndarray:
    """RGB as displayed, native size, uint8 (H, W, 3): cropped, in square pixels, mirrored and turned as its
    container says."""
    shown = format_of(picture)
    frame = crop(picture.to_ndarray(format="rgb24"), shown)
    if shown.size_before_rotation != shown.cropped_size:
        frame = _resized(frame, *shown.size_before_rotation)
    return orient(frame, shown)


def upright_small(picture: "VideoFrame", longer_side: int) -> np.ndarray:
    """RGB as displayed with its longer side at most so long, averaged down; uint8 (H, W, 3). Smaller ones
    keep their size."""
    from av.video.reformatter import Interpolation

    shown = format_of(picture)
    scale = min(1.0, longer_side / max(shown.size_before_rotation))
    width, height = (max(1, round(side * scale)) for side in shown.size_before_rotation)
    if shown.crop != Crop():
        return orient(_resized(crop(picture.to_ndarray(format="rgb24"), shown), width, height), shown)
    # One thread: left alone, it starts as many as there are cores for a third of a millisecond's work.
    small = _reformatter().reformat(
        picture, width, height, "rgb24", interpolation=Interpolation.AREA, threads=1
    )
    return orient(small.to_ndarray(), shown)


def crop(plane: np.ndarray, picture_format: PictureFormat) -> np.ndarray:
    """What of an image (H, W, …) the container shows."""
    crop, (width, height) = picture_format.crop, picture_format.cropped_size
    return plane[crop.top : crop.top + height, crop.left : crop.left + width]


def orient(plane: np.ndarray, picture_format: PictureFormat) -> np.ndarray:
    """An image (H, W, …), mirrored and turned."""
    if picture_format.mirrored:
        plane = plane[:, ::-1]
    return np.ascontiguousarray(np.rot90(plane, k=-(picture_format.rotation_deg // 90)))


def _resized(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    import cv2

    shrinks = width < frame.shape[1] or height < frame.shape[0]
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


@cache
def _reformatter() -> "VideoReformatter":
    """One for all pictures: it keeps its tables while sizes stay the same, and making them takes
    milliseconds."""
    from av.video.reformatter import VideoReformatter

    return VideoReformatter()


def picture_hash(picture: "VideoFrame") -> int:
    """64 bits of XXH3 over the samples of every plane, as coded: padding, timestamps and metadata left
    out."""
    digest = xxhash.xxh3_64(f"{picture.format.name}:{picture.width}:{picture.height}".encode())
    for index, plane in enumerate(picture.planes):
        digest.update(np.ascontiguousarray(rows_of(plane)[:, : _row_bytes(picture, index)]).data)
    return digest.intdigest()


def frames_hash(hashes: Iterable[int]) -> str:
    """One name for a sequence of pictures, by their `picture_hash`: two clips share it if they show the same,
    bit for bit."""
    digest = xxhash.xxh3_128()
    for value in hashes:
        digest.update(value.to_bytes(8, "little"))
    return digest.hexdigest()


def _row_bytes(picture: "VideoFrame", plane: int) -> int:
    """Bytes of a row of a plane that hold samples."""
    wide = [c for c in picture.format.components if c.plane == plane]
    if not wide:  # a palette
        return picture.planes[plane].line_size
    if not picture.format.is_planar or len(wide) > 1:
        bits = (
            picture.format.padded_bits_per_pixel
            if not picture.format.is_planar
            else sum(_bits(c.bits) for c in wide)
        )
        return -(-picture.planes[plane].width * bits // 8)
    return picture.planes[plane].width * _bits(wide[0].bits) // 8


def _bits(bits: int) -> int:
    return 8 if bits <= 8 else 16 if bits <= 16 else 32
