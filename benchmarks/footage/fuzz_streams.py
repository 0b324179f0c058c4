"""Files of several streams: an empty one before the film, covers and fonts, previews, two films, sound of
every kind.

In: a folder. Out: files, each with what it is. What `benchmarks/fuzz.py` breaks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

from benchmarks.footage.fuzz_changing import pixels_of
from tests.support.footage import pan

_RATE = 25
_FRAMES = 25
_SOUND_OF = {"mp4": "aac", "mov": "pcm_s16le", "mkv": "pcm_s16le", "ts": "mp2", "avi": "pcm_s16le"}
# What recorders and editors write: telephones, players, studios; and more channels than any room has.
_SOUNDS = (
    (8_000, "mono"), (11_025, "stereo"), (22_050, "mono"), (22_222, "mono"), (32_000, "stereo"),
    (37_800, "mono"), (48_000, "5.1"),
    (96_000, "stereo"), (192_000, "mono"), (44_100, "7.1"), (48_000, "hexadecagonal"),
)  # fmt: skip
_TAKEN = {  # rates and channels that encoders at hand take
    "aac": ((8_000, "mono"), (11_025, "stereo"), (22_050, "mono"), (32_000, "stereo"), (48_000, "5.1"),
        (96_000, "stereo")),
    "mp2": ((16_000, "mono"), (22_050, "stereo"), (32_000, "mono"), (44_100, "stereo"), (48_000, "mono")),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Film:
    """A video stream to be written: so many pictures of a size; how it is flagged."""

    frames: int = _FRAMES
    height: int = 48
    width: int = 64
    codec: str = "libx264"
    flags: Disposition | None = None


def of_several_streams(folder: Path) -> Iterator[tuple[Path, str]]:
    """Files, each with what it is: empty_first_stream, attachments, preview_beside, two_films or
    many_sounds."""
    film, larger, empty = _Film(), _Film(height=72, width=96), _Film(frames=0)
    for suffix, codec in (("ts", "mpeg2video"), ("mkv", "libx264"), ("mp4", "libx264"), ("avi", "mpeg4")):
        films = [_Film(0, codec=codec), _Film(height=72, width=96, codec=codec)]
        yield _write(folder / f"empty_first.{suffix}", films), "empty_first_stream"
    yield _write(folder / "empty_twice.ts", [empty, empty, film], sounds=1), "empty_first_stream"
    preview = _Film(height=16, width=16, codec="mjpeg")
    cover = _Film(1, 32, 32, "png", Disposition.attached_pic)
    yield _write(folder / "cover_first.mp4", [cover, film]), "attachments"
    yield _write(folder / "cover_last.mp4", [film, cover], sounds=1), "attachments"
    for number, files in enumerate(
        (("cover.png",), ("font.ttf",), ("font.ttf", "notes.txt", "cover.png", "cover_large.png"))
    ):
        yield _write(folder / f"attached_{number}.mkv", [film], sounds=number, files=files), "attachments"
    for suffix in ("mp4", "mkv"):
        yield _write(folder / f"preview_first.{suffix}", [preview, film]), "preview_beside"
        yield _write(folder / f"preview_last.{suffix}", [film, preview]), "preview_beside"
        thumbnails = _Film(5, 16, 16, "mjpeg", Disposition.attached_pic | Disposition.timed_thumbnails)
        yield _write(folder / f"thumbnails.{suffix}", [thumbnails, film]), "preview_beside"
        for number, chosen in enumerate((None, 0, 1)):
            flags = [None if chosen is None else Disposition(chosen == k) for k in range(2)]
            films = [_Film(flags=flags[0]), _Film(height=72, width=96, flags=flags[1])]
            yield _write(folder / f"two_films_{number}.{suffix}", films), "two_films"
    yield _write(folder / "two_films.ts", [film, larger]), "two_films"
    yield _write(folder / "two_films.avi", [_Film(codec="mpeg4"), _Film(12, 72, 96, "mpeg4")]), "two_films"
    for suffix in _SOUND_OF:
        yield (
            _write(
                folder / f"sounds.{suffix}", [_Film(codec="mpeg4") if suffix == "avi" else film], sounds=20
            ),
            "many_sounds",
        )


def _write(path: Path, films: Sequence[_Film], sounds: int = 0, files: Sequence[str] = ()) -> Path:
    """Streams in that order, their packets one stream after the other as the muxer lets them in; sound of at
    most so many kinds."""
    with av.open(str(path), "w") as muxer:
        pictures = [_add_film(muxer, film) for film in films]
        codec = _SOUND_OF[path.suffix[1:]]
        tones = [_add_sound(muxer, codec, *kind) for kind in _TAKEN.get(codec, _SOUNDS)[:sounds]]
        for name in files:
            is_picture = name.endswith("png")
            data = _png(200 if "large" in name else 32) if is_picture else bytes(range(256)) * 4
            muxer.add_attachment(name, "image/png" if is_picture else "font/ttf", data)
        muxer.start_encoding()
        for film, stream in zip(films, pictures, strict=True):
            for k, pixels in enumerate(pan(30, _FRAMES, film.height, film.width)[: film.frames]):
                picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                picture.pts, picture.time_base = k, Fraction(1, _RATE)
                muxer.mux(stream.encode(picture))
            if film.frames:
                muxer.mux(stream.encode(None))
        for stream in tones:
            _play(muxer, stream)
    return path


def _png(side: int) -> bytes:
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = (
        side,
        side,
        "rgb24",
        Fraction(1, _RATE),
    )
    return bytes(encoder.encode(av.VideoFrame.from_ndarray(pan(31, 1, side, side)[0], format="rgb24"))[0])


def _add_film(muxer: av.container.OutputContainer, film: _Film) -> av.VideoStream:
    stream = muxer.add_stream(film.codec, rate=_RATE)
    stream.height, stream.width, stream.pix_fmt = film.height, film.width, pixels_of(film.codec)
    stream.codec_context.thread_count = 1
    if film.codec == "libx264":
        stream.options = {"g": "12", "bf": "2", "preset": "veryfast"}
    if film.flags is not None:
        stream.disposition = film.flags
    return stream


def _add_sound(muxer: av.container.OutputContainer, codec: str, rate: int, layout: str) -> av.AudioStream:
    return muxer.add_stream(codec, rate=rate, layout=layout)


def _play(muxer: av.container.OutputContainer, stream: av.AudioStream) -> None:
    """A tenth of a second of a tone."""
    codec = stream.codec_context
    rate, layout, channels = codec.sample_rate, codec.layout, codec.layout.nb_channels
    tone = np.repeat((np.sin(np.arange(rate // 10) / 20) * 16_000).astype(np.int16), channels)[None]
    frame = av.AudioFrame.from_ndarray(tone, format="s16", layout=layout.name)
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    muxer.mux(stream.encode(frame))
    muxer.mux(stream.encode(None))
