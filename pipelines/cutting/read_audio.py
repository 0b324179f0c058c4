"""A source and a span of its video → the audio of that span: coded packets or decoded frames, each with its
time.

In: a source, a span. Out: packets or frames in order, with seconds from the first picture. The container is
read from as near before the span as its index leads.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from pipelines.media.clock import pts_of, time_base_of
from pipelines.media.probe import demux, open_container
from pipelines.media.ranged import File
from pipelines.records import Span

if TYPE_CHECKING:
    from av import AudioFrame, Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer

# How long before the span reading begins, for containers whose index leads behind it; None is the start of
# the file.
_BEFORE_S = (1, 12, None)
_EARLY_S = Fraction(1)  # before the span, decoding begins: longer than any codec looks back


class AudioError(Exception):
    """Audio that can't be read or copied, with the reason."""


def audio_stream(container: "InputContainer") -> "AudioStream | None":
    """The first audio stream with a known sample rate (a declared stream may never carry packets), else the
    first stream with a decoder. None without audio.

    Raises:
        SoundError: no decoder knows it.
    """
    streams = container.streams.audio
    decodable = [stream for stream in streams if stream.codec_context is not None and stream.time_base]
    if streams and not decodable:
        raise AudioError("no decoder knows the codec of its sound")
    return min(decodable, key=lambda stream: not stream.codec_context.sample_rate, default=None)


def audio_packets(path: File, span: Span) -> Iterator[tuple["Packet", Fraction | None]]:
    """Packets of sound from about a second before the span to its end, and when each begins; None where none
    says.

    Raises:
        SoundError: no decoder knows the sound.
        MediaError: the source can't be demuxed.
    """
    import av

    start_s, end_s = span.start_pts * span.time_base, span.end_pts * span.time_base
    for before_s in _BEFORE_S:
        with open_container(path) as container:
            stream = audio_stream(container)
            if stream is None:
                return
            if before_s is not None:
                target = int((start_s - before_s) / time_base_of(stream))
                if target <= (stream.start_time or 0):
                    continue
                try:
                    container.seek(target, stream=stream)
                except av.error.FFmpegError:
                    continue  # no index to seek by
            in_time = before_s is None
            for packet in demux(container, stream):
                # Where nothing says when, FFmpeg counts from 0 after a seek.
                counted = before_s is not None and packet.pts == 0 < (stream.start_time or 0)
                untold = packet.pts is None or counted
                begin_s = None if untold else pts_of(packet) * time_base_of(stream) - start_s
                if not packet.size or (begin_s is None and not in_time):
                    continue
                in_time = in_time or (begin_s is not None and begin_s <= 0)
                if not in_time:
                    break
                if begin_s is not None and begin_s >= end_s - start_s:
                    return
                yield packet, begin_s
            if in_time:
                return


def audio_frames(
    path: File, span: Span, decode_errors: list[str]
) -> Iterator[tuple["AudioFrame", Fraction | None]]:
    """Decoded sound from shortly before the span to its end, and when each frame begins; None where none
    says.

    Args:
        decode_errors: is given what the decoder says of each packet that does not decode.

    Raises:
        SoundError, MediaError: see `audio_packets`.
    """
    import av

    start_s = span.start_pts * span.time_base
    decoder: Any = None

    def decoded(packet: "Packet | None") -> Iterator[tuple["AudioFrame", Fraction | None]]:
        try:
            frames = decoder.decode(packet)
        except av.error.FFmpegError as error:
            decode_errors.append(str(error.strerror))
            return
        for frame in frames:
            yield frame, None if frame.pts is None else frame.pts * frame.time_base - start_s

    for packet, begin_s in audio_packets(path, span):
        decoder = packet.stream.codec_context
        if begin_s is None or begin_s >= -_EARLY_S:
            yield from decoded(packet)
    if decoder is not None:  # the container is closed by now, but not the decoder
        yield from decoded(None)
