"""The sound files that `benchmarks/fuzz.py` breaks: small, one for each way of coding and containing that is
at hand.

In: a folder, and further files. Out: bases by name. Rendered pictures of 64 × 48 in every container and codec
of `tests/support/odd_sources.py`, the beginning of the real clips, and what is odd in itself: sound or covers
only, one frame, 10 bits, pictures of a pixel, dozens of streams; recordings of some seconds, footage that
changes on the way, films beside others.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import av
import numpy as np

from benchmarks.footage.fuzz_changing import changing
from benchmarks.footage.fuzz_streams import of_several_streams
from benchmarks.footage.mutants.kinds import Base
from pipelines.errors import MediaError
from tests.support import odd_sources  # it registers its sources
from tests.support.footage import pan, real_clips, write
from tests.support.rendered_sources import SOURCES, X264

_REAL_PACKETS = 24  # of a real clip
_TOO_LARGE = ("tape.dv",)  # its mutants would be most of the bytes
assert odd_sources


def bases(folder: Path, further: tuple[Path, ...] = ()) -> list[Base]:
    """Render all into an empty folder; files of others as they are.

    Raises:
        ValueError: a further file is in no container that curation takes.
    """
    found = [
        Base(name, render(folder / name).read_bytes())
        for name, render in SOURCES.items()
        if name not in _TOO_LARGE
    ]
    found += [
        Base(path.name, path.read_bytes(), what)
        for path, what in chain(_odd(folder), changing(folder), of_several_streams(folder))
    ]
    found += [Base(path.name, path.read_bytes()) for path in _real(folder)]
    found += [Base(path.name, path.read_bytes()) for path in further]
    for base in found:
        try:
            base.parts  # noqa: B018 - it tells now whether the container is one
        except MediaError as error:
            raise ValueError(f"footage: {base.name} is nothing to begin with: {error.message}") from error
    return found


def _real(folder: Path) -> Iterator[Path]:
    """The first second of each real clip, its packets as they are."""
    for name, clip in real_clips().items():
        path = folder / f"real_{name}"
        with av.open(str(clip)) as source, av.open(str(path), "w") as target:
            stream = source.streams.video[0]
            out = target.add_stream_from_template(stream)
            for number, packet in enumerate(source.demux(stream)):
                if number == _REAL_PACKETS:
                    break
                packet.stream = out
                target.mux(packet)
        yield path


def _odd(folder: Path) -> Iterator[tuple[Path, str]]:
    """Files, each with what is odd about it."""
    for suffix, codec in (
        ("mp4", "aac"),
        ("mkv", "libopus"),
        ("ogv", "libopus"),
        ("ts", "mp2"),
        ("avi", "pcm_s16le"),
    ):
        yield _sound(folder / f"sound.{suffix}", codec), "sound_only"
    yield _cover(folder / "cover_only.mp4"), "cover_only"
    for name, codec in (
        ("one.mp4", "libx264"),
        ("one.mkv", "libx265"),
        ("one.ts", "mpeg2video"),
        ("one.avi", "mjpeg"),
    ):
        pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        yield (
            write(
                folder / f"a_{name}",
                pan(3, 1, 48, 64),
                codec=codec,
                pixel_format=pixels,
                options=_quiet(codec),
            ),
            "one_frame",
        )
    for name, codec, pixels in (
        ("ten.mp4", "libx264", "yuv420p10le"),
        ("ten_hevc.mkv", "libx265", "yuv420p10le"),
        ("ten_422.mov", "prores_ks", "yuv422p10le"),
        ("ten_av1.mp4", "libsvtav1", "yuv420p10le"),
        ("ten_ffv1.mkv", "ffv1", "yuv420p10le"),
    ):
        yield (
            write(folder / name, pan(4, 12, 48, 64), codec=codec, pixel_format=pixels, options=_quiet(codec)),
            "ten_bit",
        )
    for width, height in ((1, 1), (3, 5), (17, 9), (2, 270), (271, 1), (63, 47)):
        frames = np.ascontiguousarray(pan(5, 8, max(height, 16), max(width, 16))[:, :height, :width])
        name = f"size_{width}x{height}"
        yield write(folder / f"{name}.mkv", frames, codec="ffv1", pixel_format="yuv444p"), "odd_size"
        yield write(folder / f"{name}.mp4", frames, options=X264, pixel_format="yuv444p"), "odd_size"
    for streams in (3, 65, 200):
        yield _many(folder / f"streams_{streams}.mp4", streams), "many_streams"
        yield _many(folder / f"streams_{streams}.mkv", streams), "many_streams"


def _quiet(codec: str) -> dict[str, str]:
    """Settings with which an encoder takes one thread and says nothing."""
    return {
        "libx265": {"x265-params": "log-level=none:pools=none:frame-threads=1"},
        "libsvtav1": {"preset": "10", "svtav1-params": "lp=1"},
    }.get(codec, {})


def _sound(path: Path, codec: str) -> Path:
    with av.open(str(path), "w") as muxer:
        stream = muxer.add_stream(codec, rate=48_000, layout="mono")
        fifo, resampler = av.AudioFifo(), av.AudioResampler(stream.codec_context.format, "mono", 48_000)
        tone = np.sin(np.arange(48_000) / 20).astype(np.float32)[None] / 2
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48_000, 0
        for part in resampler.resample(frame):
            fifo.write(part)
        while (part := fifo.read(stream.codec_context.frame_size or 960, partial=True)) is not None:
            muxer.mux(stream.encode(part))
        muxer.mux(stream.encode(None))
    return path


def _cover(path: Path) -> Path:
    """Sound with a picture to it."""
    with av.open(str(path), "w") as muxer:
        sound = muxer.add_stream("aac", rate=48_000, layout="mono")
        cover = muxer.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48_000, 0
        picture = av.VideoFrame.from_ndarray(pan(6, 1, 32, 32)[0], format="rgb24")
        picture.pts = 0
        muxer.mux(cover.encode(picture))
        muxer.mux(cover.encode(None))
        muxer.mux(sound.encode(frame))
        muxer.mux(sound.encode(None))
    return path


def _many(path: Path, streams: int) -> Path:
    """So many videos in one file."""
    frames = pan(7, 3, 32, 32)
    with av.open(str(path), "w") as muxer:
        added = [muxer.add_stream("mpeg4", rate=25) for _ in range(streams)]
        for stream in added:
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for k, pixels in enumerate(frames):
            for stream in added:
                picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                picture.pts = k
                muxer.mux(stream.encode(picture))
        for stream in added:
            muxer.mux(stream.encode(None))
    return path
