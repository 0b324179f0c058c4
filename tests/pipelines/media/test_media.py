"""Frames and their times are those of the file, through either decoder; what is no video says why."""

import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from pipelines.cutting.config import ReencodeConfig
from pipelines.cutting.encode import Timing, encode_mp4
from pipelines.media import decode
from pipelines.media.decode import decode_frames, frames_at, iterate_frames, iterate_pictures, probe_clip
from pipelines.media.picture import upright
from pipelines.media.read_clock import read_clock
from tests.support.footage import film, pan, real_clips, write

SMALL = {"height": 48, "width": 64}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("media")


@pytest.mark.parametrize("rotate_deg", [0, 90, 180, -90])
def test_size_and_frames_are_as_displayed(folder, rotate_deg):
    frames = pan(2, 6, **SMALL)
    path = write(folder / f"turned{rotate_deg}.mp4", frames, rotate_deg=rotate_deg)
    turned = np.rot90(frames, k=rotate_deg // 90, axes=(1, 2))
    clock = read_clock(path)
    shown = np.stack([frame for _, frame in iterate_frames(path, clock)])
    assert shown.shape == turned.shape
    by_pyav = np.stack([upright(picture) for picture in iterate_pictures(path, 0, clock.end_pts)])
    np.testing.assert_array_equal(shown, by_pyav)
    assert np.abs(shown.astype(int) - turned).mean() < 6


def test_times_of_a_variable_frame_rate_are_the_files_own(folder):
    pts = [0, 1, 2, 5, 6, 20, 21, 22, 40, 41]
    frames = pan(3, len(pts), **SMALL)
    path = write(folder / "vfr.mp4", frames, pts=pts, time_base=Fraction(1, 100))
    clock = read_clock(path)
    seconds = [Fraction(int(p)) * clock.time_base for p in clock.pts]
    assert seconds == [Fraction(p, 100) for p in pts]
    shown = decode_frames(path, [0.0, 0.049, 0.05, 0.19, 0.2, 0.39, 0.41, 9.0], **SMALL)
    wanted = frames_at(path, clock, [0, 2, 3, 4, 5, 7, 9, 9])
    np.testing.assert_array_equal(shown, wanted)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("b.mpg", "mpeg2video"), ("c.avi", "mpeg4"), ("d.webm", "libvpx")],
)
def test_any_part_of_a_video_is_the_same_as_in_the_whole(folder, name, codec):
    path = write(folder / name, film(pan(4, 20, **SMALL), pan(5, 20, **SMALL, right=-1)), codec=codec)
    clock = read_clock(path)
    whole = dict(iterate_frames(path, clock))
    assert list(whole) == clock.pts.tolist()
    reference = {
        picture.pts: upright(picture) for picture in iterate_pictures(path, int(clock.pts[0]), clock.end_pts)
    }
    assert list(reference) == list(whole)
    for pts, frame in whole.items():
        np.testing.assert_array_equal(frame, reference[pts])
    start, end = int(clock.pts[17]), int(clock.pts[29])
    part = list(iterate_frames(path, clock, start, end))
    assert [pts for pts, _ in part] == clock.pts[17:29].tolist()
    for pts, frame in part:
        np.testing.assert_array_equal(frame, whole[pts])
    for index, frame in zip((3, 21, 38), frames_at(path, clock, [3, 21, 38]), strict=True):
        np.testing.assert_array_equal(frame, whole[int(clock.pts[index])])


def test_bytes_of_a_clip_decode_like_its_file(folder):
    path = write(folder / "bytes.mp4", pan(6, 12, **SMALL), fps=Fraction(30000, 1001))
    times_s = [k / 12 for k in range(5)]
    np.testing.assert_array_equal(
        decode_frames(path, times_s, 32, 32), decode_frames(path.read_bytes(), times_s, 32, 32)
    )
    num_frames, duration_s, width, height, fps = probe_clip(path.read_bytes())
    assert (num_frames, width, height) == (12, 64, 48)
    assert duration_s == pytest.approx(12 * 1001 / 30000)
    assert fps == pytest.approx(30000 / 1001)


def test_resizing_covers_and_crops_the_centre():
    frame = np.zeros((40, 100, 3), np.uint8)
    frame[:, 30:70] = 255
    np.testing.assert_array_equal(decode.cover(frame, 20, 20), np.full((20, 20, 3), 255, np.uint8))


def encode(path, start: int, end: int, preset: str = "veryfast") -> bytes:
    clock = read_clock(path)
    bounds = [*clock.pts.tolist(), clock.end_pts]
    pictures = iterate_pictures(path, bounds[start], bounds[end])
    return encode_mp4(
        pictures, Timing(bounds[end], clock.time_base, clock.rate), ReencodeConfig(preset=preset)
    )[0]


@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 63)])
def test_an_encoded_clip_has_the_frames_times_and_size_of_its_span(folder, height, width):
    frames = pan(7, 30, height, width)
    pts = [k if k < 20 else 2 * k - 19 for k in range(30)]  # the rate halves in the middle
    path = write(
        folder / f"span{height}.mp4", frames, pts=pts, time_base=Fraction(1, 30), pixel_format="yuv444p"
    )
    source = read_clock(path)
    mp4 = encode(path, 10, 28)
    clip = read_clock(mp4)
    moved = (source.pts[10:28] - source.pts[10]) * source.time_base
    assert (clip.pts * clip.time_base).tolist() == moved.tolist()
    assert clip.duration_s == pytest.approx(float((source.pts[28] - source.pts[10]) * source.time_base))
    got = np.stack([frame for _, frame in iterate_frames(mp4, clip)])
    wanted = frames_at(path, source, list(range(10, 28)))
    assert got.shape == wanted.shape
    error = np.mean((got.astype(float) - wanted) ** 2)
    assert 10 * np.log10(255**2 / error) > 38


def test_a_clip_has_the_same_bytes_whatever_lay_in_memory_before():
    """x264's AVX-512 code reads memory that it never wrote; ours must not depend on it."""
    script = (
        "import hashlib, sys; from tests.pipelines.media.test_media import encode; from "
        "tests.support.footage import "
        "real_clips;print(hashlib.sha256(encode(real_clips()['carphone_pristine.mp4'], 0, 40, "
        "'medium')).hexdigest())"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "MALLOC_PERTURB_": fill, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for fill in ("1", "85", "170")
    }
    assert len(hashes) == 1


def test_real_clips_decode_alike_in_both_decoders():
    for path in real_clips().values():
        clock = read_clock(path)
        indices = [0, 7, len(clock.pts) // 2, len(clock.pts) - 1]
        picked = frames_at(path, clock, indices)
        for index, frame in zip(indices, picked, strict=True):
            pts = int(clock.pts[index])
            (picture,) = iterate_pictures(path, pts, pts + 1)
            np.testing.assert_array_equal(frame, upright(picture))
