"""The audio of a span → an audio track that can be muxed with the clip's video, in sync.

In: a source and a span of its video. Out: the source's own packets where mp4 carries them, AAC where it
doesn't, in an mp4 of their own; or why there is no sound. Audio errors are detected here, before muxing: a
track is used only if it muxes and, if copied, if its audible part decodes at one sample rate. The packet
before the span is included but not played, because transform codecs overlap consecutive frames.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.cutting.aac import write_aac
from pipelines.cutting.read_audio import AudioError, audio_frames, audio_packets, audio_stream
from pipelines.errors import MediaError, PlaceError, is_host_error
from pipelines.media.clock import dts_of, duration_of, pts_of, time_base_of
from pipelines.media.mp4_boxes import Edit
from pipelines.media.probe import open_container
from pipelines.media.ranged import File
from pipelines.records import Span

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer, OutputContainer

VERSION = 1

KEPT = "kept"
_COPIED = frozenset(("aac", "mp3", "mp3float", "ac3", "eac3", "opus", "flac", "alac"))
_EXACT = {"fflags": "+bitexact"}
_UNTOLD_S = Fraction(1, 5)  # what codecs leave out at the beginning, and small gaps


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """A track of sound for a span of length_s seconds: an mp4 without pictures.

    Attributes:
        first: when its first packet is heard, in samples from the first picture.
    """

    file: Path
    first: int
    length_s: Fraction

    def mux_into(self, container: "OutputContainer", movie_scale: int) -> Edit:
        """Add the track and all of its packets, and say which edit begins it with the pictures.

        Args:
            movie_scale: ticks of a second in the result's duration.
        """
        with _opened(self.file) as own:
            template = own.streams.audio[0]
            track = container.add_stream_from_template(template, opaque=True)
            track.time_base = template.time_base
            shift: int | None = None
            end = 0
            for packet in own.demux(template):
                if not packet.size:
                    continue
                shift = self.first - pts_of(packet) if shift is None else shift
                packet.pts, packet.dts = pts_of(packet) + shift, dts_of(packet) + shift
                packet.stream, end = track, packet.pts + duration_of(packet)
                container.mux(packet)
            rate = 1 / time_base_of(template)
        shown_s = min(self.length_s, end / rate) - max(0, self.first) / rate
        return Edit(max(0, -self.first), int(shown_s * movie_scale))


def read_audio_track(path: File, span: Span, out: Path) -> tuple[AudioTrack | None, str | None]:
    """The sound of a span, if it has any that can be kept.

    Args:
        out: where the track goes.

    Returns:
        The track, and a description of how the source's audio was handled (kept, converted or dropped, with
        the reason). None if the span has no audio.
    """
    try:
        sound = _copied(path, span, out)
        return sound, None if sound is None else KEPT
    except (AudioError, MediaError) as error:
        why = str(error)
    try:
        return _converted(path, span, out, why)
    except (AudioError, MediaError) as error:
        again = str(error)
    return None, f"left out: {why}" + ("" if again == why else f"; to AAC: {again}")


def _copied(path: File, span: Span, out: Path) -> AudioTrack | None:
    """Raises SoundError: the packets make no track, and why."""
    import av

    with open_container(path) as source:
        stream = audio_stream(source)
        if stream is None:
            return None
        name, rate = stream.codec_context.name, stream.codec_context.sample_rate
    if name not in _COPIED:
        raise AudioError(f"mp4 does not carry {name}")
    if not rate:
        raise AudioError("its header tells no rate")
    heard = _overlapping(audio_packets(path, span), span)
    if not heard:
        return None
    with open_container(path) as source:
        try:
            with av.open(str(out), "w", format="mp4", options=_EXACT) as container:
                template = audio_stream(source)
                assert template is not None, "what is heard has a stream"
                track = container.add_stream_from_template(template, opaque=True)
                track.time_base = Fraction(1, rate)
                for one in heard:
                    packet = _packet(one, rate)
                    packet.stream = track
                    container.mux(packet)
        except (av.error.FFmpegError, ValueError) as error:
            if is_host_error(error):
                raise PlaceError(error.errno, error.strerror) from error
            raise AudioError(f"mp4 does not take its {name} ({_said(error)})") from error
    _check_copy(out, heard[-1].end_s - heard[0].start_s)
    return AudioTrack(out, round(heard[0].start_s * rate), _length_s(span))


def _converted(path: File, span: Span, out: Path, why: str) -> tuple[AudioTrack | None, str | None]:
    """Raises SoundError: nothing of it decodes, or says when it is heard; or AAC can't be made of it."""
    import av

    damage: list[str] = []
    try:
        made = write_aac(audio_frames(path, span, damage), _length_s(span), out)
    except AudioError as error:
        raise AudioError(f"{error}{_told(damage)}") from error
    except (av.error.FFmpegError, ValueError) as error:
        if is_host_error(error):
            raise PlaceError(error.errno, error.strerror) from error
        raise AudioError(f"it does not become AAC ({_said(error)})") from error
    if made is None and damage:
        raise AudioError(f"nothing of it decodes{_told(damage)}")
    if made is None:
        return None, None
    into, first = made
    return AudioTrack(out, first, _length_s(span)), f"converted: to {into}, as {why}{_told(damage)}"


def _told(damage: list[str]) -> str:
    return f"; {len(damage)} of its packets do not decode ({damage[0]})" if damage else ""


def _said(error: Exception) -> str:
    """What FFmpeg says, without the name of a file that is passing."""
    return str(getattr(error, "strerror", None) or error)


def _length_s(span: Span) -> Fraction:
    return (span.end_pts - span.start_pts) * span.time_base


@dataclass(frozen=True, slots=True)
class _Heard:
    """A coded packet of sound; seconds from the first picture."""

    start_s: Fraction
    end_s: Fraction
    data: bytes


def _overlapping(packets: Iterable[tuple["Packet", Fraction | None]], span: Span) -> list[_Heard]:
    """Those heard during the span, and one before.

    Raises:
        SoundError: a packet does not say when it is heard, nor does the one before say when it ends.
    """
    found: list[_Heard] = []
    for packet, start_s in packets:
        last = found[-1] if found else None
        if start_s is None and last is not None and last.start_s < last.end_s:
            start_s = last.end_s
        if start_s is None:
            raise AudioError("a packet of it does not say when it is heard")
        if last is not None and last.start_s == last.end_s:
            found[-1] = _Heard(last.start_s, start_s, last.data)
        end_s = start_s + (packet.duration or 0) * packet.time_base
        found = [*(found[-1:] if end_s <= 0 else found), _Heard(start_s, end_s, bytes(packet))]
    return found if found and found[-1].end_s > 0 else []


def _packet(heard: _Heard, rate: int) -> "Packet":
    import av

    packet = av.Packet(heard.data)
    packet.time_base = Fraction(1, rate)
    packet.pts = packet.dts = round(heard.start_s * rate)
    packet.duration = round(heard.end_s * rate) - packet.pts
    packet.is_keyframe = True
    return packet


def _check_copy(file: Path, lasts_s: Fraction) -> None:
    """Raises SoundError unless all of a track but its first packet, which is not heard, decodes at one rate,
    and lasts as long as its packets say.
    """
    import av

    decoded_s, kinds = Fraction(0), []
    with _opened(file) as own:
        if not own.streams.audio:
            raise AudioError("mp4 does not take its packets")
        for number, packet in enumerate(own.demux(audio=0)):
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                if number:
                    raise AudioError(f"a packet of it does not decode ({error.strerror})") from error
                continue
            for frame in frames:
                decoded_s += Fraction(frame.samples, frame.sample_rate)
                kind = f"{frame.sample_rate} Hz, {frame.layout.name}"
                kinds += [kind] if kind not in kinds else []
    if len(kinds) != 1:
        raise AudioError(
            f"it changes on the way, from {' to '.join(kinds)}" if kinds else "nothing of it decodes"
        )
    if abs(decoded_s - lasts_s) > _UNTOLD_S:
        raise AudioError(
            f"{float(decoded_s):.2f} s of it decode, while its packets last {float(lasts_s):.2f} s"
        )


def _opened(file: Path) -> "InputContainer":
    """A track of our own, with all of its packets."""
    import av

    return av.open(str(file), format="mp4", options={"ignore_editlist": "1"})
