"""Sound for tests: a chirp that tells the time, beside the pictures of a film, in any codec, rate and
container.

In: a film without sound. Out: another with it, of whose packets some may be altered or missing.
"""

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.support.codecs import tone
from tests.support.scheduling import restore_scheduling

SECONDS = 4


def samples(rate: int, channels: int, start_s: float = 0.0, end_s: float = SECONDS) -> np.ndarray:
    """A chirp that tells the time, alike from every speaker: float32 (N, C)."""
    at = np.arange(round(start_s * rate), round(end_s * rate)) / rate
    return np.repeat(tone(at).astype(np.float32)[:, None], channels, 1)


def add_sound(
    muxer: av.container.OutputContainer,
    track: av.AudioStream,
    pieces: Iterable[tuple[float, float]] = ((0.0, SECONDS),),
    alter: Callable[[int, av.Packet], av.Packet | None] = lambda number, packet: packet,
) -> None:
    """Sound from … to … s in each piece; `alter` may change each packet, or take it away."""
    codec = track.codec_context
    rate, layout, number = codec.sample_rate, codec.layout, 0
    for start_s, end_s in pieces:
        chirp = samples(rate, layout.nb_channels, start_s, end_s)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(chirp).reshape(1, -1), "flt", layout.name)
        frame.sample_rate = rate
        resampler, fifo = av.AudioResampler(codec.format, layout.name, rate), av.AudioFifo()
        for part in resampler.resample(frame):
            part.pts = None
            fifo.write(part)
        at = round(start_s * rate)
        while (part := fifo.read(codec.frame_size or 1000, partial=True)) is not None:
            part.pts, part.time_base = at, Fraction(1, rate)
            at += part.samples
            for packet in track.encode(part):
                if (altered := alter(number, packet)) is not None:
                    muxer.mux(altered)
                number += 1
    for packet in track.encode(None):
        muxer.mux(packet)


def film_with_sound(
    silent: Path,
    out: Path,
    codec: str,
    rate: int,
    layout: str,
    sample_format: str | None = None,
    **how,
) -> Path:
    """The pictures of a file without sound, and sound beside them; the container follows the suffix."""
    with restore_scheduling(), av.open(str(silent)) as source, av.open(str(out), "w") as muxer:
        template = source.streams.video[0]
        track = muxer.add_stream_from_template(template, opaque=True)
        sound = muxer.add_stream(codec, rate=rate, layout=layout)
        if sample_format:
            sound.codec_context.format = sample_format
        sound.options = {"strict": "experimental"} if codec == "vorbis" else {}
        sound.codec_context.thread_count, sound.codec_context.bit_rate = 1, 128_000
        for packet in source.demux(template):
            if packet.size:
                packet.stream = track
                muxer.mux(packet)
        add_sound(muxer, sound, **how)
    return out
