"""A clip's file → its differences from the index. Runs in the killable child: see
`pipelines.sandbox.child.call`.

In: an mp4 of a shard, and the values of its index row. Out: a list of differences as text, empty if the file
is valid.
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from pipelines.media.clock import duration_of, pts_of, time_base_of
from pipelines.media.framing import first_framing, read_framing
from pipelines.media.picture import frames_hash, picture_hash
from pipelines.media.picture_format import PictureFormat, format_of, set_framing
from pipelines.media.probe import open_container, video_stream
from pipelines.media.read_clock import read_clock


@dataclass(frozen=True, slots=True)
class ExpectedClip:
    """The properties of a clip that its index row promises.

    Attributes:
        width, height: as displayed, px.
        length: of its span, s.
        frames_hash: of its pictures; None for a re-encoded clip, whose pictures are only nearly the source's.
        square: width and height are in square pixels; in the clip's own, as datasets before schema 3 have
        them, if not.
    """

    num_frames: int
    width: int
    height: int
    length: Fraction
    frames_hash: str | None
    square: bool = True


def check_clip(path: Path, expected: ExpectedClip) -> list[str]:
    """Decode a clip and list its differences from the index.

    Raises:
        MediaError: it does not decode.
    """
    wrong, hashes, shown = [], [], []
    sizes: set[tuple[int, int]] = set()
    with open_container(path) as container:
        stream = video_stream(container)
        framing = None
        for picture in container.decode(stream):
            if framing is None:
                framing = read_framing(path, container, stream)
            set_framing(picture, first_framing(framing, stream))
            shown.append(pts_of(picture) * time_base_of(stream))
            as_shown = format_of(picture)
            sizes.add((as_shown.width, as_shown.height) if expected.square else _in_own_pixels(as_shown))
            hashes.append(picture_hash(picture) if expected.frames_hash else 0)
        length = duration_of(stream) * time_base_of(stream)
    # its file has no edit list, and its clock tells when the last frame ends
    if expected.frames_hash is None:
        clock = read_clock(path)
        length = clock.end_pts * clock.time_base
    if len(shown) != expected.num_frames:
        wrong.append(f"it shows {len(shown)} frames, not {expected.num_frames}")
    if sizes != {(expected.width, expected.height)}:
        seen = ", ".join(f"{width} × {height}" for width, height in sorted(sizes))
        wrong.append(f"it is {seen}, not {expected.width} × {expected.height}")
    if shown and (shown[0] != 0 or any(later <= earlier for earlier, later in pairwise(shown))):
        wrong.append("its frames are not shown one after the other from 0 s on")
    if length != expected.length or (shown and shown[-1] >= length):
        wrong.append(f"it lasts {float(length):g} s, not {float(expected.length):g} s")
    if expected.frames_hash is not None and not wrong and frames_hash(hashes) != expected.frames_hash:
        wrong.append("it decodes to other pictures than the source")
    return wrong


def _in_own_pixels(shown: PictureFormat) -> tuple[int, int]:
    width, height = shown.coded_width, shown.coded_height
    return (height, width) if shown.rotation_deg % 180 else (width, height)
