"""A file's video packets → when pictures are shown; from any time on → its packets and pictures.

In: an open container. Out: times of all packets; packets, then pictures, from a keyframe or from the start.
The same picture comes out for a time wherever decoding began: it begins only where the bitstream says that
this is so, or at the start.
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
from pipelines.media.clock import dts_of, time_base_of
from pipelines.media.parameter_sets import carried_sets, declared_sets
from pipelines.media.picture_format import Framing, set_framing
from pipelines.media.probe import demux, open_container, video_stream
from pipelines.media.random_access import (
    field_syntax,
    is_field,
    is_random_access_point,
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

# Containers with an index to seek by, or with absolute times in their packets. In all others packets are read
# from the start: that costs reading, not decoding.
_SOUGHT = frozenset(("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "asf"))
# An index may be sorted by decode time and lead behind the keyframe: then one looks further back.
_LOOK_BACK_S = (0, 2, 16)
# An MPEG-4 packet this small may be no picture: a place held for one in the packet before, or a repetition.
_PLACEHOLDER_BYTES = 32
FLAGGED_AHEAD = 2  # a transport stream's packets may be flagged one before the one that is meant
SOMETIMES_HIDDEN = ("vp8", "vp9")
# Packets of a file's beginning that are decoded until a picture comes out: of a damaged one none may.
_OPENING_PACKETS = 64


@dataclass(frozen=True, slots=True, eq=False)
class PacketIndex:
    """All packets of a stream that show a picture, in decode order, from the container's first keyframe on.

    `head` packets come before it. `keyframes` and `closed_keyframes` are PTS at which decoding may begin, the
    latter if also nothing shown before may come out. `needs_decoding`: only decoding can tell what is shown
    when. `plain`: every keyframe of the container is one of them, nothing comes before the first, and no
    packet changes what the header says. `holes`: times of packets before which the container is damaged.
    `is_intact`: no such damage is known, so an index leads where reading from the start does. `is_truncated`:
    the container ends in the middle of something.
    """

    pts: np.ndarray
    durations: np.ndarray
    keyframes: np.ndarray
    closed_keyframes: np.ndarray
    head: int
    count: int
    needs_decoding: bool
    plain: bool
    holes: tuple[int, ...]
    is_intact: bool
    is_truncated: bool


def demux_times(container: "InputContainer", stream: "VideoStream", max_frames: int) -> PacketIndex:
    """Read all packets; nothing is decoded.

    Raises:
        MediaError: too_large.
    """
    codec, extradata = stream.codec_context.name, stream.codec_context.extradata
    nal_length = nal_length_bytes(codec, extradata)
    fields, doubtful = field_syntax(codec, parameter_sets(codec, extradata), 0), False
    sometimes_empty = codec == "mpeg4"
    demuxer, indexed = container.format.name, len(stream.index_entries)
    pts, durations, keyframes, closed = array("q"), array("q"), array("q"), array("q")
    count, head, highest, before, flagged, changes = 0, None, None, 0, 0, False
    declared = declared_sets(codec, extradata or b"")
    holes: list[int] = []
    hole = False
    packets = demux(container, stream)
    for packet, complaints in (
        _with_complaints(packets) if demuxer.startswith("matroska") else ((p, False) for p in packets)
    ):
        hole = hole or complaints
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
        shown_at = packet_time(packet, demuxer)
        if hole and shown_at is not None:
            holes.append(shown_at)
            hole = False
        if not shows_picture(packet):
            continue
        if shown_at is None:
            doubtful = True
            continue
        if is_key:
            if highest is not None and shown_at <= highest:
                doubtful = True  # time goes back, or stands
            elif is_random_access_point(codec, memoryview(packet), nal_length):
                keyframes.append(shown_at)
                if is_random_access_point(codec, memoryview(packet), nal_length, closed=True):
                    closed.append(shown_at)
        if fields is not None and not doubtful:
            doubtful = is_field(memoryview(packet), nal_length, fields)
        if sometimes_empty and packet.size < _PLACEHOLDER_BYTES:
            doubtful = True
        pts.append(shown_at)
        durations.append(packet.duration or 0)
        highest = shown_at if highest is None else max(highest, shown_at)
    return PacketIndex(
        pts=np.frombuffer(pts, np.int64)[before:] if pts else np.empty(0, np.int64),
        durations=np.frombuffer(durations, np.int64)[before:] if pts else np.empty(0, np.int64),
        keyframes=np.array(keyframes, np.int64),
        closed_keyframes=np.array(closed, np.int64),
        head=head or 0,
        count=count,
        needs_decoding=doubtful or len(pts) == before,
        plain=flagged == len(keyframes) and not head and not changes,
        holes=tuple(holes),
        is_intact=not (holes or hole) and (demuxer != "avi" or indexed == count),
        is_truncated=hole,
    )


def _with_complaints(packets: Iterator["Packet"]) -> Iterator[tuple["Packet", bool]]:
    """Each packet, and whether the demuxer complained of what it had to pass over on its way there.

    Matroska's looks for the next cluster then, and there is no other sign of it.
    """
    import av.logging

    level = av.logging.get_level()
    while True:
        av.logging.set_level(av.logging.ERROR)
        try:
            with av.logging.Capture() as said:
                packet = next(packets, None)
                complaints = any(name == "matroska,webm" for _, name, _ in said)
        finally:
            av.logging.set_level(level)
        if packet is None:
            return
        yield packet, complaints


def pictures(
    packets: Iterator["Packet"], timing: str, framing: Framing | None = None, broken: list[int] | None = None
) -> Iterator["VideoFrame"]:
    """What packets show, in order of display.

    Args:
        timing: see `Clock`; the times of what is counted mean nothing here.
        framing: what the container says of all of them: each picture carries its own as `opaque`. If None,
            each carries a list of the number of the packet that it came with.
        broken: takes the numbers of packets that do not decode, or are known to be incomplete; None to raise.

    Raises:
        MediaError: undecodable, no_timestamps.
    """
    import av
    from av.codec.context import Flags

    fed, suspect = 0, None
    aspects = framing and FramingTracker(framing)
    for number, packet in enumerate(packets):
        if timing == "feed":
            fed = dts_of(packet) if packet.size else fed + 1
        if packet.size:
            packet.stream.codec_context.flags |= Flags.copy_opaque
            packet.opaque = [number]  # PyAV wants an object of its own for each
        if packet.size and packet.is_keyframe:
            suspect = None
        elif suspect is not None and (not packet.size or number - suspect >= FLAGGED_AHEAD):
            if broken is not None:
                broken.append(suspect)
            suspect = None
        if suspect is None and is_marked_corrupt(packet):
            suspect = number
        try:
            shown = packet.decode()
        except av.error.FFmpegError as error:
            if broken is None:
                raise MediaError(Reason.UNDECODABLE, f"a packet does not decode: {error.strerror}") from error
            broken.append(number)
            continue
        if aspects:
            aspects.update(packet, number)
        for picture in shown:
            if aspects:
                set_framing(picture, aspects.framing_of(picture))
            if timing == "feed":
                picture.pts = fed
            elif picture.pts is None:
                picture.pts = picture.dts
            if picture.pts is None and timing != "count":
                raise MediaError(Reason.NO_TIMESTAMPS, "a frame does not say when it is shown")
            yield picture


class FramingTracker:
    """Tracks the framing of each picture. The decoder reports a new pixel aspect when it reads a keyframe,
    some frames before it outputs that keyframe.
    """

    def __init__(self, framing: Framing):
        self._framing = framing
        self._changes: list[tuple[int, Framing]] = []  # from which packet on

    def update(self, packet: "Packet", number: int) -> None:
        """What the decoder says after the n-th packet."""
        if self._framing.pixel_aspect is not None and self._changes:
            return
        aspect = self._framing.pixel_aspect or Fraction(packet.stream.codec_context.sample_aspect_ratio or 1)
        if not self._changes or self._changes[-1][1].pixel_aspect != aspect:
            self._changes.append((number, Framing(self._framing.crop, aspect)))

    def framing_of(self, picture: "VideoFrame") -> Framing:
        """By the number of its packet, which a picture carries; of a decoder that lets it carry none, as of
        the last packet."""
        came_with = picture.opaque[0] if isinstance(picture.opaque, list) else self._changes[-1][0]
        return next(
            (framing for since, framing in reversed(self._changes) if came_with >= since), self._changes[0][1]
        )


def packets_from(
    source: File | bytes, clock: "Clock", keyframe: int | None, seek: bool = True
) -> Iterator["Packet"]:
    """The packets to decode from a keyframe of the clock on, or from the start if None.

    Args:
        seek: look for the keyframe by the container's index or by time, and only then from the start.

    The first picture of the file is decoded before any other: only its packet names the x264 that made the
    video, and FFmpeg works around a fault of old ones (in 4:4:4) by that name. Without it, frames after a
    seek are grey mush, and there is no error. Parameters, too, may come with that packet alone.

    Raises:
        MediaError: see `open_container`.
    """
    if keyframe is None or keyframe == clock.pts[0]:
        with open_container(source) as container:
            yield from packets_from_start(
                container, video_stream(container, clock.stream), clock.head_packets
            )
        return
    if seek and clock.sound and clock.demuxer in _SOUGHT:
        with open_container(source) as container:
            stream = video_stream(container, clock.stream)
            opening = packets_from_start(container, stream, clock.head_packets)
            any(_shows_one(packet) for packet in itertools.islice(opening, _OPENING_PACKETS))
            for packets in _seek(container, stream, clock, keyframe):
                yield from packets
                return
    with open_container(source) as container:
        stream = video_stream(container, clock.stream)
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
            container.seek(keyframe - clock.delay - round(back_s / time_base_of(stream)), stream=stream)
        except av.error.FFmpegError:
            return  # an index that says nothing
        packets = packets_from_start(container, stream, 0)
        run = _run(packets, stream, clock, keyframe, most_dts=keyframe)
        if run:
            yield itertools.chain(run, packets)
            return


def _run(
    packets: Iterator["Packet"],
    stream: "VideoStream",
    clock: "Clock",
    keyframe: int,
    most_dts: float = math.inf,
) -> list["Packet"]:
    """Reads on to where decoding for a keyframe begins: what was read from there on; nothing if it isn't
    there."""
    run: list[Packet] = []
    codec = stream.codec_context.name
    for packet in packets:
        if clock.timing == "feed":
            # The keyframe comes out after pictures that are shown before it were fed: it is the last one fed.
            if not packet.size or dts_of(packet) > keyframe - clock.delay:
                return [*run, packet] if run else []
            if packet.is_keyframe and is_random_access_point(codec, memoryview(packet), 0):
                run = [packet]
            elif run:
                run.append(packet)
        elif packet_time(packet, clock.demuxer) == keyframe and packet.is_keyframe:
            return [packet]
        elif packet.dts is not None and packet.dts > most_dts:
            return []
    return run


def _begun(packets: Iterator["Packet"]) -> Iterator["Packet"]:
    """The same packets; the first ones are decoded, until a picture comes out."""
    shown = False
    for number, packet in enumerate(packets):
        shown = shown or number >= _OPENING_PACKETS or _shows_one(packet)
        yield packet


def _shows_one(packet: "Packet") -> bool:
    """Whether decoding a packet shows a picture; it may be damaged."""
    import av

    try:
        return bool(packet.decode())
    except av.error.FFmpegError:
        return False


def is_marked_corrupt(packet: "Packet") -> bool:
    """Whether the demuxer says that data are missing in a packet, or behind it.

    Not where recordings were joined: then a keyframe follows soon, and decoders tell whether what comes
    before it is whole. Program streams say it of all pictures around.
    """
    return packet.is_corrupt and packet.stream.container.format.name != "mpeg"


def shows_picture(packet: "Packet") -> bool:
    """Whether a packet's picture is to be shown."""
    codec = packet.stream.codec_context.name
    return not packet.is_discard and (codec not in SOMETIMES_HIDDEN or is_shown(codec, memoryview(packet)))


def packet_time(packet: "Packet", demuxer: str) -> int | None:
    """AVI knows only when packets are decoded; the rest is FFmpeg's guess."""
    return packet.dts if demuxer == "avi" else packet.pts
