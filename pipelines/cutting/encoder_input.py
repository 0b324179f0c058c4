"""A decoded picture → the input of x264: cropped, mirrored and rotated, in a sample format that every player
supports.

In: a picture as coded, with its framing. Out: a picture whose colour tags are those of its samples. Samples
are moved, not converted, wherever the format is one that x264 knows: luma is lost only where it has more than
10 bits.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.media.picture import orient
from pipelines.media.picture_format import FULL, LIMITED, PictureFormat, format_of, upright_format
from pipelines.media.planes import picture_of, planes_of

if TYPE_CHECKING:
    from av import VideoFrame

_BT709, _BT2020 = 1, 9  # ITU-T H.273: matrix and primaries


@dataclass(frozen=True, slots=True)
class EncoderInput:
    """A picture for the encoder, and how its samples are shown."""

    picture: "VideoFrame"
    picture_format: PictureFormat


def to_encoder_input(picture: "VideoFrame", interlaced: bool = False) -> EncoderInput:
    """The same picture, upright, as x264 takes it.

    Args:
        interlaced: it is of two fields, whose samples must not be mixed.
    """
    from av.video.reformatter import ColorRange, Colorspace

    shown = format_of(picture)
    wanted = _format_for(picture, shown, interlaced)
    color_range, matrix = shown.color_range, shown.color_matrix
    kept = ColorRange.JPEG if color_range == FULL else ColorRange.MPEG
    if shown.is_rgb:
        # What becomes of RGB is ours to choose: limited range, and the matrix that belongs to its primaries.
        color_range, matrix = LIMITED, _BT2020 if shown.color_primaries == _BT2020 else _BT709
        if shown.bit_depth < 8:
            # 5 bits made 8 reach white; made luma at once, they don't
            picture = picture.reformat(format="rgb24")
        space = Colorspace.BT2020 if matrix == _BT2020 else Colorspace.ITU709
        picture = picture.reformat(
            format=wanted,
            dst_colorspace=space,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )
    elif picture.format.name != wanted:
        picture = picture.reformat(format=wanted, src_color_range=kept, dst_color_range=kept)
    if shown.rotation_deg or shown.mirrored or shown.cropped_size != (shown.coded_width, shown.coded_height):
        picture = picture_of([_placed(plane, shown) for plane in planes_of(picture)], wanted)
    upright = upright_format(shown)
    return EncoderInput(
        picture, replace(upright, pixel_format=wanted, color_range=color_range, color_matrix=matrix)
    )


def _format_for(picture: "VideoFrame", shown: PictureFormat, interlaced: bool) -> str:
    """The nearest format of x264's: of at most 10 bits, and of 4:2:0 where that is enough."""
    name, deep = picture.format.name, shown.bit_depth > 8
    across, down = (picture.format.chroma_width(2) == 1), (picture.format.chroma_height(2) == 1)
    odd = any(side % 2 for side in (*shown.cropped_size, shown.crop.left, shown.crop.top))
    has_chroma = len(picture.format.components) >= 3
    if odd or (has_chroma and not shown.is_rgb and not across and not down):
        chroma = "444p"
    elif interlaced and not (across and down):
        chroma = "422p"  # 4:2:0 of two fields would mix them
    else:
        chroma = "420p"
    full = name.startswith("yuvj") and not deep
    return f"{'yuvj' if full else 'yuv'}{chroma}{'10le' if deep else ''}"


def _placed(plane: np.ndarray, shown: PictureFormat) -> np.ndarray:
    """A plane, cropped and turned; where it has fewer samples than the picture has pixels, all sizes are
    even."""
    across, down = round(shown.coded_width / plane.shape[1]), round(shown.coded_height / plane.shape[0])
    (width, height), crop = shown.cropped_size, shown.crop
    inside = plane[
        crop.top // down : (crop.top + height) // down, crop.left // across : (crop.left + width) // across
    ]
    return orient(inside, shown)
