"""A file's video packets → when pictures are shown; from any time on → its packets and pictures.

In: an open container. Out: times of all packets; packets, then pictures, from a keyframe or from the start. The same
picture comes out for a time wherever decoding began: it begins only where the bitstream says that this is so, or at the
start.
"""

import itertools
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import MediaError, Reason
from pipelines.media.parameter_sets import carried_sets, declared_sets
from pipelines.media.picture_format import Framing, set_framing
from pipelines.media.probe import demux, open_container, video_stream
from pipelines.media.random_access import (
    begins_anew,
    field_syntax,
    is_field,
    is_shown,
    nal_length_bytes,
    parameter_sets,
)
from pipelines.media.ranged import File

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from pipelines.media.clock import Clock

# Containers with an index to seek by, or with absolute times in their packets. In all others packets are read from the
# start: that costs reading, not decoding.
_SOUGHT = frozenset(("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "asf"))
# An index may be sorted by decode time and lead behind the keyframe: then one looks further back.
_LOOK_BACK_S = (0, 2, 16)
# An MPEG-4 packet this small may be no picture: a place held for one in the packet before, or a repetition.
_PLACEHOLDER_BYTES = 32


@dataclass(frozen=True, slots=True, eq=False)
class Packets:
    """All packets of a stream that show a picture, in decode order, from the container's first keyframe on.

    `head` packets come before it. `keyframes` and `closed_keyframes` are PTS at which decoding may begin, the latter if
    also nothing shown before may come out. `doubtful`: only decoding can tell what is shown when. `plain`: every
    keyframe of the container is one of them, nothing comes before the first, and no packet changes what the header says.
    """

    pts: np.ndarray
    durations: np.ndarray
    keyframes: np.ndarray
    closed_keyframes: np.ndarray
    head: int
    count: int
    doubtful: bool
    plain: bool


def demux_times(container: "InputContainer", stream: "VideoStream", max_frames: int) -> Packets:
    """Read all packets; nothing is decoded.

    Raises:
        MediaError: too_large.
    """
    codec, extradata = stream.codec_context.name, stream.codec_context.extradata
    nal_length = nal_length_bytes(codec, extradata)
    fields, doubtful = field_syntax(codec, parameter_sets(codec, extradata), 0), False
    sometimes_hidden, sometimes_empty = codec in ("vp8", "vp9"), codec == "mpeg4"
    demuxer = container.format.name
    pts, durations, keyframes, closed = array("q"), array("q"), array("q"), array("q")
    count, head, highest, before, flagged, changes = 0, None, None, 0, 0, False
    declared = declared_sets(codec, extradata or b"")
    for packet in demux(container, stream):
        if not packet.size:
            continue
        is_key = packet.is_keyframe
        flagged += is_key
        changes = changes or packet.has_sidedata("new_extradata")
        if is_key and not changes:
            changes = bool(carried_sets(codec, bytes(packet), extradata or b"") - declared)
        if is_key and head is None:
            head, before = count, len(pts)
            fields = fields or field_syntax(codec, memoryview(packet), nal_length)
        count += 1
        if count > max_frames:
            raise MediaError(Reason.TOO_LARGE, f"more frames than footage_options.max_frames={max_frames}")
        if packet.is_discard or (sometimes_hidden and not is_shown(codec, memoryview(packet))):
            continue
        shown_at = _time(packet, demuxer)
        if shown_at is None:
            doubtful = True
            continue
        if is_key:
            if highest is not None and shown_at <= highest:
                doubtful = True  # time goes back, or stands
            elif begins_anew(codec, memoryview(packet), nal_length):
                keyframes.append(shown_at)
                if begins_anew(codec, memoryview(packet), nal_length, closed=True):
                    closed.append(shown_at)
        if fields is not None and not doubtful:
            doubtful = is_field(memoryview(packet), nal_length, fields)
        if sometimes_empty and packet.size < _PLACEHOLDER_BYTES:
            doubtful = True
        pts.append(shown_at)
        durations.append(packet.duration or 0)
        highest = shown_at if highest is None else max(highest, shown_at)
    return Packets(
        pts=np.frombuffer(pts, np.int64)[before:] if pts else np.empty(0, np.int64),
        durations=np.frombuffer(durations, np.int64)[before:] if pts else np.empty(0, np.int64),
        keyframes=np.array(keyframes, np.int64),
        closed_keyframes=np.array(closed, np.int64),
        head=head or 0,
        count=count,
        doubtful=doubtful or len(pts) == before,
        plain=flagged == len(keyframes) and not head and not changes,
    )


def pictures_between(source: File | bytes, clock: "Clock", start_pts: int, end_pts: int) -> Iterator["VideoFrame"]:
    """FFmpeg's own pictures in [start_pts, end_pts), as coded: exactly those of the clock, in order.

    Raises:
        MediaError: undecodable, no_timestamps.
    """
    first, after = clock.index_of(start_pts), clock.index_of(end_pts)
    if first >= after:
        return
    keyframe = clock.keyframe_before(int(clock.pts[first]))
    begin = 0 if keyframe is None else clock.index_of(keyframe)
    came = None
    for seek in (False,) if keyframe is None else (True, False):  # from the start only if seeking led astray
        number = begin
        for picture in pictures(packets_from(source, clock, keyframe, seek), clock.timing, clock.framing):
            if clock.timing == "count":
                picture.pts = int(clock.pts[number])
            came = picture.pts
            if (keyframe is not None and came < keyframe) or (number and came == clock.pts[number - 1]):
                continue  # it leads the keyframe, or has no time of its own
            if came != clock.pts[number]:
                break
            number += 1
            if number > first:
                refuse_concealed(picture)
                yield picture
                first = number
            if number == after:  # what comes behind may be broken
                return
    raise MediaError(
        Reason.UNDECODABLE,
        f"no picture comes out at pts {clock.pts[number]}, as its packet says; the last was at {came}",
    )


def refuse_concealed(picture: "VideoFrame") -> None:
    """What a decoder made up where data is damaged depends on what it saw before, and is no footage.

    Raises:
        MediaError: undecodable.
    """
    if picture.is_corrupt:
        raise MediaError(Reason.UNDECODABLE, f"the data of the picture at pts {picture.pts} is damaged")


def pictures(packets: Iterator["Packet"], timing: str, framing: Framing | None = None) -> Iterator["VideoFrame"]:
    """What packets show, in order of display.

    Args:
        timing: see `Clock`; the times of what is counted mean nothing here.
        framing: what the container says of all of them: each picture carries its own as `opaque`. None if nobody asks.

    Raises:
        MediaError: undecodable, no_timestamps.
    """
    import av

    fed = 0
    aspects = framing and _Aspects(framing)
    for packet in packets:
        if timing == "feed":
            fed = packet.dts if packet.size else fed + 1
        try:
            shown = packet.decode()
        except av.error.FFmpegError as error:
            raise MediaError(Reason.UNDECODABLE, f"a packet does not decode: {error.strerror}") from error
        if aspects:
            aspects.note(packet)
        for picture in shown:
            if aspects:
                set_framing(picture, aspects.of(picture))
            if timing == "feed":
                picture.pts = fed
            elif picture.pts is None:
                picture.pts = picture.dts
            if picture.pts is None and timing != "count":
                raise MediaError(Reason.NO_TIMESTAMPS, "a frame does not say when it is shown")
            yield picture


class _Aspects:
    """The framing of each picture: the bitstream changes its pixels' shape with a keyframe, some pictures before that one
    comes out.
    """

    def __init__(self, framing: Framing):
        self._framing = framing
        self._changes: list[tuple[int | None, Framing]] = []  # from which PTS on, None from the first picture

    def note(self, packet: "Packet") -> None:
        if self._framing.pixel_aspect is not None and self._changes:
            return
        aspect = self._framing.pixel_aspect or Fraction(packet.stream.codec_context.sample_aspect_ratio or 1)
        if not self._changes or self._changes[-1][1].pixel_aspect != aspect:
            since = packet.pts if self._changes else None
            self._changes.append((since, Framing(self._framing.crop, aspect)))

    def of(self, picture: "VideoFrame") -> Framing:
        for since, framing in reversed(self._changes[1:]):
            if since is None or picture.pts is None or picture.pts >= since:
                return framing
        return self._changes[0][1]


def packets_from(source: File | bytes, clock: "Clock", keyframe: int | None, seek: bool = True) -> Iterator["Packet"]:
    """The packets to decode from a keyframe of the clock on, or from the start if None.

    Args:
        seek: look for the keyframe by the container's index or by time, and only then from the start.

    The first picture of the file is decoded before any other: only its packet names the x264 that made the video, and
    FFmpeg works around a fault of old ones (in 4:4:4) by that name. Without it, frames after a seek are grey mush, and
    there is no error. Parameters, too, may come with that packet alone.

    Raises:
        MediaError: see `open_container`.
    """
    if keyframe is None or keyframe == clock.pts[0]:
        with open_container(source) as container:
            yield from packets_from_start(container, video_stream(container), clock.head_packets)
        return
    if seek and clock.demuxer in _SOUGHT:
        with open_container(source) as container:
            stream = video_stream(container)
            next(pictures(packets_from_start(container, stream, clock.head_packets), "count"), None)
            for packets in _seek(container, stream, clock, keyframe):
                yield from packets
                return
    with open_container(source) as container:
        stream = video_stream(container)
        packets = packets_from_start(container, stream, clock.head_packets)
        run = _run(_begun(packets), stream, clock, keyframe)
        if not run:
            raise MediaError(Reason.NO_TIMESTAMPS, f"the keyframe at {keyframe} is not found again")
        stream.codec_context.flush_buffers()
        yield from run
        yield from packets


def packets_from_start(container: "InputContainer", stream: "VideoStream", skip: int) -> Iterator["Packet"]:
    """All packets of a container just opened, but for the first `skip`; the last is empty: it flushes."""
    for packet in demux(container, stream):
        if packet.size and skip:
            skip -= 1
        else:
            yield packet


def _seek(
    container: "InputContainer", stream: "VideoStream", clock: "Clock", keyframe: int
) -> Iterator[Iterator["Packet"]]:
    """The packets from a keyframe on, if the container's index leads to it; else nothing."""
    import av

    for back_s in _LOOK_BACK_S:
        try:
            container.seek(keyframe - clock.delay - round(back_s / stream.time_base), stream=stream)
        except av.error.FFmpegError:
            return  # an index that says nothing
        packets = packets_from_start(container, stream, 0)
        run = _run(packets, stream, clock, keyframe, most_dts=keyframe)
        if run:
            yield itertools.chain(run, packets)
            return


def _run(
    packets: Iterator["Packet"], stream: "VideoStream", clock: "Clock", keyframe: int, most_dts: float = math.inf
) -> list["Packet"]:
    """Reads on to where decoding for a keyframe begins: what was read from there on; nothing if it isn't there."""
    run, codec = [], stream.codec_context.name
    for packet in packets:
        if clock.timing == "feed":
            # The keyframe comes out after pictures that are shown before it were fed: it is the last one fed.
            if not packet.size or packet.dts > keyframe - clock.delay:
                return [*run, packet] if run else []
            if packet.is_keyframe and begins_anew(codec, memoryview(packet), 0):
                run = [packet]
            elif run:
                run.append(packet)
        elif _time(packet, clock.demuxer) == keyframe and packet.is_keyframe:
            return [packet]
        elif packet.dts is not None and packet.dts > most_dts:
            return []
    return run


def _begun(packets: Iterator["Packet"]) -> Iterator["Packet"]:
    """The same packets; the first ones are decoded, until a picture comes out."""
    shown = False
    for packet in packets:
        shown = shown or bool(packet.decode())
        yield packet


def _time(packet: "Packet", demuxer: str) -> int | None:
    """AVI knows only when packets are decoded; the rest is FFmpeg's guess."""
    return packet.dts if demuxer == "avi" else packet.pts
