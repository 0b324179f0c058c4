"""When each frame of a file is shown: exact PTS, what of it is lost, and where decoding may begin.

In: arrays that `read_clock` fills. Out: frames by time, times by frame. Frame number ÷ average fps is never
used: it drifts on variable frame rate.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pipelines.errors import MediaError, Reason
from pipelines.media.picture_format import Framing

if TYPE_CHECKING:
    from av.frame import Frame
    from av.packet import Packet
    from av.stream import Stream

T = TypeVar("T")
LATE = 1.5  # of the usual step: so much later a frame comes behind others that are lost
DAMAGED = "the data there is damaged, or what it refers to"


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of a video that is lost: [start_pts, end_pts), end_pts None where nobody knows how long it
    is; with so many frames that are known of; why.
    """

    start_pts: int
    end_pts: int | None
    num_frames: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """Frame i is shown during [pts[i], pts[i+1]), the last one until end_pts; units of time_base seconds.

    Decoding that begins at one of `keyframes` (some of pts, ascending) shows the same pictures from there on
    as decoding that begins at the start of the file. There may be none; nothing is promised of what the
    container calls a keyframe. `rate` is the container's nominal frame rate, for an encoder's rate control
    and nothing else; `demuxer` is FFmpeg's name of the container; `framing`, what the container says of how
    all pictures are shown, and `as_coded`, whether the first one is shown as it is decoded; `plain`, whether
    a reader that trusts the container sees the same: one video stream, honest keyframes, a time for each
    packet, one header for all. Decoding from the start passes over `head_packets`, which come before the
    first keyframe of the container. `timing` says what a picture's time is: `pts`, its own; in AVI, which
    knows only when packets are decoded, `feed`, that of the packet after which it comes out, and `count`, for
    the n-th picture in order of display the n-th time. `delay` is how much later than its packet the first
    picture is shown, where that is `feed`. `stream` is the number of the stream in the container. `by_packet`
    says that times were read from packets: a frame may yet turn out to be damaged
    (`pipelines.media.intact_pictures`); else all were decoded, and what was damaged is none of `pts`. `holes`
    are times of packets before which the container is damaged; `sound` says that no such damage is known, so
    its index leads where reading from the start does.
    `gaps` are stretches that are known to be lost; none of their frames is in `pts`.
    """

    pts: np.ndarray
    end_pts: int
    time_base: Fraction
    rate: Fraction
    demuxer: str
    framing: Framing
    as_coded: bool
    keyframes: np.ndarray
    head_packets: int
    timing: str
    delay: int
    plain: bool
    stream: int
    by_packet: bool
    sound: bool = True
    holes: tuple[int, ...] = ()
    gaps: tuple[Gap, ...] = ()

    @property
    def frames_after_gaps(self) -> list[int]:
        """Numbers of the frames that follow upon gaps, ascending."""
        ends = {self.index_of(gap.end_pts) for gap in self.gaps if gap.end_pts is not None}
        behind = (self.index_of(pts) for pts in self.holes)
        late = {
            n
            for n in behind
            if 0 < n < len(self.pts) and self.pts[n] - self.pts[n - 1] > LATE * self.median_step
        }
        return sorted(number for number in ends | late if 0 < number < len(self.pts))

    @property
    def median_step(self) -> int:
        """The usual time from one frame to the next."""
        return (
            max(1, int(np.median(np.diff(self.pts))))
            if len(self.pts) > 1
            else max(1, self.end_pts - int(self.pts[0]))
        )

    @property
    def duration_s(self) -> float:
        return float((self.end_pts - int(self.pts[0])) * self.time_base)

    def index_at(self, times_s: np.ndarray) -> np.ndarray:
        """The frame shown at each time, in seconds from the first frame; the first or last one outside of the
        video."""
        tick_s = float(self.time_base)
        shown_s = (self.pts - self.pts[0]) * tick_s
        # A time computed as k / fps may fall a rounding error short of the frame it means.
        index = np.searchsorted(shown_s, np.asarray(times_s) + min(1e-6, tick_s / 2), side="right") - 1
        return np.clip(index, 0, len(self.pts) - 1)

    def index_of(self, pts: int) -> int:
        """The first frame at or after a PTS; the number of frames if there is none."""
        return int(np.searchsorted(self.pts, pts, side="left"))

    def keyframe_before(self, pts: int) -> int | None:
        """PTS of the last keyframe at or before a PTS; None if decoding must begin at the start of the
        file."""
        index = int(np.searchsorted(self.keyframes, pts, side="right"))
        return int(self.keyframes[index - 1]) if index else None


# Times of PyAV's objects are None where nobody has said or read them. These raise MediaError (no_timestamps)
# then.


def time_base_of(stream: "Stream | Frame") -> Fraction:
    """Seconds of a tick."""
    return _known(stream.time_base, "the stream has no time base")


def pts_of(shown: "Packet | Frame") -> int:
    """When it is shown, in ticks."""
    return _known(shown.pts, "a packet or picture has no presentation time")


def dts_of(packet: "Packet") -> int:
    """When it is decoded, in ticks."""
    return _known(packet.dts, "a packet has no decoding time")


def duration_of(timed: "Packet | Stream") -> int:
    """How long it lasts, in ticks."""
    return _known(timed.duration, "nothing says how long it is")


def _known(value: T | None, why: str) -> T:
    if value is None:
        raise MediaError(Reason.NO_TIMESTAMPS, why)
    return value
