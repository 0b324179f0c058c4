"""Recordings of some seconds, and footage that changes its size or the shape of its pixels on the way: what
`benchmarks/fuzz.py` damages in the middle, joins and breaks.

In: a folder. Out: files, each with what it is. All have 25 frames per second.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.support.footage import film, pan, write
from tests.support.scheduling import restore_scheduling

_RATE = 25
_HEIGHT, _WIDTH = 48, 64
_X264 = {"g": "12", "bf": "2", "preset": "veryfast", "crf": "16"}
_OPTIONS = {
    "libx264": _X264,
    "libx265": {"x265-params": "log-level=none:pools=none:frame-threads=1:keyint=12:repeat-headers=1"},
    "libsvtav1": {"preset": "10", "svtav1-params": "lp=1:keyint=12"},
    "libvpx": {"g": "12", "deadline": "realtime", "cpu-used": "4", "b": "200k"},
    "libvpx-vp9": {"g": "12", "deadline": "realtime", "cpu-used": "6", "b": "200k"},
    "mpeg2video": {"g": "12", "bf": "2", "b": "200k"},
    "mpeg4": {"g": "12", "bf": "2", "b": "200k"},
    "wmv2": {"g": "12", "b": "200k"},
}
_RECORDINGS = (
    ("h264.mp4", "libx264"), ("hevc.mp4", "libx265"), ("mpeg4.mp4", "mpeg4"), ("prores.mov", "prores_ks"),
    ("h264.mkv", "libx264"),
    ("hevc.mkv", "libx265"), ("av1.mkv", "libsvtav1"), ("ffv1.mkv", "ffv1"), ("vp8.webm", "libvpx"),
    ("vp9.webm", "libvpx-vp9"),
    ("h264.ts", "libx264"), ("hevc.ts", "libx265"), ("mpeg2.ts", "mpeg2video"), ("mpeg2.mpg", "mpeg2video"),
    ("mpeg2.mxf", "mpeg2video"), ("mpeg4.avi", "mpeg4"), ("mjpeg.avi", "mjpeg"), ("h264.flv", "libx264"),
    ("wmv.asf", "wmv2"),
    ("vp8.ogv", "libvpx"),
)  # fmt: skip
_RESIZED = (
    ("h264.ts", "libx264"), ("h264.mkv", "libx264"), ("h264.mp4", "libx264"), ("h264.flv", "libx264"),
    ("hevc.ts", "libx265"),
    ("hevc.mkv", "libx265"), ("mpeg2.ts", "mpeg2video"), ("mpeg2.mpg", "mpeg2video"), ("mpeg4.avi", "mpeg4"),
    ("vp8.webm", "libvpx"),
    ("vp9.webm", "libvpx-vp9"), ("av1.mkv", "libsvtav1"), ("mjpeg.avi", "mjpeg"), ("mjpeg.mov", "mjpeg"),
    ("png.mov", "png"),
)  # fmt: skip
_RESHAPED = (
    ("h264.ts", "libx264"), ("h264.mkv", "libx264"), ("h264.mp4", "libx264"), ("hevc.ts", "libx265"),
    ("mpeg2.ts", "mpeg2video"),
    ("mpeg2.mpg", "mpeg2video"), ("mpeg4.avi", "mpeg4"), ("mpeg4.mkv", "mpeg4"),
)  # fmt: skip
Part = tuple[int, int, Fraction]
SQUARE = Fraction(1)
_PROGRAMMES: dict[str, tuple[str, Part, dict[str, str]]] = {
    "small": ("libx264", (48, 64, SQUARE), {}),
    "large": ("libx264", (72, 96, SQUARE), {}),
    "wide": ("libx264", (48, 64, Fraction(16, 11)), {}),
    "odd": ("libx264", (46, 62, SQUARE), {}),
    "fields": ("libx264", (48, 64, SQUARE), {"x264-params": "tff=1"}),
    "hevc": ("libx265", (48, 64, SQUARE), {}),
    "mpeg2": ("mpeg2video", (48, 64, Fraction(12, 11)), {}),
    "mpeg2_large": ("mpeg2video", (96, 128, Fraction(16, 11)), {}),
}


def changing(folder: Path) -> Iterator[tuple[Path, str]]:
    """Files, each with what it is: recording, recording_in_fragments, size_changes, shape_changes or
    programme."""
    shots = film(pan(11, 50, _HEIGHT, _WIDTH, right=1.3), pan(12, 50, _HEIGHT, _WIDTH, right=-1, down=0.7))
    for name, codec in _RECORDINGS:
        yield _recording(folder / f"recording_{name}", shots, codec), "recording"
    for name, flags in (("few.mp4", "frag_keyframe"), ("dash.mp4", "frag_every_frame+dash")):
        container = {"movflags": f"{flags}+empty_moov+default_base_moof"}
        yield (
            write(folder / f"fragments_{name}", shots, options=_X264, container=container),
            "recording_in_fragments",
        )
    # x265 writes beyond its memory below 48 rows
    sizes = ((48, 64, SQUARE), (72, 96, SQUARE), (52, 80, SQUARE))
    shapes = ((48, 64, SQUARE), (48, 64, Fraction(4, 3)), (48, 64, Fraction(16, 11)))
    for name, codec in _RESIZED:
        yield _changing(folder / f"resized_{name}", codec, sizes), "size_changes"
    # wide, too wide, and high
    for number, shape in enumerate((Fraction(700), Fraction(1000), Fraction(1, 70))):
        absurd = [(1200, 80, one) for one in (SQUARE, shape)]
        yield _changing(folder / f"absurd_{number}.ts", "libx264", absurd), "shape_changes"
    for name, codec in _RESHAPED:
        yield _changing(folder / f"reshaped_{name}", codec, shapes), "shape_changes"
    for name, (codec, part, options) in _PROGRAMMES.items():
        yield _changing(folder / f"programme_{name}.ts", codec, (part,), options), "programme"


def pixels_of(codec: str) -> str:
    """The sample format that an encoder is given."""
    return {"mjpeg": "yuvj420p", "png": "rgb24", "prores_ks": "yuv422p10le"}.get(codec, "yuv420p")


def _recording(path: Path, frames: np.ndarray, codec: str) -> Path:
    return write(path, frames, codec=codec, pixel_format=pixels_of(codec), options=_OPTIONS.get(codec, {}))


def _changing(path: Path, codec: str, parts: Sequence[Part], options: dict[str, str] | None = None) -> Path:
    """One stream of which each part, of a second, comes from an encoder of its own."""
    with restore_scheduling(), av.open(str(path), "w") as muxer:
        stream = muxer.add_stream(codec, rate=_RATE)
        for number, part in enumerate(parts):
            encoder = av.CodecContext.create(codec, "w") if number else stream.codec_context
            encoder.height, encoder.width, encoder.sample_aspect_ratio = part
            encoder.pix_fmt, encoder.thread_count = pixels_of(codec), 1
            encoder.time_base, encoder.framerate = Fraction(1, _RATE), Fraction(_RATE)
            encoder.options = _OPTIONS.get(codec, {}) | (options or {})
            for packet in _packets(encoder, pan(20 + number, _RATE, *part[:2]), number * _RATE):
                packet.stream, packet.time_base = stream, Fraction(1, _RATE)
                muxer.mux(packet)
    return path


def _packets(encoder: av.CodecContext, frames: np.ndarray, first: int) -> Iterator[av.Packet]:
    for k, pixels in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        picture.pts, picture.time_base = first + k, Fraction(1, _RATE)
        yield from encoder.encode(picture)
    yield from encoder.encode(None)
