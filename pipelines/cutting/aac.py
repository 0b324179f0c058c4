"""Frames of sound in any format, at any time → an AAC track that begins with the pictures, in an mp4 of its
own.

In: decoded frames, each with its time. Out: a file. Each frame is placed at its time: gaps become silence,
overlaps are written once. The sample rate is kept if AAC supports it, else raised to the next AAC rate, at
most 96 kHz; the channel layout is kept if AAC supports it, else mixed down to stereo.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.cutting.read_audio import AudioError
from pipelines.media.clock import pts_of

if TYPE_CHECKING:
    from av import AudioFrame, AudioLayout, Packet
    from av.audio.stream import AudioStream

RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
"""Samples per second that AAC has, and every player knows."""

# ISO/IEC 14496-3, 1.6.3.5: those with a number
_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1")
_SAME = {
    "5.0(side)": "5.0",
    "5.1(side)": "5.1",
}  # speakers beside the listener are those behind where there is one pair
_UNNAMED = "NONE"  # FFmpeg's name of a speaker of which it is only known that there is one
_BITS_PER_S = 192_000
_BITS_PER_S_OF_A_CHANNEL = 96_000
_MOST_BITS_PER_SAMPLE = 6  # of a channel: ISO/IEC 14496-3, 4.5.3.2
_JITTER_S = Fraction(1, 50)  # what containers' rounding makes of even times; what is more is a gap
_WARM_UP_S = Fraction(1, 10)  # heard before the first picture, for the resampler
_FRAME = 1024


def aac_rate(rate: int) -> int:
    """The rate that sound of a rate gets in AAC: its own, else the lowest that loses nothing of it, else,
    above 96 kHz, the highest that divides it, or 96 kHz.
    """
    dividing = [known for known in RATES if rate % known == 0] if rate > RATES[-1] else []
    return max(dividing, default=min((known for known in RATES if known >= rate), default=RATES[-1]))


def aac_layout(layout: "AudioLayout") -> str:
    """The AAC channel layout for an input layout, by FFmpeg's name."""
    if layout.nb_channels <= 2:
        return ("mono", "stereo")[layout.nb_channels - 1]
    if layout.channels[0].name == _UNNAMED:
        layout = _usual(layout.nb_channels) or layout
    name = _SAME.get(layout.name, layout.name)
    return name if name in _LAYOUTS else "stereo"


def _usual(channels: int) -> "AudioLayout | None":
    """The default layout of a number of channels."""
    import av

    try:
        return av.AudioLayout(f"{channels}c")
    except ValueError:
        return None


def write_aac(
    frames: Iterable[tuple["AudioFrame", Fraction | None]], length_s: Fraction, out: Path
) -> tuple[str, int] | None:
    """Write an mp4 with the sound of a span, from its beginning on.

    Args:
        frames: in order, with their times in seconds from the span's beginning; None where none is known.
        length_s: of the span.

    Returns:
        A description of the result, and the start of its first packet in samples relative to the span's start
        (negative because of encoder priming). None if the span is silent.

    Raises:
        SoundError: none of the frames says when it is heard.
        av.error.FFmpegError: the encoder or muxer does not take it.
    """
    import av
    from av.codec.context import Flags

    line = _Line(length_s)
    parts = line.laid(frames)
    first = next(parts, None)
    if first is None:
        return None
    with av.open(str(out), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        track = container.add_stream("aac", rate=line.rate, layout=line.layout)
        codec, channels = track.codec_context, first.layout.nb_channels
        wanted = max(_BITS_PER_S, _BITS_PER_S_OF_A_CHANNEL * channels)
        codec.bit_rate = min(wanted, _MOST_BITS_PER_SAMPLE * line.rate * channels)
        codec.time_base, codec.thread_count = Fraction(1, line.rate), 1
        codec.flags |= Flags.bitexact
        begins: int | None = None
        for packet in _encoded(chain([first], parts), track):
            begins = pts_of(packet) if begins is None else begins
            container.mux(packet)
    assert begins is not None, "what has parts has packets"
    return f"AAC at {line.rate} Hz, {line.layout}", begins


def _encoded(parts: Iterable["AudioFrame"], track: "AudioStream") -> Iterator["Packet"]:
    import av

    codec = track.codec_context
    planar, fifo, at = av.AudioResampler("fltp", codec.layout, codec.sample_rate), av.AudioFifo(), 0
    for part in chain(parts, [None]):
        if part is not None:
            fifo.write(part)
        while (block := fifo.read(_FRAME, partial=part is None)) is not None:
            (frame,) = planar.resample(block)
            frame.pts, frame.time_base = at, codec.time_base
            at += frame.samples
            yield from track.encode(frame)
    yield from track.encode(None)


class _Line:
    """Samples one after another from time 0 to the end of a span, in the rate and speakers that the first
    frame gives it."""

    def __init__(self, length_s: Fraction):
        self.rate, self.layout = 0, ""
        self._length_s = length_s
        self._at = 0  # samples laid

    def laid(self, frames: Iterable[tuple["AudioFrame", Fraction | None]]) -> Iterator["AudioFrame"]:
        """The samples, interleaved floats, to the last that is heard. See `write_aac`."""
        converter: _Converter | None = None
        due_s: Fraction | None = None
        begin, undated = 0, 0
        for frame, begin_s in frames:
            begin_s = due_s if begin_s is None else begin_s
            if begin_s is None:
                undated += 1
                continue
            lasts_s = Fraction(frame.samples, frame.sample_rate)
            if begin_s + lasts_s <= -_WARM_UP_S:
                due_s = begin_s + lasts_s
                continue
            if not self.rate:
                self.rate, self.layout = aac_rate(frame.sample_rate), aac_layout(frame.layout)
            apart = due_s is None or abs(begin_s - due_s) > _JITTER_S
            if converter is None or apart or not converter.takes(frame):
                if converter is not None:
                    yield from self._lay(converter.rest(), begin)
                converter = _Converter(frame, self.layout, self.rate)
                due_s, begin = begin_s, round(begin_s * self.rate)
            assert due_s is not None, "where a converter is, it is told when the next samples are due"
            samples = converter.convert(frame)
            yield from self._lay(samples, begin)
            begin, due_s = begin + len(samples), due_s + lasts_s
        if converter is not None:
            yield from self._lay(converter.rest(), begin)
        elif undated:
            raise AudioError("none of its packets says when it is heard")

    def _lay(self, samples: np.ndarray, begin: int) -> Iterator["AudioFrame"]:
        """Samples (N, C) from number `begin` on: silence before them where nothing is yet, nothing twice."""
        end = round(self._length_s * self.rate)
        skip = max(0, self._at - begin)
        samples, begin = samples[skip : max(skip, end - begin)], begin + skip
        while len(samples) and self._at < begin:
            yield self._frame(np.zeros((min(begin - self._at, self.rate), samples.shape[1]), np.float32))
        if len(samples):
            yield self._frame(samples)

    def _frame(self, samples: np.ndarray) -> "AudioFrame":
        import av

        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), "flt", self.layout)
        frame.sample_rate = self.rate
        self._at += len(samples)
        return frame


class _Converter:
    """Frames of one kind → interleaved floats (N, C) in another rate, for other speakers."""

    def __init__(self, first: "AudioFrame", layout: str, rate: int):
        import av

        self._kind, self._layout, self._rate = _kind(first), av.AudioLayout(layout), rate
        # Speakers that are mixed together are turned down, so that they don't clip.
        self._resampler = av.AudioResampler("flt", layout, rate, options={"rematrix_maxval": "1.0"})
        self._alike = False

    def takes(self, frame: "AudioFrame") -> bool:
        return _kind(frame) == self._kind

    def convert(self, frame: "AudioFrame") -> np.ndarray:
        import av

        frame.pts = None
        try:
            return self._samples(self._resampler.resample(frame))
        except av.error.FFmpegError:
            if self._alike:
                raise
        # Nobody knows where these speakers are: all are heard alike from each.
        self._alike, self._resampler = True, av.AudioResampler("flt", frame.layout, self._rate)
        return self._samples(self._resampler.resample(frame))

    def rest(self) -> np.ndarray:
        """What the resampler still holds."""
        return self._samples(self._resampler.resample(None))

    def _samples(self, parts: Sequence["AudioFrame | None"]) -> np.ndarray:
        channels = self._layout.nb_channels
        found = [part.to_ndarray().reshape(-1, part.layout.nb_channels) for part in parts if part is not None]
        samples = np.concatenate(
            [np.empty((0, self._kind[0] if self._alike else channels), np.float32), *found]
        )
        return np.repeat(samples.mean(1, keepdims=True), channels, axis=1) if self._alike else samples


def _kind(frame: "AudioFrame") -> tuple[int, str, int, str]:
    return frame.layout.nb_channels, frame.layout.name, frame.sample_rate, frame.format.name
