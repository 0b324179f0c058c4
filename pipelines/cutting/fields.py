"""Interlaced pictures: which of their two fields is shown first, and what an encoder must know of it.

In: a stream whose pictures are of two fields. Out: `FieldOrder`, as they lie in the picture once it is
upright; none where turning it mixed them.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.media.picture_format import PictureFormat

if TYPE_CHECKING:
    from av.video.stream import VideoStream

# FFmpeg's AVFieldOrder: the second letter says which is shown first.
_BOTTOM_FIRST = frozenset((3, 4))


@dataclass(frozen=True, slots=True)
class FieldOrder:
    """The order in time of the fields of a picture."""

    top_first: bool

    def as_x264(self, shown: PictureFormat) -> str:
        """For x264's parameters; x264 takes no fields of an odd number of lines of chroma."""
        lines = 4 if "420p" in shown.pixel_format else 2
        return "" if shown.coded_height % lines else f":{'tff' if self.top_first else 'bff'}=1"


def field_order(stream: "VideoStream", picture_format: PictureFormat) -> FieldOrder | None:
    """Of interlaced pictures of a stream, as they are once they are upright.

    Args:
        stream: whose decoder has decoded one of them; where it says nothing of the order, it is the usual
        one.
        picture_format: how these pictures are shown.
    """
    fields = FieldOrder(int(stream.codec_context.field_order) not in _BOTTOM_FIRST)
    if picture_format.rotation_deg % 180:
        return None  # lines became columns
    upside_down = picture_format.rotation_deg == 180
    return replace(fields, top_first=fields.top_first ^ upside_down ^ bool(picture_format.crop.top % 2))
