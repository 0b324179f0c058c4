"""What is too large is refused before a decoder allocates for it, whatever headers say; the video is no cover
picture."""

import struct

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import MediaError, Reason
from pipelines.media.config import FootageConfig
from pipelines.media.decode import iterate_pictures
from pipelines.media.probe import open_container, probe, video_stream
from pipelines.media.read_clock import read_clock
from tests.support.footage import pan, write
from tests.support.odd_sources import SOURCES

SMALL = {"height": 48, "width": 64}
SIDE = 2048


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("probe")


def why(path, **limits) -> MediaError:
    with pytest.raises(MediaError) as caught:
        probe(path, "v", FootageConfig(**limits))
    return caught.value


def test_a_file_cut_off_is_refused(folder):
    whole = write(folder / "whole.mp4", pan(1, 20, **SMALL)).read_bytes()
    for name, content in (("half.mp4", whole[: len(whole) // 2]), ("index.mp4", whole[:32])):
        path = folder / name
        path.write_bytes(content)
        assert why(path).reason == Reason.TRUNCATED, name
    assert why(folder / "nowhere.mp4").reason == Reason.MISSING


BEHIND = {
    "id3v1": b"TAG" + b"a title".ljust(30) + b"an artist".ljust(30) + b" " * 65,
    "apev2": b"APETAGEX"
    + struct.pack("<IIII8x", 2000, 60, 1, 0x80000000)
    + b"\x05\x00\x00\x00\x00\x00\x00\x00Title\x00a clip",
    "text": b"\r\n2026/11/28 10:00:01 N48.1 E11.5 52km/h\r\n" * 20,
    "zeros": bytes(500),
    "free": struct.pack(">I4s", 5000, b"free") + bytes(100),
    "unknown": struct.pack(">I4s", 1 << 30, b"cam1") + b"x" * 50,
}


@pytest.fixture(scope="module")
def whole(folder):
    return write(folder / "before.mp4", pan(1, 20, **SMALL)).read_bytes()


@pytest.mark.parametrize("junk", BEHIND.values(), ids=BEHIND)
def test_what_lies_behind_a_whole_file_is_none_of_it(folder, whole, junk):
    (folder / "behind.mp4").write_bytes(whole + junk)
    assert probe(folder / "behind.mp4", "v", FootageConfig()).width == 64
    assert len(read_clock(folder / "behind.mp4").pts) == 20


@given(junk=st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_no_junk_behind_a_whole_file_refuses_it(folder, whole, junk):
    (folder / "any.mp4").write_bytes(whole + junk)
    try:
        frames = len(read_clock(folder / "any.mp4").pts)
    except MediaError:
        media = (b"moov", b"moof", b"mdat")
        # it may be a box of pictures that is cut off
        frames = 20 if any(kind in junk for kind in media) else 0
    assert frames == 20


@pytest.mark.parametrize("kind", [b"mdat", b"moof"])
def test_pictures_that_are_cut_off_behind_a_whole_file_are_told_to_be_lost(folder, whole, kind):
    (folder / "more.mp4").write_bytes(whole + struct.pack(">I4s", 5000, kind) + bytes(100))
    clock = read_clock(folder / "more.mp4")
    assert len(clock.pts) == 20
    (gap,) = clock.gaps
    assert (gap.start_pts, gap.reason) == (clock.end_pts, Reason.TRUNCATED)
    assert "4900 bytes" in gap.message or "4892 bytes" in gap.message


def test_a_file_with_sound_only_has_no_video(folder):
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    assert why(folder / "sound.mp4").reason == Reason.NO_VIDEO


@pytest.mark.parametrize(
    ("key", "limit"),
    [
        ("max_pixels", 48 * 64 - 1),
        ("max_side", 63),
        ("max_duration_s", 0.7),
        ("max_frames", 19),
        ("max_fps", 24.0),
        ("max_bytes", 1000),
    ],
)
def test_each_limit_refuses_before_decoding_and_says_which_key(folder, key, limit, monkeypatch):
    path = write(folder / "limits.mp4", pan(1, 20, **SMALL))
    exact = {"max_pixels": 48 * 64, "max_side": 64, "max_duration_s": 0.8, "max_frames": 20, "max_fps": 25.0}
    assert probe(path, "v", FootageConfig(**exact)).duration_s == 0.8
    monkeypatch.setattr("pipelines.media.probe._first_frame", lambda *_: pytest.fail("something was decoded"))
    error = why(path, **{key: limit})
    assert error.reason == Reason.TOO_LARGE
    assert f"footage_options.{key}={limit}" in error.message


def test_a_file_of_many_streams_is_refused(folder):
    path = SOURCES["two_videos.mkv"](folder / "two.mkv")
    assert why(path, max_streams=1).reason == Reason.TOO_LARGE
    assert probe(path, "v", FootageConfig(max_streams=2)).width == 128, "the larger of two"


def _said_small(data: bytes) -> bytes:
    """An MP4's track header and sample entry say 64 × 64."""
    side, small = struct.pack(">HH", SIDE, SIDE), struct.pack(">HH", 64, 64)
    assert side in data
    return data.replace(side, small).replace(
        struct.pack(">II", SIDE << 16, SIDE << 16), struct.pack(">II", 64 << 16, 64 << 16)
    )


@pytest.fixture(scope="module")
def large(folder):
    """One large picture of nothing, in every container; the MP4 says that it is small."""
    frames = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    paths = {}
    for suffix, codec in (
        ("mp4", "libx264"),
        ("mkv", "libx264"),
        ("ts", "libx264"),
        ("flv", "libx264"),
        ("m2v", "mpeg2video"),
    ):
        options = {"preset": "ultrafast"} if codec == "libx264" else {}
        paths[suffix] = write(folder / f"large.{suffix}", frames, codec=codec, options=options)
    paths["mp4"].write_bytes(_said_small(paths["mp4"].read_bytes()))
    return paths


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv"])
def test_a_picture_larger_than_its_header_says_is_refused(large, suffix):
    for read in (lambda path, cfg: probe(path, "v", cfg), read_clock):
        with pytest.raises(MediaError) as caught:
            read(large[suffix], FootageConfig(max_pixels=64 * 64))
        assert caught.value.reason == Reason.TOO_LARGE
        assert f"{SIDE} × {SIDE}" in caught.value.message


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv", "m2v"])
def test_no_decoder_makes_a_picture_above_the_limit(large, suffix):
    def first(max_pixels):
        with open_container(large[suffix], max_pixels) as container:
            return next(container.decode(video_stream(container)))

    assert first(SIDE * SIDE + 64 * SIDE).width == SIDE
    with pytest.raises(MediaError) as caught:
        first(64 * 64)
    assert caught.value.reason == Reason.UNDECODABLE
    assert probe(large[suffix], "v", FootageConfig()).width == SIDE


def test_the_largest_limit_that_may_be_set_is_the_decoders_own():
    (most,) = (
        field.metadata["max"]
        for field in FootageConfig.__dataclass_fields__.values()
        if field.name == "max_pixels"
    )
    assert open_container.__wrapped__.__defaults__ == (most,)


def test_the_video_is_the_first_that_is_no_cover(folder):
    video = probe(SOURCES["cover.mp4"](folder / "cover.mp4"), "v", FootageConfig())
    assert (video.codec, video.width, video.height) == ("h264", 64, 48)


def test_pixels_need_not_be_square(folder):
    video = probe(SOURCES["anamorphic.mkv"](folder / "anamorphic.mkv"), "v", FootageConfig())
    assert (video.width, video.height) == (91, 48)  # 64 × 64/45


@pytest.mark.parametrize("name", ["begun_late.ts", "begun_late_mpeg2.ts", "begun_late_refresh.ts"])
def test_a_recording_may_begin_in_the_middle(folder, name):
    assert probe(SOURCES[name](folder / name), "v", FootageConfig()).width == 64


def two_streams(path, first: int, second: int, default: int | None = None):
    """A file with two video streams of 64 × 48 and 96 × 48, of so many frames each."""
    codec = "mpeg2video" if path.suffix == ".ts" else "libx264"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream(codec, rate=25) for _ in range(2)]
        for number, (stream, width) in enumerate(zip(streams, (64, 96), strict=True)):
            stream.width, stream.height, stream.pix_fmt = width, 48, "yuv420p"
            if default is not None:
                stream.disposition = Disposition.default if number == default else Disposition(0)
        for stream, frames in zip(streams, (first, second), strict=True):
            for k in range(frames):
                picture = av.VideoFrame.from_ndarray(
                    np.full((48, stream.width, 3), 10 * k, np.uint8), format="rgb24"
                )
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("first", "second", "width"), [(0, 20, 96), (20, 0, 64), (20, 1, 64), (20, 20, 96)])
def test_the_video_is_a_stream_that_has_pictures(folder, first, second, width):
    """A recorder lists every programme of a transponder and records one."""
    path = two_streams(folder / f"{first}-{second}.ts", first, second)
    assert probe(path, "v", FootageConfig()).width == width
    assert len(read_clock(path).pts) == 20


@pytest.mark.parametrize("default", [0, 1])
def test_of_several_films_the_video_is_the_one_that_the_file_calls_its_default(folder, default):
    path = two_streams(folder / f"default{default}.mkv", 20, 20, default)
    assert probe(path, "v", FootageConfig()).width == (64, 96)[default]


def test_a_file_with_two_films_says_so_and_either_can_be_asked_for(folder):
    path = two_streams(folder / "two_films.mkv", 20, 10, 0)
    video = probe(path, "v", FootageConfig())
    assert (video.width, video.others) == (
        64,
        "video stream 0 is taken; there is also 1 (96 × 48): footage_options.video_stream chooses",
    )
    for number, (width, frames) in enumerate([(64, 20), (96, 10)]):
        chosen = FootageConfig(video_stream=number)
        assert probe(path, "v", chosen).width == width
        clock = read_clock(path, chosen)
        pictures = list(iterate_pictures(path, int(clock.pts[0]), clock.end_pts, clock))
        assert [picture.width for picture in pictures] == [width] * frames
    error = why(path, video_stream=2)
    assert error.reason == Reason.NO_VIDEO
    assert error.message == "footage_options.video_stream=2: the file has 2 video streams, numbered from 0"


def test_covers_and_attachments_do_not_count_as_streams(folder):
    path = SOURCES["cover.mp4"](folder / "covered.mp4")
    assert probe(path, "v", FootageConfig(max_streams=1)).others is None
