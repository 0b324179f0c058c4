"""When each frame of a file is shown: exact PTS from its demuxer, and where decoding may begin.

In: a file or its bytes. Out: a `Clock`. Frame number ÷ average fps is never used: it drifts on variable frame rate. What
headers say of frames and durations is not used either. Only the first pictures are decoded, unless packets can't tell
when pictures are shown: then all are.
"""

import itertools
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.config import FootageConfig
from pipelines.errors import MediaError, Reason
from pipelines.media.framing import first_framing, read_framing
from pipelines.media.packets import (
    Packets,
    demux_times,
    packets_from_start,
    pictures,
    pictures_between,
    refuse_concealed,
)
from pipelines.media.picture_format import Framing, format_of, set_framing
from pipelines.media.probe import check_header, open_container, video_stream
from pipelines.media.random_access import DECODER_TELLS, FLAG_IS_TRUE
from pipelines.media.ranged import File

if TYPE_CHECKING:
    from av import VideoFrame

# Each packet that shows a picture shows one, at the packet's time: tested against what decoders show.
_PACKET_IS_PICTURE = FLAG_IS_TRUE | {"h264", "hevc", "vp8", "vp9", "mpeg1video", "mpeg2video", "mpeg4"}


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """Frame i is shown during [pts[i], pts[i+1]), the last one until end_pts; units of time_base seconds.

    Decoding that begins at one of `keyframes` (some of pts, ascending) shows the same pictures from there on as decoding
    that begins at the start of the file. There may be none; nothing is promised of what the container calls a keyframe.
    `rate` is the container's nominal frame rate, for an encoder's rate control and nothing else; `demuxer` is FFmpeg's
    name of the container; `framing`, what the container says of how all pictures are shown, and `as_coded`, whether the first
    one is shown as it is decoded; `plain`, whether a reader that trusts the container sees the same: one video stream, honest
    keyframes, a time for each packet, one header for all. Decoding from the start passes over `head_packets`, which come before the first keyframe of the container.
    `timing` says what a picture's time is: `pts`, its own; in AVI, which knows only when packets are decoded, `feed`,
    that of the packet after which it comes out, and `count`, for the n-th picture in order of display the n-th time.
    `delay` is how much later than its packet the first picture is shown, where that is `feed`.
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


def read_clock(source: File | bytes, limits: FootageConfig | None = None) -> Clock:
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
        only_video = len(container.streams.video) == 1
    if not packets.count:
        raise MediaError(Reason.NO_FRAMES, "the video stream holds no packets")
    rising = bool(np.all(np.diff(packets.pts) > 0))
    by_packet = codec in _PACKET_IS_PICTURE and not packets.doubtful
    timing, delay = "pts", 0
    if demuxer == "avi" and codec in ("mpeg1video", "mpeg2video", "mpeg4"):
        timing, by_packet = "feed", False
    elif demuxer == "avi" and codec in ("h264", "hevc"):
        timing = "count"
        if not (by_packet and rising):
            raise MediaError(
                Reason.NO_TIMESTAMPS, f"{codec} in AVI says only when it is decoded, and not of all packets"
            )
    shown = _shown(source, packets, by_packet, timing, limits)
    keyframes = packets.closed_keyframes if timing == "count" else packets.keyframes
    if timing == "feed":
        delay = int(shown.pts[0] - packets.pts[0])
        keyframes = _fed_keyframes(keyframes, shown, delay)
    clock = _checked(
        Clock(
            pts=shown.pts,
            end_pts=int(shown.pts[-1]) + _last_duration(shown, rising, 1 / (rate * time_base)),
            time_base=time_base,
            rate=rate,
            demuxer=demuxer,
            framing=shown.framing,
            as_coded=shown.as_coded,
            keyframes=keyframes[np.isin(keyframes, shown.pts[shown.unique])],
            head_packets=packets.head,
            timing=timing,
            delay=delay,
            plain=packets.plain and by_packet and timing == "pts" and only_video,
        ),
        limits,
    )
    # The boxes of an MP4 were counted when it was opened; any other recording may break off in the middle of a picture.
    return clock if demuxer == "mov" or not by_packet else _without_broken_end(source, clock)


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """What a decoder shows; `unique`: where no two pictures have the same time, and what was taken for whole is."""

    pts: np.ndarray
    durations: np.ndarray
    unique: np.ndarray
    framing: Framing
    as_coded: bool


def _shown(source: File | bytes, packets: Packets, by_packet: bool, timing: str, limits: FootageConfig) -> _Shown:
    """The first pictures by decoding, the rest by packet; or all by decoding.

    What is decoded first may lack what it refers to, and is then not shown: a recording may begin anywhere.
    """
    with open_container(source, limits.max_pixels) as container:
        stream = video_stream(container)
        shown = pictures(packets_from_start(container, stream, packets.head), timing)
        first = next(shown, None)
        if first is None:
            raise MediaError(Reason.NO_FRAMES, "the video stream yields no frame")
        framing = read_framing(source, container, stream, stream.codec_context.sample_aspect_ratio)
        set_framing(first, first_framing(framing, stream))
        as_coded = format_of(first).as_coded
        if not by_packet:
            rows = _rows(itertools.chain((first,), shown), packets.keyframes)
            pts, index, count = np.unique(rows[:, 0], return_index=True, return_counts=True)
            is_whole = (rows[index, 2] == 1) | (timing == "pts" and stream.codec_context.name not in DECODER_TELLS)
            unique = (count == 1) & is_whole
            return _Shown(pts, rows[index, 1], unique, framing, as_coded)
        pts, index, count = np.unique(packets.pts, return_index=True, return_counts=True)
        keep = np.ones(len(pts), bool)
        if timing == "pts":
            early, picture = [], first
            while picture is not None and picture.pts < packets.pts[0]:
                early.append(picture.pts)
                picture = next(shown, None)
            begin = int(packets.pts[0]) if picture is None else picture.pts
            keep = (pts >= begin) | np.isin(pts, early)
    return _Shown(pts[keep], packets.durations[index][keep], count[keep] == 1, framing, as_coded)


def _rows(shown: Iterator["VideoFrame"], keyframes: np.ndarray) -> np.ndarray:
    """(PTS, duration, whether it is a keyframe) of each picture; up to the damage if the last group breaks off."""
    rows = array("q")
    try:
        for picture in shown:
            refuse_concealed(picture)
            if rows and picture.pts < rows[-3]:
                back_s = float((rows[-3] - picture.pts) * picture.time_base)
                raise MediaError(Reason.NO_TIMESTAMPS, f"the frames' times go back by {back_s:.3f} s")
            rows.extend((picture.pts, picture.duration or 0, picture.key_frame))
    except MediaError as error:
        if error.reason != Reason.UNDECODABLE or not rows or len(keyframes) < 2 or rows[-3] < keyframes[-2]:
            raise
    return np.frombuffer(rows, np.int64).reshape(-1, 3)


def _without_broken_end(source: File | bytes, clock: Clock) -> Clock:
    """The clock up to the first picture of its last group that does not decode."""
    keyframe = clock.keyframe_before(int(clock.pts[-1]))
    first = last = 0 if keyframe is None else clock.index_of(keyframe)
    try:
        for picture in pictures_between(source, clock, int(clock.pts[first]), clock.end_pts):
            last = clock.index_of(picture.pts) + 1
    except MediaError as error:
        if error.reason != Reason.UNDECODABLE or not last:
            raise
    if last == len(clock.pts):
        return clock
    end_pts = int(clock.pts[last])
    return replace(clock, pts=clock.pts[:last], end_pts=end_pts, keyframes=clock.keyframes[clock.keyframes < end_pts])


def _fed_keyframes(fed: np.ndarray, shown: _Shown, delay: int) -> np.ndarray:
    """When the keyframes that were fed come out: each is the last one fed before a whole picture is shown."""
    times = shown.pts[shown.unique]
    last_fed = np.searchsorted(fed, times - delay, side="right") - 1
    _, index, count = np.unique(last_fed, return_index=True, return_counts=True)
    return times[index[(count == 1) & (last_fed[index] >= 0)]]


def _last_duration(shown: _Shown, rising: bool, nominal: Fraction) -> int:
    """Packets say how long they are decoded: and how long they are shown, if none are reordered or all agree."""
    last = int(shown.durations[-1]) if rising or np.all(shown.durations == shown.durations[0]) else 0
    if not last:
        last = int(np.median(np.diff(shown.pts))) if len(shown.pts) > 1 else round(nominal)
    return max(1, last)


def _checked(clock: Clock, limits: FootageConfig) -> Clock:
    """The clock, against the limits: headers may have lied."""
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
    return clock
