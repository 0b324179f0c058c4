"""Sources that players show and tools stumble over: one small file for each oddity of time, order and
container.

In: a folder. Out: files of 64 × 48 pixels. What no muxer at hand writes is made by editing the bytes of a
sound file.
"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pipelines.errors import Reason
from tests.support import edit_bytes
from tests.support.footage import pan, write
from tests.support.rendered_sources import (
    HEIGHT,
    SOURCES,
    WIDTH,
    X264,
    Render,
    late,
    mjpeg,
    mpeg2_ts,
    mpeg4_b,
    msmpeg4,
    open_gop_hevc,
    open_gop_mpeg2,
    open_gop_ts,
    plain,
    refresh_ts,
    shots,
    source,
    vp8,
    vp9,
)

# Edit lists: (frames shown, first frame shown) of 36, with keyframes at 0, 12 and 24; -1 shows nothing.
EDITS = {
    "trimmed.mp4": [(26, 10)],
    "trimmed_to_keyframe.mp4": [(24, 12)],
    "delayed.mp4": [(7, -1), (36, 0)],
    "delayed_and_trimmed.mp4": [(7, -1), (20, 5)],
    "shortened.mp4": [(21, 0)],
    "cut_out.mp4": [(10, 0), (12, 20)],
    "cut_out_late.mp4": [(17, 3), (6, 30)],
    "swapped.mp4": [(9, 20), (9, 3)],
    "twice.mp4": [(10, 5), (10, 5)],
    "seamless.mp4": [(14, 0), (20, 14)],
}


def _edited(edits: list[tuple[int, int]]) -> Render:
    def render(path: Path) -> Path:
        write(path, shots(), options=X264, container={"movie_timescale": "12800"})
        path.write_bytes(edit_bytes.with_edit_list(path.read_bytes(), edits, frame=512))
        return path

    return render


SOURCES |= {name: _edited(edits) for name, edits in EDITS.items()}


@source("all_keyframes.mkv")
def all_keyframes(path: Path) -> Path:
    """Every frame is said to be a keyframe."""
    return edit_bytes.remux(plain(path), edit_bytes.flag_all)


@source("all_keyframes.avi")
def all_keyframes_avi(path: Path) -> Path:
    return edit_bytes.remux(mpeg4_b(path), edit_bytes.flag_all)


@source("all_keyframes.mp4")
def all_keyframes_mp4(path: Path) -> Path:
    return edit_bytes.remux(open_gop_hevc(path), edit_bytes.flag_all)


@source("no_sync_samples.mp4")
def no_sync_samples(path: Path) -> Path:
    path.write_bytes(edit_bytes.without_box(plain(path).read_bytes(), b"stss"))
    return path


@source("wrong_header.mp4")
def wrong_header_mp4(path: Path) -> Path:
    path.write_bytes(edit_bytes.with_durations(plain(path).read_bytes(), 77))
    return path


@source("wrong_header.avi")
def wrong_header_avi(path: Path) -> Path:
    """The header speaks of three frames."""
    path.write_bytes(edit_bytes.with_avi_length(mjpeg(path).read_bytes(), 3))
    return path


@source("no_index.mkv")
def no_index_mkv(path: Path) -> Path:
    return write(path, shots(), options=X264, container={"live": "1"})


@source("no_index.avi")
def no_index_avi(path: Path) -> Path:
    data = mpeg4_b(path).read_bytes()
    path.write_bytes(data[: data.index(b"idx1")])
    return path


@source("opendml.avi")
def opendml(path: Path) -> Path:
    path.write_bytes(edit_bytes.in_two_riffs(mpeg4_b(path).read_bytes()))
    return path


@source("opendml_mjpeg.avi")
def opendml_mjpeg(path: Path) -> Path:
    path.write_bytes(edit_bytes.in_two_riffs(mjpeg(path).read_bytes()))
    return path


@source("begun_late.ts")
def begun_late_ts(path: Path) -> Path:
    """Recording began in the middle of a group of pictures."""
    path.write_bytes(edit_bytes.without_first_packets(open_gop_ts(path).read_bytes(), 12))
    return path


@source("begun_late_mpeg2.ts")
def begun_late_mpeg2(path: Path) -> Path:
    path.write_bytes(edit_bytes.without_first_packets(mpeg2_ts(path).read_bytes(), 12))
    return path


@source("begun_late_refresh.ts")
def begun_late_refresh(path: Path) -> Path:
    path.write_bytes(edit_bytes.without_first_packets(refresh_ts(path).read_bytes(), 20))
    return path


@source("begun_late.webm")
def begun_late_webm(path: Path) -> Path:
    return edit_bytes.remux(vp8(path), edit_bytes.drop_first)


@source("begun_late_vp9.webm")
def begun_late_vp9(path: Path) -> Path:
    return edit_bytes.remux(vp9(path), edit_bytes.drop_first)


@source("begun_late.mkv")
def begun_late_mkv(path: Path) -> Path:
    return edit_bytes.remux(mpeg4_b(path), edit_bytes.drop_first)


@source("broken_end.mkv")
def broken_end(path: Path) -> Path:
    """The last packets are there, and what is in them is not."""
    return edit_bytes.remux(mpeg4_b(path), edit_bytes.damage_last)


@source("broken_end.ts")
def broken_end_ts(path: Path) -> Path:
    return edit_bytes.remux(plain(path), edit_bytes.damage_last)


@source("broken_off.ts")
def broken_off_ts(path: Path) -> Path:
    data = plain(path).read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    return path


@source("broken_off.mkv")
def broken_off_mkv(path: Path) -> Path:
    return broken_off_ts(path)


@source("broken_off.avi")
def broken_off_avi(path: Path) -> Path:
    data = mpeg4_b(path).read_bytes()
    media, end = data.index(b"movi"), data.index(b"idx1")
    path.write_bytes(data[: (media + end) // 2])
    return path


@source("broken_off.mpg")
def broken_off_mpg(path: Path) -> Path:
    data = open_gop_mpeg2(path).read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    return path


@source("few_times.ts")
def few_times(path: Path) -> Path:
    path.write_bytes(edit_bytes.without_most_times(mpeg2_ts(path).read_bytes()))
    return path


def few_times_h264(path: Path) -> Path:
    path.write_bytes(edit_bytes.without_most_times(plain(path).read_bytes()))
    return path


@source("packed.avi")
def packed(path: Path) -> Path:
    """DivX puts a B-picture into the packet of the picture before, and a placeholder where it belongs."""
    return edit_bytes.remux(mpeg4_b(path), edit_bytes.pack_b_pictures)


@source("repeated.avi")
def repeated(path: Path) -> Path:
    """Xvid's "not coded" pictures: the one before stays on the screen."""
    return edit_bytes.remux(
        write(path, shots(), codec="mpeg4", options={"g": "9"}), edit_bytes.drop_some_pictures
    )


@source("repeated.mp4")
def repeated_mp4(path: Path) -> Path:
    return repeated(path)


@source("same_time.mkv")
def same_time(path: Path) -> Path:
    """More frames than the container has milliseconds."""
    return write(path, shots(), options=X264, fps=2400)


@source("cover.mp4")
def cover(path: Path) -> Path:
    """A cover picture whose stream comes before the video's."""
    path.write_bytes(edit_bytes.with_cover_first(plain(path).read_bytes()))
    return path


@source("two_videos.mkv")
def two_videos(path: Path) -> Path:
    with av.open(str(path), "w") as muxer:
        streams = []
        for size in ((48, 64), (96, 128)):
            stream = muxer.add_stream("libx264", rate=25)
            stream.height, stream.width = size
            stream.pix_fmt, stream.options = "yuv420p", X264
            streams.append((stream, pan(size[0], 36, *size)))
        for k in range(36):
            for stream, frames in streams:
                picture = av.VideoFrame.from_ndarray(frames[k], format="rgb24")
                picture.pts, picture.time_base = k, Fraction(1, 25)
                muxer.mux(stream.encode(picture))
        for stream, _ in streams:
            muxer.mux(stream.encode(None))
    return path


@source("resized.ts")
def resized(path: Path) -> Path:
    """The size changes in the middle, as between programmes of a broadcast."""
    small = late(path, 4).read_bytes()
    write(path, pan(9, 24, 72, 96), options=X264, pts=[136 + k for k in range(24)])
    path.write_bytes(small + path.read_bytes())
    return path


@source("joined.ts")
def joined(path: Path) -> Path:
    """Sound sets in in the middle: a stream that was not there when the file was opened."""
    first = late(path, 4).read_bytes()
    with av.open(str(path), "w") as muxer:
        stream, sound = muxer.add_stream("libx264", rate=25), muxer.add_stream("aac", rate=8000)
        stream.height, stream.width, stream.pix_fmt, stream.options = HEIGHT, WIDTH, "yuv420p", X264
        for k, frame in enumerate(shots(24, seed=7)):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = 136 + k, Fraction(1, 25)
            muxer.mux(stream.encode(picture))
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 320), np.float32), format="fltp", layout="mono")
            tone.sample_rate, tone.pts, tone.time_base = 8000, (136 + k) * 320, Fraction(1, 8000)
            muxer.mux(sound.encode(tone))
        muxer.mux(stream.encode(None))
        muxer.mux(sound.encode(None))
    path.write_bytes(first + path.read_bytes())
    return path


@source("refresh_hevc.mp4")
def refresh_hevc(path: Path) -> Path:
    params = "intra-refresh=1:keyint=12:bframes=0:log-level=none:pools=none:frame-threads=1"
    return write(path, shots(), codec="libx265", options={"x265-params": params})


@source("mpeg1.mpg")
def mpeg1(path: Path) -> Path:
    return write(path, shots(), codec="mpeg1video", options={"bf": "2", "g": "9"})


@source("yuv444.mp4")
def yuv444(path: Path) -> Path:
    return write(path, shots(), options=X264, pixel_format="yuv444p")


@source("dense_keyframes.mp4")
def dense_keyframes(path: Path) -> Path:
    """Keyframes nearer to each other than decoding is ahead of showing."""
    return write(path, shots(), options={"bf": "3", "x264-params": "keyint=2:min-keyint=1:open-gop=1"})


@source("skipped.avi")
def skipped(path: Path) -> Path:
    """Chunks of no bytes: the frame before is shown again."""
    path.write_bytes(edit_bytes.with_empty_chunks(mjpeg(path).read_bytes()))
    return path


@source("skipped_msmpeg4.avi")
def skipped_msmpeg4(path: Path) -> Path:
    path.write_bytes(edit_bytes.with_empty_chunks(msmpeg4(path).read_bytes()))
    return path


def before_zero(path: Path) -> Path:
    """Matroska can't say when frames before time zero are shown."""
    return write(
        path,
        shots(),
        options=X264,
        pts=[k - 5 for k in range(36)],
        container={"avoid_negative_ts": "disabled"},
    )


def time_goes_back(path: Path) -> Path:
    """Two recordings, one behind the other; the clock starts again."""
    data = plain(path).read_bytes()
    path.write_bytes(data + data)
    return path


def broken_header(path: Path) -> Path:
    path.write_bytes(mpeg4_b(path).read_bytes()[:4000])
    return path


def no_frames(path: Path) -> Path:
    with av.open(str(path), "w") as muxer:
        stream = muxer.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        muxer.start_encoding()
    return path


# What can't be placed in time, or does not decode, is refused, and never half shown.
REFUSED = {
    "few_times_h264.ts": (few_times_h264, Reason.NO_TIMESTAMPS),
    "before_zero.mkv": (before_zero, Reason.NO_TIMESTAMPS),
    "time_goes_back.ts": (time_goes_back, Reason.NO_TIMESTAMPS),
    "broken_header.avi": (broken_header, Reason.UNDECODABLE),
    "no_frames.mkv": (no_frames, Reason.TRUNCATED),
    "no_frames.avi": (no_frames, Reason.NO_FRAMES),
    "no_frames.mp4": (no_frames, Reason.NO_VIDEO),
}
