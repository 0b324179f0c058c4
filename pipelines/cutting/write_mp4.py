"""Frames of our own making → an mp4 that plays everywhere, with the colours that it says it has.

In: RGB frames, as a network made them. Out: h264, 4:2:0, BT.709 of limited range in matrix and tags, the
index first. Sizes are exact: an odd one is coded a pixel larger, the edge repeated, and cropped by the
container.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.cutting.config import ReencodeConfig
from pipelines.cutting.encode import Timing, encode_mp4
from pipelines.cutting.mp4_layout import add_clean_aperture, move_moov_first
from pipelines.durable import write_bytes

if TYPE_CHECKING:
    from av import VideoFrame

_CRF = 14
_MOST_TICKS = 65535  # of a frame: any rate that a person types is exact with it
_BT709 = 1  # primaries and transfer, as ISO/IEC 23091-2 numbers them


def write_mp4(path: Path, frames_THWC: np.ndarray, fps: float) -> None:
    """Write a video, whole or not at all.

    Args:
        frames_THWC: uint8 RGB, full range.
        fps: 29.97 is 2997/100, and 30000/1001 is that.
    """
    rate = Fraction(fps).limit_denominator(_MOST_TICKS)
    height, width = frames_THWC.shape[1:3]
    even = (height + height % 2, width + width % 2)
    pictures = _pictures(frames_THWC, even, 1 / rate)
    data, _ = encode_mp4(pictures, Timing(len(frames_THWC), 1 / rate, rate), ReencodeConfig(crf=_CRF))
    if even != (height, width):
        data = add_clean_aperture(data, width, height, even[1], even[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, move_moov_first(data))


def _pictures(frames_THWC: np.ndarray, even: tuple[int, int], time_base: Fraction) -> Iterator["VideoFrame"]:
    import av
    from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

    reformatter = VideoReformatter()
    for pts, frame in enumerate(frames_THWC):
        missing = [(0, side - have) for side, have in zip(even, frame.shape, strict=False)]
        whole = np.ascontiguousarray(np.pad(frame, (*missing, (0, 0)), mode="edge"))
        picture = reformatter.reformat(
            av.VideoFrame.from_ndarray(whole, format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )
        picture.colorspace, picture.color_range = Colorspace.ITU709, ColorRange.MPEG
        picture.color_primaries = picture.color_trc = _BT709
        picture.pts, picture.time_base = pts, time_base
        yield picture
