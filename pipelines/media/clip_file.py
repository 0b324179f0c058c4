"""A copied clip's bytes → the same file without its edit list, and which of its samples are the clip's.

In: an mp4 that `pipelines.cutting.remux` wrote. Out: bytes in which every sample is shown, and two clocks: of
all samples, and of the clip. Readers that honour the edit list decode the hidden lead before they can say
anything; from here the clip's clock is known without decoding it.
"""

from dataclasses import dataclass, replace

from pipelines.errors import MediaError, Reason
from pipelines.media.clock import Clock
from pipelines.media.mp4_boxes import video_edit, without_video_edit
from pipelines.media.read_clock import read_clock


@dataclass(frozen=True, slots=True, eq=False)
class ClipFile:
    """Frame i of the clip is frame lead_frames + i of `full_clock`.

    Attributes:
        data: the file, its edit list taken away.
        full_clock: the clock of `data`.
        clock: of the clip, as FFmpeg shows the file as it was: from 0 on, to the end of the edit list.
    """

    data: bytes
    full_clock: Clock
    lead_frames: int
    clock: Clock


def read_clip_file(source: bytes) -> ClipFile | None:
    """The parsed clip; None if the file has no exact edit list, so that this project did not write it.

    Raises:
        MediaError: unreadable, or whatever `read_clock` raises.
    """
    if source[4:8] != b"ftyp":
        return None
    try:
        edit = video_edit(source)
        if edit is None or not edit.exact:
            return None
        data = without_video_edit(source)
    except ValueError as error:
        raise MediaError(Reason.UNREADABLE, f"its boxes are broken: {error}") from error
    everything = read_clock(data)
    start, length = (int(seconds / everything.time_base) for seconds in (edit.start_s, edit.duration_s))
    first, last = everything.index_of(start), everything.index_of(start + length)
    pts = everything.pts[first:last] - start
    if not len(pts):
        raise MediaError(Reason.NO_FRAMES, "the edit list shows no frame")
    keyframes = everything.keyframes - start
    shown = keyframes[(keyframes >= pts[0]) & (keyframes <= pts[-1])]
    return ClipFile(data, everything, first, replace(everything, pts=pts, end_pts=length, keyframes=shown))
