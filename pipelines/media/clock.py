"""When each frame of a file is shown, from its demuxer: exact PTS; one frame is decoded.

In: a file or its bytes. Out: the sorted PTS of the frames and where the last one ends. Frame number ÷ average fps is
never used: it drifts on variable frame rate.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from pipelines.errors import MediaError, Reason
from pipelines.media.probe import open_container


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """Frame i is shown during [pts[i], pts[i+1]), the last one until end_pts; units of time_base seconds.

    `rate` is the container's nominal frame rate, for an encoder's rate control and nothing else; `demuxer` is FFmpeg's
    name of the container; `rotated` tells whether frames must be turned to be shown upright.
    """

    pts: np.ndarray
    end_pts: int
    time_base: Fraction
    rate: Fraction
    demuxer: str
    rotated: bool

    @property
    def duration_s(self) -> float:
        return float((self.end_pts - int(self.pts[0])) * self.time_base)

    def index_at(self, times_s: np.ndarray) -> np.ndarray:
        """The frame shown at each time, in seconds from the first frame; the first or last one outside of the video."""
        tick_s = float(self.time_base)
        shown_s = (self.pts - self.pts[0]) * tick_s
        # A time computed as k / fps may fall a rounding error short of the frame it means.
        index = np.searchsorted(shown_s, np.asarray(times_s) + min(1e-6, tick_s / 2), side="right") - 1
        return np.clip(index, 0, len(self.pts) - 1)

    def index_of(self, pts: int) -> int:
        """The first frame at or after a PTS; the number of frames if there is none."""
        return int(np.searchsorted(self.pts, pts, side="left"))


def read_clock(source: Path | bytes) -> Clock:
    """The clock of the first video stream.

    Raises:
        MediaError: see `open_container`; no_frames, no_timestamps.
    """
    with open_container(source) as container:
        if not container.streams.video:
            raise MediaError(Reason.NO_VIDEO, "the file has no video stream")
        stream = container.streams.video[0]
        packets = [(p.pts, p.dts, p.duration) for p in container.demux(stream) if p.size and not p.is_discard]
        demuxer = container.format.name
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        time_base = Fraction(stream.time_base)
        if not packets:
            raise MediaError(Reason.NO_FRAMES, "the video stream holds no packets")
        shown = {pts: duration for pts, _, duration in packets if pts is not None}
        if not shown:
            raise MediaError(Reason.NO_TIMESTAMPS, "no packet says when it is shown")
        pts = np.array(sorted(shown), dtype=np.int64)
        # Packets say how long they are decoded: and how long they are shown, if none are reordered or all agree.
        in_order = all(dts == pts for pts, dts, _ in packets)
        last = shown[int(pts[-1])] if in_order or len(set(shown.values())) == 1 else None
        container.seek(int(pts[0]), stream=stream)
        first = next(container.decode(stream), None)  # the header's rotation is told with the frames
        rotated = first is not None and first.rotation != 0
    last = last or (int(np.median(np.diff(pts))) if len(pts) > 1 else round(1 / (rate * time_base)))
    return Clock(pts, int(pts[-1]) + max(1, last), time_base, rate, demuxer, rotated)
