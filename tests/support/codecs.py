"""Real pictures in every codec and layout that footage comes in: what the cut and the readers are tested on.

In: a name of `LAYOUTS`. Out: a small file of 72 frames (3 s) with real motion and grain, tiny so that tests
stay quick; and what it shows, as curation measures it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np

from pipelines.cutting.config import CutConfig, ReencodeConfig
from pipelines.cutting.cut import Cut, cut
from pipelines.cutting.reencode import ClipContent
from pipelines.media.decode import iterate_pictures
from pipelines.media.picture import frames_hash, picture_hash, upright
from pipelines.media.read_clock import read_clock
from pipelines.records import Span
from tests.support.footage import real_clips
from tests.support.scheduling import restore_scheduling

HEIGHT, WIDTH, NUM_FRAMES, FPS = 96, 128, 72, 24
SOUND_RATE = 48_000
_X264 = "keyint={}:min-keyint=4:scenecut=0:bframes=3:b-pyramid=normal:open-gop={}"
_X265 = "log-level=none:pools=1:frame-threads=1:keyint=16:min-keyint=16:scenecut=0:bframes=3:{}"


@dataclass(frozen=True, slots=True)
class Layout:
    """How a source is written."""

    suffix: str
    codec: str
    options: dict[str, str] = field(default_factory=dict)
    container: dict[str, str] = field(default_factory=dict)
    pixel_format: str = "yuv420p"
    rotate_deg: int = 0
    """Counterclockwise, in the header."""
    aspect: Fraction = Fraction(1)
    """Width ÷ height of a pixel."""
    pts: Callable[[int], int] = int
    """Of each frame, in `time_base`."""
    time_base: Fraction = Fraction(1, FPS)
    sound: str | None = None
    """Its codec."""


def _x264(keyint: int = 16, open_gop: int = 0) -> dict[str, str]:
    return {"crf": "20", "preset": "veryfast", "x264-params": _X264.format(keyint, open_gop)}


def _x265(more: str = "open-gop=1") -> dict[str, str]:
    return {"crf": "24", "preset": "ultrafast", "x265-params": _X265.format(more)}


def _uneven(k: int) -> int:
    """A variable frame rate: 40 ms, then 10 ms, then 120 ms a frame, in milliseconds."""
    return 40 * k if k < 24 else 720 + 10 * k if k < 48 else 1200 + 120 * (k - 48)


_VP9 = {"crf": "34", "b": "0", "deadline": "realtime", "cpu-used": "5", "g": "16", "lag-in-frames": "12"}
_MPEG4 = {"qscale": "3", "g": "12", "bf": "2", "flags": "+qscale", "global_quality": "354"}

LAYOUTS = {
    "h264": Layout("mp4", "libx264", _x264()),
    "h264_open_gop": Layout("mp4", "libx264", _x264(open_gop=1)),
    "h264_long_gop": Layout("mp4", "libx264", _x264(keyint=60)),
    "h264_ts": Layout("ts", "libx264", _x264()),
    "h264_open_gop_ts": Layout("ts", "libx264", _x264(open_gop=1), {"output_ts_offset": "5000"}),
    "h264_mkv": Layout("mkv", "libx264", _x264(), time_base=Fraction(1001, 24000)),
    "h264_avi": Layout("avi", "libx264", _x264() | {"bf": "0", "x264-params": "keyint=16:bframes=0"}),
    "h264_vfr": Layout("mp4", "libx264", _x264(), pts=_uneven, time_base=Fraction(1, 1000)),
    "h264_rotated": Layout("mov", "libx264", _x264(), rotate_deg=-90, sound="aac"),
    "h264_anamorphic": Layout("mp4", "libx264", _x264(), aspect=Fraction(4, 3)),
    "h264_late_mkv": Layout("mkv", "libx264", _x264(), pts=lambda k: k + 1000, sound="libopus"),
    "h264_pcm_mkv": Layout("mkv", "libx264", _x264(), sound="pcm_s16le"),
    "hevc_open_gop": Layout("mp4", "libx265", _x265()),
    "hevc_closed_ts": Layout("ts", "libx265", _x265("open-gop=0")),
    "hevc_radl": Layout("mkv", "libx265", _x265("open-gop=0:radl=2")),
    "hevc_10bit": Layout("mp4", "libx265", _x265(), pixel_format="yuv420p10le"),
    "vp9": Layout("webm", "libvpx-vp9", _VP9 | {"auto-alt-ref": "1"}),
    "vp9_mp4": Layout("mp4", "libvpx-vp9", _VP9 | {"auto-alt-ref": "1", "g": "32"}),
    "av1": Layout("mp4", "libsvtav1", {"crf": "40", "preset": "10", "g": "16", "svtav1-params": "lp=1"}),
    "av1_mkv": Layout("mkv", "libsvtav1", {"crf": "40", "preset": "10", "g": "16", "svtav1-params": "lp=1"}),
    "mpeg4": Layout("mp4", "mpeg4", _MPEG4),
    "mpeg4_avi": Layout("avi", "mpeg4", _MPEG4),
    "mpeg2_ts": Layout("ts", "mpeg2video", _MPEG4, sound="ac3"),
}


def render(name: str, folder: Path, num_frames: int = NUM_FRAMES) -> Path:
    """Write the source with that layout into a folder."""
    layout = LAYOUTS[name]
    path = folder / f"{name}.{layout.suffix}"
    with restore_scheduling(), av.open(str(path), "w", options=layout.container) as container:
        stream = container.add_stream(layout.codec, rate=FPS)
        codec = stream.codec_context
        codec.width, codec.height, codec.pix_fmt = WIDTH, HEIGHT, layout.pixel_format
        codec.time_base, codec.thread_count = layout.time_base, 1
        codec.sample_aspect_ratio = layout.aspect
        stream.options = dict(layout.options)
        if layout.rotate_deg:
            stream.set_display_rotation(layout.rotate_deg)
        if layout.sound:
            sound = container.add_stream(layout.sound, rate=SOUND_RATE, layout="mono")
        for k, pixels in enumerate(pictures()[:num_frames]):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = layout.pts(k), layout.time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if layout.sound:
            _add_sound(container, sound, float(layout.pts(0) * layout.time_base), num_frames / FPS)
    return path


@dataclass(frozen=True)
class Source:
    """A source and everything that it shows."""

    path: Path
    time_base: Fraction
    bounds: list[int]
    """PTS of each frame, and where the last one ends."""
    hashes: list[int]
    pixels: np.ndarray

    def span(self, first: int, last: int) -> Span:
        return Span(self.bounds[first], self.bounds[last], self.time_base)

    def cut(self, out: Path, first: int, last: int, **settings) -> Cut:
        """Frames first … last−1 as a clip."""
        name = frames_hash(self.hashes[first:last])
        cfg = CutConfig(**{"max_lead_share": 1.0} | settings)
        return cut(
            self.path, out, ClipContent(self.span(first, last), last - first, name), cfg, ReencodeConfig()
        )

    def times(self, first: int, last: int) -> list[Fraction]:
        return [(pts - self.bounds[first]) * self.time_base for pts in self.bounds[first:last]]


def measure_source(path: Path) -> Source:
    """Decode a source once, as curation does.

    Raises:
        MediaError: it is none that curation takes.
    """
    clock = read_clock(path)
    pictures = list(iterate_pictures(path, int(clock.pts[0]), clock.end_pts, clock))
    bounds = [*(picture.pts for picture in pictures), clock.end_pts]
    one_size = len({(picture.width, picture.height) for picture in pictures}) == 1
    pixels = np.stack([upright(picture) for picture in pictures]) if one_size else np.empty(0)
    return Source(path, clock.time_base, bounds, [picture_hash(p) for p in pictures], pixels)


@cache
def pictures() -> np.ndarray:
    """uint8 (72, 96, 128, 3): someone talks in a moving car, with the camera's own grain."""
    with av.open(str(real_clips()["carphone_pristine.mp4"])) as container:
        shown = [
            frame.reformat(WIDTH, HEIGHT, "rgb24").to_ndarray()
            for _, frame in zip(range(NUM_FRAMES), container.decode(video=0), strict=False)
        ]
    return np.stack(shown)


def tone(times_s: np.ndarray) -> np.ndarray:
    """A chirp whose pitch tells the time: its sample at each second since the start, −0.5 … 0.5."""
    return 0.5 * np.sin(2 * np.pi * (300 + 200 * times_s) * times_s)


def _add_sound(
    container: av.container.OutputContainer, stream: av.AudioStream, start_s: float, length_s: float
) -> None:
    samples = tone(np.arange(round(length_s * SOUND_RATE)) / SOUND_RATE).astype(np.float32)
    size = 960
    resampler = av.AudioResampler(stream.codec_context.format, "mono", SOUND_RATE, frame_size=None)
    fifo = av.AudioFifo()
    frame_size = stream.codec_context.frame_size or size
    for at in range(0, len(samples), size):
        frame = av.AudioFrame.from_ndarray(samples[None, at : at + size], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SOUND_RATE, at
        for part in resampler.resample(frame):
            part.pts = None
            fifo.write(part)
    at = round(start_s * SOUND_RATE)
    while (frame := fifo.read(frame_size, partial=True)) is not None:
        frame.pts, frame.time_base = at, Fraction(1, SOUND_RATE)
        at += frame.samples
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
