"""How the samples of one picture are shown: size, cropping, shape of a pixel, turn, sample format and
colours.

In: a decoded picture, with what its container says of all of them. Out: a `PictureFormat`. The format belongs
to the picture, not to the file: a recording may change it, and a reader that uses the first frame's format
for all would show the rest wrong.
"""

import json
import math
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.errors import MediaError, Reason

if TYPE_CHECKING:
    from av import VideoFrame

LIMITED, FULL = 1, 2  # FFmpeg's numbers of ranges
_RGB = 0  # ITU-T H.273, matrix
_MOST_SIDE = 1 << 16  # as displayed: pixels may be said to be of any shape, a picture is made of what is said
_TRANSFERS = {16: "PQ", 18: "HLG"}  # ITU-T H.273; all others are of a display of standard range


@dataclass(frozen=True, slots=True)
class Crop:
    """Samples that the container hides at each edge of a picture, before anything is turned."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


@dataclass(frozen=True, slots=True)
class Framing:
    """What a container says of all its pictures: its cropping, and width ÷ height of a pixel, which goes
    before that of the bitstream; None if the bitstream's counts.
    """

    crop: Crop = Crop()
    pixel_aspect: Fraction | None = None


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """How samples are shown.

    Attributes:
        coded_width, coded_height: of the picture as it is decoded, px.
        pixel_aspect: width ÷ height of one of these pixels.
        rotation_deg: clockwise, after mirroring: 0, 90, 180 or 270.
        mirrored: left and right are swapped.
        pixel_format: FFmpeg's name.
        bit_depth: of a sample.
        color_range: FFmpeg's number: 1 limited, 2 full; what nobody states is the default of the standards.
        color_matrix, color_primaries, color_transfer: code points of ITU-T H.273; 2 is unspecified.
    """

    coded_width: int
    coded_height: int
    crop: Crop
    pixel_aspect: Fraction
    rotation_deg: int
    mirrored: bool
    pixel_format: str
    bit_depth: int
    color_range: int
    color_matrix: int
    color_primaries: int
    color_transfer: int

    @property
    def width(self) -> int:
        """As displayed, in square pixels."""
        return self._displayed[0]

    @property
    def height(self) -> int:
        """As displayed, in square pixels."""
        return self._displayed[1]

    @property
    def size_before_rotation(self) -> tuple[int, int]:
        """Width and height in square pixels, before the picture is turned."""
        width, height = self.cropped_size
        return max(1, math.floor(width * self.pixel_aspect + Fraction(1, 2))), height

    @property
    def cropped_size(self) -> tuple[int, int]:
        """Width and height of what the container shows, in coded pixels."""
        crop = self.crop
        return self.coded_width - crop.left - crop.right, self.coded_height - crop.top - crop.bottom

    @property
    def transfer(self) -> str:
        """SDR, PQ or HLG."""
        return _TRANSFERS.get(self.color_transfer, "SDR")

    @property
    def is_rgb(self) -> bool:
        return self.color_matrix == _RGB

    @property
    def as_coded(self) -> bool:
        """Whether nothing need be done to its pixels to show them."""
        return not self.rotation_deg and not self.mirrored and self.pixel_aspect == 1 and self.crop == Crop()

    @property
    def _displayed(self) -> tuple[int, int]:
        width, height = self.size_before_rotation
        return (height, width) if self.rotation_deg % 180 else (width, height)

    def to_text(self) -> str:
        """One line, to be kept in a table."""
        return _as_text(self)


@lru_cache(maxsize=64)  # thousands of frames share one
def _as_text(shown: PictureFormat) -> str:
    return json.dumps(asdict(shown) | {"pixel_aspect": str(shown.pixel_aspect)})


def from_text(text: str) -> PictureFormat:
    """What `PictureFormat.to_text` wrote."""
    fields = json.loads(text)
    return PictureFormat(
        **fields | {"crop": Crop(**fields["crop"]), "pixel_aspect": Fraction(fields["pixel_aspect"])}
    )


def set_framing(picture: "VideoFrame", framing: Framing) -> None:
    """Let a picture carry what its container says of it."""
    # a copy: PyAV lets go of what one picture carries for all that carry it
    picture.opaque = replace(framing)


def format_of(picture: "VideoFrame") -> PictureFormat:
    """Of a picture that `pipelines.media` decoded. Of any other, the container's word on cropping and pixels
    is not known: then nothing is cropped, and pixels are square.

    Raises:
        MediaError: too_large; its pixels are of such a shape that no picture of it can be made.
    """
    from av.sidedata.sidedata import Type

    framing = picture.opaque if isinstance(picture.opaque, Framing) else Framing()
    side_data: Any = picture.side_data  # a mapping by kind, whatever its stubs say
    matrix = side_data.get(Type.DISPLAYMATRIX)
    ids = (picture.color_range, picture.colorspace, picture.color_primaries, picture.color_trc)
    colours = tuple(map(int, ids))
    size = (picture.width, picture.height)
    return _format(picture.format.name, size, framing, matrix and bytes(matrix), colours)


@lru_cache(maxsize=64)  # thousands of pictures share one
def _format(
    name: str,
    size: tuple[int, int],
    framing: Framing,
    display_matrix: bytes | None,
    colours: tuple[int, ...],
) -> PictureFormat:
    """colours: FFmpeg's numbers of range, matrix, primaries and transfer."""
    import av

    color_range, color_matrix, color_primaries, color_transfer = colours

    samples = av.VideoFormat(name)
    rgb = samples.is_rgb or samples.has_palette or name.startswith("mono")
    crop, (width, height) = framing.crop, size
    if crop.left + crop.right >= width or crop.top + crop.bottom >= height:
        crop = Crop()  # the container speaks of pictures of another size
    rotation_deg, mirrored = orientation(display_matrix)
    shown = PictureFormat(
        coded_width=width,
        coded_height=height,
        crop=crop,
        pixel_aspect=framing.pixel_aspect or Fraction(1),
        rotation_deg=rotation_deg,
        mirrored=mirrored,
        pixel_format=name,
        bit_depth=max((component.bits for component in samples.components), default=8),
        color_range=color_range or (FULL if rgb or name.startswith("yuvj") else LIMITED),
        color_matrix=_RGB if rgb else color_matrix,
        color_primaries=color_primaries,
        color_transfer=color_transfer,
    )
    if max(shown.width, shown.height) > _MOST_SIDE:
        raise MediaError(
            Reason.TOO_LARGE,
            f"pixels of shape {shown.pixel_aspect} make a picture of {shown.width} × {shown.height}; up to "
            f"{_MOST_SIDE} a side are shown",
        )
    return shown


def orientation(display_matrix: bytes | None) -> tuple[int, bool]:
    """(clockwise turn in degrees, whether it is mirrored before) of FFmpeg's display matrix, to the nearest
    quarter turn.

    ISO/IEC 14496-12, 6.2.2: a point (x, y), y downwards, goes to (a·x + c·y, b·x + d·y).
    """
    if display_matrix is None:
        return 0, False
    matrix = np.frombuffer(display_matrix, np.int32).reshape(3, 3).astype(float)
    (a, b), (c, d) = matrix[0, :2], matrix[1, :2]
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return round(math.degrees(math.atan2(b - c, a + d)) / 90) * 90 % 360, bool(mirrored)


def placement(picture_format: PictureFormat) -> str:
    """What tells pictures apart that have the same samples and are cropped, mirrored or turned differently;
    empty for those of which nothing of it is true.
    """
    turn = (
        f" mirrored={picture_format.mirrored:d} turned={picture_format.rotation_deg}"
        if picture_format.mirrored or picture_format.rotation_deg
        else ""
    )
    return turn + (f" {picture_format.crop}" if picture_format.crop != Crop() else "")


def upright_format(shown: PictureFormat) -> PictureFormat:
    """The format of the same picture once it is cropped and turned, and no container says so any more; pixels
    keep their shape.
    """
    width, height = shown.cropped_size
    aspect = shown.pixel_aspect
    if shown.rotation_deg % 180:
        width, height, aspect = height, width, 1 / aspect
    return replace(
        shown,
        coded_width=width,
        coded_height=height,
        crop=Crop(),
        pixel_aspect=aspect,
        rotation_deg=0,
        mirrored=False,
    )


def columns_of(picture_format: PictureFormat) -> dict[str, Any]:
    """The columns of the index that tell how a clip is shown."""
    names = (
        "coded_width",
        "coded_height",
        "rotation_deg",
        "mirrored",
        "pixel_format",
        "bit_depth",
        "transfer",
    )
    return {
        "width": picture_format.width,
        "height": picture_format.height,
        "pixel_aspect": str(picture_format.pixel_aspect),
        "picture_format": picture_format.to_text(),
        **{name: getattr(picture_format, name) for name in names},
    }
