"""Coded packets of a span → an mp4 that shows exactly that span, without decoding anything.

In: a source and a span. Out: the packets from a keyframe at or before the span's first frame to the last one
that its frames need, in decode order; and an mp4 of them whose edit list shows the span alone. PTS stay
exact: the file's clock ticks in a multiple of the source's. Reproducible byte for byte.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import MediaError, PlaceError, is_host_error
from pipelines.media.clock import time_base_of
from pipelines.media.mp4_boxes import Edit, set_edits
from pipelines.media.parameter_sets import carried_sets, declared_sets, set_order, without_sets
from pipelines.media.probe import open_container, video_stream
from pipelines.media.random_access import is_random_access_point, nal_length_bytes
from pipelines.media.ranged import File
from pipelines.records import Span

if TYPE_CHECKING:
    from av import Packet
    from av.video.stream import VideoStream

    from pipelines.cutting.audio_track import AudioTrack
    from pipelines.media.picture_format import PictureFormat

COPYABLE_CODECS = frozenset(("h264", "hevc", "vp9", "av1", "libdav1d", "mpeg4", "mpeg2video"))
# How long before the span reading begins: an index leads straight to the keyframe; where there is none, or it
# leads behind it (by decoding time), further back; None is the start of the file.
_BEFORE_S = (0, 2, 12, 60, None)
_CHANGES = "its parameter sets change on the way"
_MIN_TICKS = 10_000  # as FFmpeg: some players take coarser clocks badly


class CannotCopy(Exception):
    """The packets of a span can't be copied into a clip; the message says why."""


@dataclass(frozen=True, slots=True)
class CodedPacket:
    """A coded packet with its PTS, and whether decoding can start at it (random access point)."""

    pts: int
    is_random_access_point: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class PacketRun:
    """Packets in decode order, in units of the source's time base; the first one is a keyframe.

    `header` are the parameter sets that the first one brings, where they are not those of the source's
    header; None else. `stream` is the number of their stream in the source, if it was asked for.
    """

    packets: tuple[CodedPacket, ...]
    span: Span
    header: bytes | None = None
    stream: int | None = None

    @property
    def lead_frames(self) -> int:
        """Frames before the span's first."""
        return sum(packet.pts < self.span.start_pts for packet in self.packets)

    @property
    def tail_frames(self) -> int:
        """Frames behind the span's last, which its own refer to."""
        return sum(packet.pts >= self.span.end_pts for packet in self.packets)

    @property
    def shown_pts(self) -> list[int]:
        """PTS of the span's frames, ascending."""
        return sorted(p.pts for p in self.packets if self.span.start_pts <= p.pts < self.span.end_pts)


def read_packet_run(
    path: File,
    span: Span,
    num_frames: int,
    keyframes_back: int = 0,
    most_before: int | None = None,
    number: int | None = None,
) -> PacketRun:
    """The packets that show a span of a source.

    Leading pictures of an open group (shown before the keyframe, coded after it) are left out: what they
    refer to is.

    Args:
        num_frames: how many frames the span has.
        keyframes_back: begin so many keyframes before the nearest possible one.
        most_before: how many packets may come before the span; a recording of hours may have one keyframe.
        number: of the video stream, if it is known.

    Raises:
        CannotCopy: the codec, the timestamps or the keyframes don't allow it.
        MediaError: the source can't be demuxed.
    """
    import av

    for before_s in _BEFORE_S:
        with open_container(path) as container:
            stream = video_stream(container, number)
            if stream.codec_context.name not in COPYABLE_CODECS:
                raise CannotCopy(f"{stream.codec_context.name} is not copied into mp4")
            # A transport stream loses its first keyframe if one seeks to it: the beginning is read without
            # seeking.
            if before_s is not None:
                target = span.start_pts - int(before_s / time_base_of(stream))
                if target <= (stream.start_time or 0):
                    continue
                try:
                    container.seek(target, stream=stream)
                except av.error.FFmpegError:
                    continue  # no index to seek by
            found = _collect(container.demux(stream), stream, span, num_frames, keyframes_back, most_before)
            codec, extradata = stream.codec_context.name, stream.codec_context.extradata or b""
        if found:
            packets = tuple(packet for packet in found if packet.pts >= found[0].pts)
            header = _own_header(codec, extradata, packets)
            return PacketRun(_as_hvc1(codec, extradata, packets), span, header, number)
    raise CannotCopy("no keyframe at or before its first frame")


def _collect(
    packets: Iterable["Packet"],
    stream: "VideoStream",
    span: Span,
    num_frames: int,
    keyframes_back: int,
    most_before: int | None,
) -> list[CodedPacket]:
    """From the keyframe to the last packet needed; empty if reading began too late."""
    codec, extradata = stream.codec_context.name, stream.codec_context.extradata or b""
    nal_length = nal_length_bytes(codec, extradata)
    run: list[CodedPacket] = []
    starts: list[int] = []  # where in the run its usable keyframes are
    wanted: set[int] = set()
    too_long = False
    # A coded MPEG-4 picture has a header and a bit per macroblock; less is a repetition, or a place held for
    # a picture.
    smallest = min(32, 8 + stream.codec_context.width * stream.codec_context.height // (16 * 16 * 8))
    # AVI knows only when packets are decoded; without reordering they are shown then. With it, the copy won't
    # verify.
    by_decoding = stream.container.format.name == "avi" and codec in ("h264", "hevc")
    for packet in packets:
        if not packet.size:
            continue
        shown_at = packet.dts if by_decoding else packet.pts
        if shown_at is None:
            raise CannotCopy("a packet does not say when it is shown")
        if codec == "mpeg4" and packet.size < smallest:
            raise CannotCopy("a packet may show no picture of its own")
        if packet.has_sidedata("new_extradata"):
            raise CannotCopy(_CHANGES)
        data, inside = bytes(packet), span.start_pts <= shown_at < span.end_pts
        usable = packet.is_keyframe and shown_at <= span.start_pts and not wanted
        if usable and is_random_access_point(codec, memoryview(data), nal_length):
            starts.append(len(run))
            if len(starts) > keyframes_back + 1:
                del run[: starts[1]]
                starts = [start - starts[1] for start in starts[1:]]
        if inside and len(starts) <= keyframes_back:
            if too_long:
                raise CannotCopy(f"more than {most_before} frames before it are more than cut.max_lead_share")
            return []
        if inside and packet.is_discard:
            raise CannotCopy("the source's own edit list hides frames within it")
        if starts:
            begins = packet.is_keyframe and is_random_access_point(
                codec, memoryview(data), nal_length, closed=True
            )
            run.append(CodedPacket(shown_at, begins, data))
            if most_before is not None and len(run) > most_before and not wanted and not inside:
                too_long = True  # unless another keyframe follows
                run.clear()
                starts.clear()
        if inside:
            wanted.add(shown_at)
            if len(wanted) == num_frames:
                return run
        elif packet.dts is not None and packet.dts >= span.end_pts:
            break
    if not wanted:
        return []
    raise CannotCopy(f"{len(wanted)} packets are shown during its {num_frames} frames")


def _own_header(codec: str, extradata: bytes, packets: Sequence[CodedPacket]) -> bytes | None:
    """`Run.header`.

    A recording may change its parameter sets on the way. The file that is made has one header: of the run's
    own sets, if its first packet brings them and no other comes later.
    """
    declared, header = declared_sets(codec, extradata), None
    carried = [carried_sets(codec, packet.data, extradata) for packet in packets]
    if carried[0] - declared and not nal_length_bytes(codec, extradata):
        declared = carried[0]
        header = b"".join(
            b"\x00\x00\x00\x01" + unit for unit in sorted(declared, key=lambda unit: set_order(codec, unit))
        )
    if frozenset().union(*carried) - declared:
        raise CannotCopy(_CHANGES)
    return header


def _as_hvc1(codec: str, extradata: bytes, packets: tuple[CodedPacket, ...]) -> tuple[CodedPacket, ...]:
    """HEVC without the parameter sets that its header has as well: QuickTime and Safari play no file that
    repeats them. Of Annex B the muxer takes them out itself.
    """
    if codec != "hevc" or not nal_length_bytes(codec, extradata):
        return packets
    return tuple(replace(packet, data=without_sets(codec, packet.data, extradata)) for packet in packets)


def write_clip(
    path: File,
    out: Path,
    run: PacketRun,
    sound: "AudioTrack | None" = None,
    only_first_begins: bool = False,
    picture_format: "PictureFormat | None" = None,
) -> set[int]:
    """Write the run as an mp4 that shows its span, from time 0 on, and nothing else.

    Args:
        path: the source, which gives size, aspect, rotation, colours and parameter sets.
        sound: what is heard during the span.
        only_first_begins: mark no sample behind the first as one to begin at.
        picture_format: how the span's pictures are shown, if that is known: the source's header speaks of its
        first ones.

    Returns:
        PTS of the span's frames whose samples are marked so.

    Raises:
        CannotCopy: the muxer does not take the packets.
    """
    import av

    time_base = run.span.time_base
    scale = time_base.denominator
    while scale < _MIN_TICKS:
        scale *= 2
    per_tick = time_base.numerator * scale // time_base.denominator
    pts = [(coded.pts - run.span.start_pts) * per_tick for coded in run.packets]
    end = (run.span.end_pts - run.span.start_pts) * per_tick
    dts, begins = _decoding(
        pts, [coded.is_random_access_point and not only_first_begins for coded in run.packets]
    )
    # bitexact: neither the muxer's version nor a time is written. The index comes first: a player can begin
    # at once.
    options = {"fflags": "+bitexact", "movflags": "+faststart"}
    # unofficial: else the muxer leaves out what Dolby Vision's players need.
    options |= {"movie_timescale": str(scale), "video_track_timescale": str(scale), "strict": "unofficial"}
    edits = [Edit(-dts[0], end)]
    try:
        with (
            open_container(path) as source,
            av.open(str(out), "w", format="mp4", options=options) as container,
        ):
            track = container.add_stream_from_template(video_stream(source, run.stream), opaque=True)
            track.time_base = Fraction(1, scale)
            _describe(track, run, picture_format)
            if sound is not None:
                edits.append(sound.mux_into(container, scale))  # the muxer interleaves
            for index, coded in enumerate(run.packets):
                packet = av.Packet(coded.data)
                packet.stream, packet.time_base = track, track.time_base
                packet.pts, packet.dts = pts[index], dts[index]
                following = dts[index + 1] if index + 1 < len(dts) else max(end, max(pts) + 1)
                packet.duration = following - dts[index]
                packet.is_keyframe = begins[index]
                container.mux(packet)
        set_edits(out, edits)
    except (av.error.FFmpegError, MediaError, ValueError) as error:
        if is_host_error(error):
            raise PlaceError(error.errno, error.strerror) from error
        raise CannotCopy(f"mp4 does not take it: {error}") from error
    marks = {coded.pts for coded, marked in zip(run.packets, begins, strict=True) if marked}
    return marks & set(run.shown_pts)


def _describe(track: "VideoStream", run: PacketRun, shown: "PictureFormat | None") -> None:
    """Let the header speak of the run's own packets."""
    codec = track.codec_context
    if codec.name == "hevc":
        codec.codec_tag = "hvc1"
    if run.header is not None:
        codec.extradata = run.header
    if shown is None:
        return
    if (codec.width, codec.height) != (shown.coded_width, shown.coded_height):
        codec.width, codec.height = shown.coded_width, shown.coded_height
    if (codec.sample_aspect_ratio or 1) != shown.pixel_aspect:  # it was the container's word
        codec.sample_aspect_ratio = shown.pixel_aspect


def _decoding(pts: Sequence[int], begins: Sequence[bool]) -> tuple[list[int], list[bool]]:
    """When each packet is decoded, and which may be marked as one to begin at; `pts` in decode order,
    distinct.

    Times: each packet when the one so many before it is shown, as encoders do. Beginnings, beside the first
    packet: those where that is true for readers that count frames in the order of packets, and for those that
    look for a time among the times of decoding. So nothing behind them is shown before them, and from one to
    the next are more packets than pictures are delayed.
    """
    shown = sorted(pts)
    rank = {value: index for index, value in enumerate(shown)}
    if len(rank) < len(pts):
        raise CannotCopy("two packets are shown at once")
    delay = max(index - rank[value] for index, value in enumerate(pts))
    step = max(1, (shown[-1] - shown[0]) // max(1, len(shown) - 1))
    dts = [shown[0] - (delay - k) * step for k in range(delay)] + shown[: len(shown) - delay]
    earliest = list(accumulate(reversed(pts), min))[::-1]  # of what is decoded from here on
    marked, last = [True], 0
    for index, value in enumerate(pts[1:], start=1):
        good = begins[index] and rank[value] == index and earliest[index] == value and index - last > delay
        marked.append(good)
        last = index if good else last
    return dts, marked
