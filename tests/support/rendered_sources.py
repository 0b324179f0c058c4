"""Sources of every codec and container at hand: one small file for each way of ordering, timing and
referring.

In: a folder. Out: files of 64 × 48 pixels, by the name of their renderer. `odd_sources` adds what no muxer
writes.
"""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from tests.support import edit_bytes
from tests.support.footage import film, pan, write

HEIGHT, WIDTH = 48, 64
Render = Callable[[Path], Path]
SOURCES: dict[str, Render] = {}


def source(name: str) -> Callable[[Render], Render]:
    """Register a renderer under the file name that it is given."""

    def register(render: Render) -> Render:
        SOURCES[name] = render
        return render

    return register


def shots(num_frames: int = 36, seed: int = 1) -> np.ndarray:
    """Two shots that move differently, so that no two frames are alike."""
    half = num_frames // 2
    return film(
        pan(seed, half, HEIGHT, WIDTH, right=1.3),
        pan(seed + 50, num_frames - half, HEIGHT, WIDTH, right=-1, down=0.7),
    )


X264 = {"bf": "3", "g": "12", "b-pyramid": "normal", "sc_threshold": "0"}


@source("plain.mp4")
def plain(path: Path) -> Path:
    return write(path, shots(), options=X264)


@source("variable.mp4")
def variable(path: Path) -> Path:
    pts = np.cumsum([40, 3, 3, 5, 40, 1, 1, 2, 77] * 4)
    return write(path, shots(), options=X264, pts=pts.tolist(), time_base=Fraction(1, 1000))


@source("variable.mkv")
def variable_mkv(path: Path) -> Path:
    pts = np.cumsum([40, 3, 3, 5, 40, 1, 1, 2, 77] * 4)
    return write(path, shots(), options=X264, pts=pts.tolist(), time_base=Fraction(1, 1000))


def late(path: Path, start_s: int) -> Path:
    return write(path, shots(), options=X264, pts=[start_s * 25 + k for k in range(36)])


@source("late.mp4")
def late_mp4(path: Path) -> Path:
    return late(path, 1000)


@source("late.mkv")
def late_mkv(path: Path) -> Path:
    return late(path, 1000)


@source("late.ts")
def late_ts(path: Path) -> Path:
    return late(path, 40_000)


@source("wrap.ts")
def wrap_ts(path: Path) -> Path:
    """The 33-bit clock of a transport stream starts again from zero in the middle."""
    first = 2**33 - 60_000
    return write(
        path, shots(), options=X264, pts=[first + 3600 * k for k in range(36)], time_base=Fraction(1, 90_000)
    )


@source("early.mp4")
def early_mp4(path: Path) -> Path:
    """Composition offsets below zero, no edit list: the first pictures are shown before time zero."""
    return write(
        path,
        shots(),
        options=X264,
        pts=[k - 5 for k in range(36)],
        container={"avoid_negative_ts": "disabled", "use_editlist": "0", "movflags": "negative_cts_offsets"},
    )


@source("anamorphic.mkv")
def anamorphic(path: Path) -> Path:
    return write(path, shots(), options=X264, pixel_aspect=Fraction(64, 45))


@source("opengop.mp4")
def open_gop(path: Path) -> Path:
    return write(path, shots(), options=X264 | {"x264-params": "open-gop=1:keyint=12:min-keyint=4"})


@source("opengop.ts")
def open_gop_ts(path: Path) -> Path:
    return open_gop(path)


@source("opengop_hevc.mp4")
def open_gop_hevc(path: Path) -> Path:
    params = "open-gop=1:keyint=12:min-keyint=12:bframes=3:log-level=none:pools=none:frame-threads=1"
    return write(path, shots(), codec="libx265", options={"x265-params": params})


@source("hevc.ts")
def hevc_ts(path: Path) -> Path:
    return open_gop_hevc(path)


@source("opengop_mpeg2.mpg")
def open_gop_mpeg2(path: Path) -> Path:
    return write(path, shots(), codec="mpeg2video", options={"bf": "2", "g": "9", "q": "3"})


@source("mpeg2.ts")
def mpeg2_ts(path: Path) -> Path:
    return open_gop_mpeg2(path)


@source("mpeg2.mxf")
def mpeg2_mxf(path: Path) -> Path:
    return open_gop_mpeg2(path)


@source("raw.m2v")
def raw_m2v(path: Path) -> Path:
    return open_gop_mpeg2(path)


@source("refresh.mp4")
def refresh(path: Path) -> Path:
    """Intra refresh: after the first frame there are recovery points, and never a whole picture again."""
    return write(path, shots(), options={"x264-params": "intra-refresh=1:keyint=10:bframes=0"})


@source("refresh.ts")
def refresh_ts(path: Path) -> Path:
    return refresh(path)


@source("refresh.mkv")
def refresh_mkv(path: Path) -> Path:
    return refresh(path)


@source("interlaced.ts")
def interlaced(path: Path) -> Path:
    return write(path, shots(), options=X264 | {"x264-params": "tff=1:keyint=12"})


@source("mpeg4_b.avi")
def mpeg4_b(path: Path) -> Path:
    return write(path, shots(), codec="mpeg4", options={"bf": "2", "g": "9"})


@source("mpeg4_b.mp4")
def mpeg4_b_mp4(path: Path) -> Path:
    return mpeg4_b(path)


@source("mpeg4_b.mkv")
def mpeg4_b_mkv(path: Path) -> Path:
    return mpeg4_b(path)


@source("h264_b.avi")
def h264_b_avi(path: Path) -> Path:
    return plain(path)


@source("h264.flv")
def h264_flv(path: Path) -> Path:
    return plain(path)


@source("cinepak.avi")
def cinepak(path: Path) -> Path:
    return write(path, shots(20), codec="cinepak", pixel_format="rgb24", options={"g": "6"})


@source("mjpeg.avi")
def mjpeg(path: Path) -> Path:
    return write(path, shots(), codec="mjpeg", pixel_format="yuvj420p")


@source("prores.mov")
def prores(path: Path) -> Path:
    return write(path, shots(), codec="prores_ks", pixel_format="yuv422p10le")


@source("ffv1.mkv")
def ffv1(path: Path) -> Path:
    return write(path, shots(), codec="ffv1", options={"g": "8"})


@source("wmv.asf")
def wmv(path: Path) -> Path:
    return write(path, shots(), codec="wmv2", options={"g": "9"})


@source("old.flv")
def old_flv(path: Path) -> Path:
    return write(path, shots(), codec="flv", options={"g": "9"})


@source("msmpeg4.avi")
def msmpeg4(path: Path) -> Path:
    return write(path, shots(), codec="msmpeg4", options={"g": "9"})


@source("all_keyframes_msmpeg4.avi")
def all_keyframes_msmpeg4(path: Path) -> Path:
    return edit_bytes.remux(msmpeg4(path), edit_bytes.flag_all)


@source("tape.dv")
def tape(path: Path) -> Path:
    return write(path, pan(1, 6, 576, 720), codec="dvvideo")


@source("altref.webm")
def vp9(path: Path) -> Path:
    """Pictures for reference only, each in one packet with the next one shown."""
    options = {
        "auto-alt-ref": "1",
        "lag-in-frames": "25",
        "g": "40",
        "deadline": "realtime",
        "cpu-used": "6",
        "b": "100k",
    }
    return write(path, pan(1, 60, HEIGHT, WIDTH, right=0.3), codec="libvpx-vp9", options=options)


@source("hidden.webm")
def hidden(path: Path) -> Path:
    """Pictures for reference only, in packets of their own."""
    return edit_bytes.remux(vp9(path), edit_bytes.split_superframes)


@source("shown_again.webm")
def shown_again(path: Path) -> Path:
    """Packets of one byte that show a picture decoded before."""
    return edit_bytes.remux(vp9(path), edit_bytes.show_again)


@source("vp8.webm")
def vp8(path: Path) -> Path:
    return write(
        path,
        shots(),
        codec="libvpx",
        options={"g": "12", "deadline": "realtime", "cpu-used": "4", "b": "200k"},
    )


@source("hidden_vp8.webm")
def hidden_vp8(path: Path) -> Path:
    return edit_bytes.remux(vp8(path), edit_bytes.hide_some_vp8)


@source("av1.mp4")
def av1(path: Path) -> Path:
    return write(
        path, shots(), codec="libsvtav1", options={"preset": "10", "svtav1-params": "keyint=17:lp=1"}
    )


@source("av1.mkv")
def av1_mkv(path: Path) -> Path:
    return av1(path)


@source("fragments.mp4")
def fragments(path: Path) -> Path:
    return write(path, shots(), options=X264, container={"movflags": "frag_keyframe+empty_moov"})


@source("one.mp4")
def one(path: Path) -> Path:
    return write(path, shots(4)[:1], options=X264)


@source("rotated.mp4")
def rotated(path: Path) -> Path:
    return write(path, shots(), options=X264, rotate_deg=90)
