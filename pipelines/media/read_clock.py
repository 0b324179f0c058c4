"""A file → its clock: exact PTS from its demuxer, and where decoding may begin.

In: a file or its bytes. Out: a `Clock`. What headers say of frames and durations is not used. Only the first
pictures are decoded, unless packets can't tell when pictures are shown: then all are.
"""

import itertools
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.errors import MediaError, Reason
from pipelines.mask_runs import mask_runs
from pipelines.media.clock import DAMAGED, LATE, Clock, Gap, pts_of, time_base_of
from pipelines.media.config import FootageConfig
from pipelines.media.framing import frame_first
from pipelines.media.intact_pictures import intact_pictures
from pipelines.media.packets import (
    PacketIndex,
    demux_times,
    packets_from_start,
    pictures,
)
from pipelines.media.picture_format import Framing, format_of
from pipelines.media.probe import check_boxes, check_header, choose_stream, open_container, video_stream
from pipelines.media.random_access import DECODED_KEYFRAME_CODECS, TRUSTED_KEYFRAME_CODECS
from pipelines.media.ranged import File

if TYPE_CHECKING:
    from av import VideoFrame


# Each packet that shows a picture shows one, at the packet's time: tested against what decoders show.
_PACKET_IS_PICTURE = TRUSTED_KEYFRAME_CODECS | {
    "h264",
    "hevc",
    "vp8",
    "vp9",
    "mpeg1video",
    "mpeg2video",
    "mpeg4",
}

_MOST_REORDERED = 16  # pictures, in any standard
# Of what had to be decoded to know its times; each piece of it is read anew.
_MOST_GAPS = 64


def read_clock(source: File | bytes, limits: FootageConfig | None = None) -> Clock:
    """The clock of the video stream with the film in it.

    Args:
        limits: what is taken at all; the defaults of `FootageConfig` if None.

    Raises:
        MediaError: see `open_container`; no_video, no_frames, no_timestamps, undecodable, truncated,
        too_large.
    """
    limits = limits or FootageConfig()
    with open_container(source, limits.max_pixels) as container:
        stream, _ = choose_stream(source, container, limits)
        check_header(container, stream, limits)
        packets = demux_times(container, stream, limits.max_frames)
        demuxer, codec = container.format.name, stream.codec_context.name
        time_base = Fraction(time_base_of(stream))
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        only_video = len(container.streams.video) == 1
        said = stream.duration
        if not said and container.duration:
            said = round(Fraction(container.duration, 1_000_000) / time_base)
        number = stream.index
    missing_bytes, in_fragments = 0, False
    if demuxer == "mov" and not isinstance(source, bytes):
        missing_bytes, in_fragments = check_boxes(source)
    if not packets.count:
        raise (
            _ends_early(missing_bytes)
            if missing_bytes
            else MediaError(Reason.NO_FRAMES, "the video stream holds no packets")
        )
    rising = bool(np.all(np.diff(packets.pts) > 0))
    by_packet = codec in _PACKET_IS_PICTURE and not packets.needs_decoding
    timing, delay = "pts", 0
    if demuxer == "avi" and codec in ("mpeg1video", "mpeg2video", "mpeg4"):
        timing, by_packet = "feed", False
    elif demuxer == "avi" and codec in ("h264", "hevc"):
        timing = "count"
        if not (by_packet and rising):
            raise MediaError(
                Reason.NO_TIMESTAMPS, f"{codec} in AVI says only when it is decoded, and not of all packets"
            )
    shown = _shown(source, number, packets, by_packet, timing, limits)
    keyframes = packets.closed_keyframes if timing == "count" else packets.keyframes
    if timing == "feed":
        delay = int(shown.pts[0] - packets.pts[0])
        keyframes = _fed_keyframes(keyframes, shown, delay)
    clock = Clock(
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
        plain=packets.plain and packets.is_intact and by_packet and timing == "pts" and only_video,
        stream=number,
        by_packet=by_packet,
        sound=packets.is_intact,
        holes=packets.holes,
    )
    clock = _checked(clock, limits)
    if not by_packet:
        clock = _without_lost(clock, shown)
    elif demuxer != "mov" or missing_bytes:
        # The boxes of an MP4 tell whether it is whole; any other recording may break off in the middle of a
        # picture.
        clock = _without_broken_end(source, clock)
    if missing_bytes:
        return _with_lost_end(clock, _ends_early(missing_bytes).message, None if in_fragments else said)
    return (
        _with_lost_end(clock, "the file ends in the middle of its content", said)
        if packets.is_truncated
        else clock
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """What a decoder shows; `unique`: where no two pictures have the same time, and what was taken for whole
    is.

    Where all was decoded, `fed` are the numbers of the packets that the pictures came with; `damaged`, which
    of them are; and `broken`, the numbers of packets that don't decode.
    """

    pts: np.ndarray
    durations: np.ndarray
    unique: np.ndarray
    framing: Framing
    as_coded: bool
    fed: np.ndarray
    damaged: np.ndarray
    broken: np.ndarray


def _shown(
    source: File | bytes,
    number: int,
    packets: PacketIndex,
    by_packet: bool,
    timing: str,
    limits: FootageConfig,
) -> _Shown:
    """The first pictures by decoding, the rest by packet; or all by decoding.

    What is decoded first may lack what it refers to, and is then not shown: a recording may begin anywhere.
    What is damaged is passed over.
    """
    broken: list[int] = []
    with open_container(source, limits.max_pixels) as container:
        stream = video_stream(container, number)
        shown = pictures(packets_from_start(container, stream, packets.head), timing, broken=broken)
        first = next(shown, None)
        if first is None:
            if broken:
                raise MediaError(Reason.UNDECODABLE, f"none of its {packets.count} packets shows a picture")
            raise MediaError(Reason.NO_FRAMES, "the video stream yields no frame")
        came_with: Any = first.opaque
        framing = frame_first(source, container, stream, first)
        as_coded = format_of(first).as_coded
        if not by_packet:
            rows = _rows(itertools.chain((first,), shown), came_with)
            pts, index, count = np.unique(rows[:, 0], return_index=True, return_counts=True)
            is_whole = (rows[index, 2] == 1) | (
                timing == "pts" and stream.codec_context.name not in DECODED_KEYFRAME_CODECS
            )
            unique = (count == 1) & is_whole
            broke = np.array(broken, np.int64)
            return _Shown(
                pts, rows[index, 1], unique, framing, as_coded, rows[index, 3], rows[index, 4] == 1, broke
            )
        pts, index, count = np.unique(packets.pts, return_index=True, return_counts=True)
        keep = np.ones(len(pts), bool)
        if timing == "pts" and not broken:
            early: list[int] = []
            picture: VideoFrame | None = first
            while picture is not None and pts_of(picture) < packets.pts[0]:
                early.append(pts_of(picture))
                picture = next(shown, None)
            begin = int(packets.pts[0]) if picture is None else pts_of(picture)
            keep = (pts >= begin) | np.isin(pts, early)
        elif timing == "pts":
            keep = pts >= packets.pts[0]
    none = np.empty(0, np.int64)
    return _Shown(
        pts[keep], packets.durations[index][keep], count[keep] == 1, framing, as_coded, none, none, none
    )


def _rows(shown: Iterator["VideoFrame"], first_with: list[int] | None) -> np.ndarray:
    """(PTS, duration, whether it is a keyframe, number of its packet, whether it is damaged) of each picture.

    Args:
        first_with: the number of the first one's packet.
    """
    rows = array("q")
    for picture in shown:
        pts = pts_of(picture)
        if rows and pts < rows[-5]:
            back_s = float((rows[-5] - pts) * time_base_of(picture))
            raise MediaError(Reason.NO_TIMESTAMPS, f"the frames' times go back by {back_s:.3f} s")
        came_with: Any = picture.opaque if rows else first_with
        (fed,) = came_with or [rows[-2] if rows else 0]
        rows.extend((pts, picture.duration or 0, picture.key_frame, fed, picture.is_corrupt))
    return np.frombuffer(rows, np.int64).reshape(-1, 5)


def _without_broken_end(source: File | bytes, clock: Clock) -> Clock:
    """The clock up to the first picture of its last group that does not decode.

    Raises:
        MediaError: undecodable, if that is all of it.
    """
    keyframe = clock.keyframe_before(int(clock.pts[-1]))
    last = 0 if keyframe is None else clock.index_of(keyframe)
    for number, _ in intact_pictures(source, clock, int(clock.pts[last]), clock.end_pts):
        if number != last:
            break
        last += 1
    if last == len(clock.pts):
        return clock
    if not last:
        raise MediaError(Reason.UNDECODABLE, f"none of its {len(clock.pts)} frames is whole")
    end_pts = min(int(clock.pts[last]), int(clock.pts[last - 1]) + clock.median_step)
    gap = Gap(end_pts, clock.end_pts, len(clock.pts) - last, Reason.TRUNCATED, "the video breaks off there")
    keyframes = clock.keyframes[clock.keyframes < end_pts]
    return replace(clock, pts=clock.pts[:last], end_pts=end_pts, keyframes=keyframes, gaps=(gap,))


def _fed_keyframes(fed: np.ndarray, shown: _Shown, delay: int) -> np.ndarray:
    """When the keyframes that were fed come out: each is the last one fed before a whole picture is shown."""
    times = shown.pts[shown.unique]
    last_fed = np.searchsorted(fed, times - delay, side="right") - 1
    _, index, count = np.unique(last_fed, return_index=True, return_counts=True)
    return times[index[(count == 1) & (last_fed[index] >= 0)]]


def _last_duration(shown: _Shown, rising: bool, nominal: Fraction) -> int:
    """Packets say how long they are decoded: and how long they are shown, if none are reordered or all
    agree."""
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
            f"{len(clock.pts)} frames in {clock.duration_s:.1f} s are more than "
            f"footage_options.max_fps={limits.max_fps}",
        )
    return clock


def _ends_early(missing_bytes: int) -> MediaError:
    return MediaError(Reason.TRUNCATED, f"the file ends {missing_bytes} bytes before its content")


def _without_lost(clock: Clock, shown: _Shown) -> Clock:
    """The clock without the frames that are damaged or were decoded after damage, from keyframe to keyframe:
    see `pipelines.media.intact_pictures`.

    Raises:
        MediaError: undecodable, if nothing is left, or it is in too many pieces.
    """
    if not len(shown.broken) and not shown.damaged.any():
        return clock
    total = len(clock.pts)
    begins = np.unique([0, *np.searchsorted(clock.pts, clock.keyframes).tolist()])
    lost, gaps = np.zeros(total, bool), []
    for first, last in itertools.pairwise([*begins.tolist(), total]):
        fed = int(shown.fed[first]) if first else 0
        leads = np.arange(total) < first
        damaged = shown.fed[shown.damaged & ~leads]
        bad = np.concatenate([shown.broken[shown.broken >= fed], damaged[damaged >= fed]])
        if not len(bad):
            break
        behind = shown.fed[first:last] >= bad.min()
        if behind.any():
            lost[first + int(np.argmax(behind)) : last] = True
    kept = np.flatnonzero(~lost)
    if not len(kept):
        raise MediaError(Reason.UNDECODABLE, f"each of its {total} frames is damaged, or needs one that is")
    pieces = mask_runs(lost)
    if len(pieces) > _MOST_GAPS:
        raise MediaError(Reason.UNDECODABLE, f"it is damaged in {len(pieces)} places")
    ends = [*clock.pts.tolist(), clock.end_pts]
    for first, last in pieces:
        reason = Reason.TRUNCATED if last == total else Reason.UNDECODABLE
        gaps.append(Gap(ends[first], ends[last], last - first, reason, DAMAGED))
    pts = clock.pts[kept]
    return replace(
        clock,
        pts=pts,
        end_pts=ends[int(kept[-1]) + 1],
        keyframes=clock.keyframes[np.isin(clock.keyframes, pts)],
        gaps=tuple(gaps),
    )


def _with_lost_end(clock: Clock, message: str, said: int | None) -> Clock:
    """The clock of a file whose end is missing.

    Args:
        said: how long it was to be, in units of its time base; None if it does not say.
    """
    gaps = [gap for gap in clock.gaps if gap.end_pts is None or gap.end_pts < clock.end_pts]
    frames = 0
    # Pictures that were to be shown before the last ones, but decoded after them, are missing, too.
    last = max(1, len(clock.pts) - _MOST_REORDERED)
    late = np.flatnonzero(np.diff(clock.pts[last - 1 :]) > LATE * clock.median_step)
    if len(late):
        last += int(late[0])
        end_pts = int(clock.pts[last - 1]) + clock.median_step
        whole, clock = len(clock.pts), replace(clock, pts=clock.pts[:last], end_pts=end_pts)
        clock = replace(clock, keyframes=clock.keyframes[clock.keyframes < end_pts])
        frames = whole - last
    frames += sum(gap.num_frames for gap in clock.gaps) - sum(gap.num_frames for gap in gaps)
    # What says no more than what is there does not know.
    ends = int(clock.pts[0]) + said if said and int(clock.pts[0]) + said > clock.end_pts else None
    gap = Gap(clock.end_pts, ends, frames, Reason.TRUNCATED, message)
    return replace(clock, gaps=(*gaps, gap), plain=False)
