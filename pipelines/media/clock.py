"""When each frame of a file is shown: exact PTS from its demuxer, and where decoding may begin.

In: a file or its bytes. Out: a `Clock`. Frame number ÷ average fps is never used: it drifts on variable frame rate. What
headers say of frames and durations is not used either. Only the first pictures are decoded, unless packets can't tell
when pictures are shown: then all are.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from pipelines.config import FootageConfig
from pipelines.errors import MediaError, Reason
from pipelines.media.packets import Packets, demux_times, packets_from_start, pictures
from pipelines.media.probe import check_header, open_container, video_stream
from pipelines.media.random_access import FLAG_IS_TRUE

# Each packet that shows a picture shows one, at the packet's time: tested against what decoders show.
_PACKET_IS_PICTURE = FLAG_IS_TRUE | {"h264", "hevc", "vp8", "vp9", "mpeg1video", "mpeg2video", "mpeg4"}


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """Frame i is shown during [pts[i], pts[i+1]), the last one until end_pts; units of time_base seconds.

    Decoding that begins at one of `keyframes` (some of pts, ascending) shows the same pictures from there on as decoding
    that begins at the start of the file. There may be none; nothing is promised of what the container calls a keyframe.
    `rate` is the container's nominal frame rate, for an encoder's rate control and nothing else; `demuxer` is FFmpeg's
    name of the container; `rotated` tells whether frames must be turned to be shown upright; `plain`, whether a reader
    that trusts the container sees the same: one video stream, honest keyframes, a time for each packet. Decoding from the start passes over `head_packets`,
    which come before the first keyframe of the container. `counted`: packets say only when they are decoded, so the n-th
    picture in order of display is shown at the n-th time.
    """

    pts: np.ndarray
    end_pts: int
    time_base: Fraction
    rate: Fraction
    demuxer: str
    rotated: bool
    keyframes: np.ndarray
    head_packets: int
    counted: bool
    plain: bool

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

    def keyframe_before(self, pts: int) -> int | None:
        """PTS of the last keyframe at or before a PTS; None if decoding must begin at the start of the file."""
        index = int(np.searchsorted(self.keyframes, pts, side="right"))
        return int(self.keyframes[index - 1]) if index else None


def read_clock(source: Path | bytes, limits: FootageConfig | None = None) -> Clock:
    """The clock of the first video stream that is no cover picture.

    Args:
        limits: what is taken at all; the defaults of `FootageConfig` if None.

    Raises:
        MediaError: see `open_container`; no_video, no_frames, no_timestamps, undecodable, too_large.
    """
    limits = limits or FootageConfig()
    with open_container(source, limits.max_pixels) as container:
        stream = video_stream(container)
        check_header(container, stream, limits)
        packets = demux_times(container, stream, limits.max_frames)
        demuxer, codec = container.format.name, stream.codec_context.name
        time_base = Fraction(stream.time_base)
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        reorders = demuxer == "avi" and codec in ("h264", "hevc")  # AVI has no times of display
        only_video = len(container.streams.video) == 1
    if not packets.count:
        raise MediaError(Reason.NO_FRAMES, "the video stream holds no packets")
    rising = bool(np.all(np.diff(packets.pts) > 0))
    by_packet = codec in _PACKET_IS_PICTURE and not packets.doubtful
    counted = by_packet and rising and reorders
    pts, durations, rotated = _shown(source, packets, by_packet, counted, limits)
    keyframes = packets.closed_keyframes if counted else packets.keyframes
    last = int(durations[-1]) if rising or np.all(durations == durations[0]) else 0
    last = last or (int(np.median(np.diff(pts))) if len(pts) > 1 else round(1 / (rate * time_base)))
    clock = Clock(
        pts=pts,
        end_pts=int(pts[-1]) + max(1, last),
        time_base=time_base,
        rate=rate,
        demuxer=demuxer,
        rotated=rotated,
        keyframes=keyframes[np.isin(keyframes, pts)],
        head_packets=packets.head,
        counted=counted,
        plain=packets.plain and by_packet and not counted and only_video,
    )
    _check_clock(clock, limits)
    return clock


def _shown(
    source: Path | bytes, packets: Packets, by_packet: bool, counted: bool, limits: FootageConfig
) -> tuple[np.ndarray, np.ndarray, bool]:
    """(PTS, durations, rotated) of the pictures that a decoder shows: of the first ones by decoding, of the rest by packet.

    What is decoded first may lack what it refers to, and is then not shown: a recording may begin anywhere.
    """
    with open_container(source, limits.max_pixels) as container:
        stream = video_stream(container)
        shown = pictures(packets_from_start(container, stream, packets.head), ordered=not counted)
        first = next(shown, None)
        if first is None:
            raise MediaError(Reason.NO_FRAMES, "the video stream yields no frame")
        rotated = first.rotation != 0
        if not by_packet:
            times = [(first.pts, first.duration), *((picture.pts, picture.duration) for picture in shown)]
            pts, index = np.unique(np.array([pts for pts, _ in times], np.int64), return_index=True)
            return pts, np.array([duration for _, duration in times], np.int64)[index], rotated
        pts, index = np.unique(packets.pts, return_index=True)
        keep = np.ones(len(pts), bool)
        if not counted:
            early, picture = [], first
            while picture is not None and picture.pts < packets.pts[0]:
                early.append(picture.pts)
                picture = next(shown, None)
            begin = int(packets.pts[0]) if picture is None else picture.pts
            keep = (pts >= begin) | np.isin(pts, early)
    return pts[keep], packets.durations[index][keep], rotated


def _check_clock(clock: Clock, limits: FootageConfig) -> None:
    """What headers may have lied about."""
    if clock.duration_s > limits.max_duration_s:
        raise MediaError(
            Reason.TOO_LARGE,
            f"{clock.duration_s:.0f} s are more than footage_options.max_duration_s={limits.max_duration_s}",
        )
    if len(clock.pts) > limits.max_fps * max(1.0, clock.duration_s):
        raise MediaError(
            Reason.TOO_LARGE,
            f"{len(clock.pts)} frames in {clock.duration_s:.1f} s are more than footage_options.max_fps={limits.max_fps}",
        )
