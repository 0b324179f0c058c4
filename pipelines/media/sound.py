"""What is heard during a span → an audio track beside a clip's pictures, in sync with them.

In: a source and a span of its video. Out: its coded packets where mp4 carries their codec, AAC where it doesn't; and
the edit that begins the track exactly when the pictures begin. One packet before the span comes along unheard, since
transform codecs build each frame's beginning from the one before it.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.errors import MediaError, Reason
from pipelines.media.mp4_boxes import Edit
from pipelines.media.probe import open_container
from pipelines.media.ranged import File
from pipelines.records import Span

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer

_COPIED = frozenset(("aac", "mp3", "mp3float", "ac3", "eac3", "opus", "flac", "alac"))
_AAC_BITS_PER_S = 192_000
# How long before the span reading begins, for containers whose index leads behind it; None is the start of the file.
_BEFORE_S = (1, 12, None)


@dataclass(frozen=True, slots=True)
class Heard:
    """A coded packet of sound; seconds from the first picture."""

    start_s: Fraction
    end_s: Fraction
    data: bytes


@dataclass(frozen=True, slots=True)
class Sound:
    """The sound of a span of length_s seconds, in order; `packets` overlap it, but for the first."""

    path: File
    packets: tuple[Heard, ...]
    length_s: Fraction
    copied: bool

    def mux_into(self, container: "OutputContainer", movie_scale: int) -> Edit:
        """Add the track and all of its packets, and say which edit begins it with the pictures.

        Args:
            movie_scale: ticks of a second in the result's duration.
        """
        with open_container(self.path) as source:
            template = _stream(source)
            assert template is not None
            rate = template.codec_context.sample_rate
            if self.copied:
                track = container.add_stream_from_template(template, opaque=True)
                packets = [_packet(heard, rate) for heard in self.packets]
            else:
                track = container.add_stream("aac", rate=rate, layout=_layout(template))
                packets = self._encode(template, track)
            track.time_base = Fraction(1, rate)
            first, last = packets[0], packets[-1]
            for packet in packets:
                packet.stream = track
                container.mux(packet)
        begin, end = max(0, first.pts), last.pts + last.duration
        shown_s = min(self.length_s, Fraction(end, rate)) - Fraction(begin, rate)
        return Edit(max(0, -first.pts), int(shown_s * movie_scale))

    def _encode(self, template: "AudioStream", track: "AudioStream") -> list["Packet"]:
        import av
        from av.codec.context import Flags

        codec, rate = track.codec_context, track.codec_context.sample_rate
        codec.bit_rate, codec.time_base, codec.thread_count = _AAC_BITS_PER_S, Fraction(1, rate), 1
        codec.flags |= Flags.bitexact
        resampler, fifo = av.AudioResampler("fltp", codec.layout, rate), av.AudioFifo()
        decoded = [f for heard in self.packets for f in template.codec_context.decode(_packet(heard, rate))]
        for frame in [*decoded, *template.codec_context.decode(None)]:
            for part in resampler.resample(frame):
                part.pts = None
                fifo.write(part)
        at = round(self.packets[0].start_s * rate)
        if at < 0:  # the packet before the span
            fifo.read(-at)
        at, end, packets = max(0, at), round(self.length_s * rate), []
        while at < end and (frame := fifo.read(min(codec.frame_size or 1024, end - at), partial=True)) is not None:
            frame.pts, frame.time_base = at, Fraction(1, rate)
            at += frame.samples
            packets += track.encode(frame)
        return packets + track.encode(None)


def _stream(container: "InputContainer") -> "AudioStream | None":
    """The first audio stream of which anything is known: some are declared and never come."""
    return next((s for s in container.streams.audio if s.codec_context and s.codec_context.sample_rate), None)


def _layout(stream: "AudioStream") -> str:
    """Speakers by name; plain PCM only counts them."""
    layout = stream.codec_context.layout
    return {1: "mono", 2: "stereo"}.get(layout.nb_channels, layout.name)


def _packet(heard: Heard, rate: int) -> "Packet":
    import av

    packet = av.Packet(heard.data)
    packet.time_base = Fraction(1, rate)
    packet.pts = packet.dts = round(heard.start_s * rate)
    packet.duration = round(heard.end_s * rate) - packet.pts
    packet.is_keyframe = True
    return packet


def read_sound(path: File, span: Span) -> Sound | None:
    """The packets heard during a span; None if the source is silent there.

    Raises:
        MediaError: a packet does not say when it is heard.
    """
    start_s, end_s = span.start_pts * span.time_base, span.end_pts * span.time_base
    for before_s in _BEFORE_S:
        with open_container(path) as container:
            stream = _stream(container)
            if stream is None:
                return None
            if before_s is not None:
                target = int((start_s - before_s) / stream.time_base)
                if target <= (stream.start_time or 0):
                    continue
                container.seek(target, stream=stream)
            packets = _overlapping(container, stream, start_s, end_s, whole=before_s is None)
            copied = stream.codec_context.name in _COPIED
        if packets is not None:
            break
    return Sound(path, packets, end_s - start_s, copied) if packets else None


def _overlapping(
    container: "InputContainer", stream: "AudioStream", start_s: Fraction, end_s: Fraction, whole: bool
) -> tuple[Heard, ...] | None:
    """Packets heard during the span and one before, from where the container stands; None if that is too late."""
    found: list[Heard] = []
    for packet in container.demux(stream):
        if not packet.size:
            continue
        if packet.pts is None:
            raise MediaError(Reason.NO_TIMESTAMPS, "a packet of its sound does not say when it is heard")
        begin_s = packet.pts * stream.time_base - start_s
        if begin_s >= end_s - start_s:
            break
        if found and not found[-1].end_s:
            found[-1] = Heard(found[-1].start_s, begin_s, found[-1].data)
        if not found and begin_s > 0 and not whole:
            return None
        heard = Heard(begin_s, begin_s + (packet.duration or 0) * stream.time_base, bytes(packet))
        found = [*found[-1:], heard] if heard.end_s <= 0 else [*found, heard]
    return tuple(found) if found and found[-1].end_s > 0 else ()
