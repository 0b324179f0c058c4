"""However a video is divided into stretches, its signals are the same rows; TransNetV2's numbers are its
package's own."""

import itertools
from fractions import Fraction
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.grid import on_grid
from pipelines.measure.config import SignalConfig
from pipelines.measure.signals import MOTION_PER_S, context_frames, measure, signals_settings
from pipelines.media.decode import iterate_pictures
from pipelines.media.picture import picture_hash, upright
from pipelines.media.read_clock import read_clock
from pipelines.shots.config import ShotConfig
from pipelines.shots.find_shots import inference_plan
from pipelines.shots.observation import evidence_columns
from pipelines.shots.transnet import TransNet
from pipelines.storage.parquet import parquet_bytes
from tests.support.footage import pan, real_clips, write
from tests.support.odd_sources import SOURCES

CFG = SignalConfig()
DETECTORS = ("content", "transnet", "cascade")


@cache
def footage():
    path = real_clips()["bikes.mp4"]
    clock = read_clock(path)
    return clock, list(iterate_pictures(path, int(clock.pts[0]), clock.end_pts))


def measured(first, last, shots):
    clock, pictures = footage()
    context = context_frames(CFG, shots)
    begin = max(0, first - context)
    return measure(
        enumerate(pictures[begin : last + context], begin), clock, (first, last), CFG, shots, "fp32"
    )


@cache
def whole(detector):
    return measured(0, len(footage()[1]), ShotConfig(detector=detector))


@pytest.mark.parametrize("detector", DETECTORS)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_stretch_has_the_rows_of_the_whole(detector, data):
    total = len(footage()[1])
    first = data.draw(st.integers(0, total - 1))
    last = min(total, first + data.draw(st.sampled_from((1, 2, 7, 24, 60))))
    shots = ShotConfig(detector=detector)
    assert measured(first, last, shots).equals(whole(detector).slice(first, last - first))


def test_a_video_may_be_measured_in_stretches_of_any_length():
    bounds = (0, 1, 3, 40, 41, 137, 200, 249, 250)
    parts = [measured(a, b, ShotConfig()) for a, b in itertools.pairwise(bounds)]
    assert [row for part in parts for row in part.to_pylist()] == whole("cascade").to_pylist()


def test_pictures_may_change_their_size_in_the_middle(tmp_path):
    path = SOURCES["resized.ts"](tmp_path / "resized.ts")
    clock = read_clock(path)
    pictures = list(enumerate(iterate_pictures(path, int(clock.pts[0]), clock.end_pts)))
    assert len({picture.width for _, picture in pictures}) == 2
    rows = measure(pictures, clock, (0, len(pictures)), CFG, ShotConfig(), "fp32")
    context = context_frames(CFG, ShotConfig())
    for first, last in ((0, 30), (30, 40), (40, len(pictures))):
        part = measure(
            pictures[max(0, first - context) : last + context],
            clock,
            (first, last),
            CFG,
            ShotConfig(),
            "fp32",
        )
        assert part.equals(rows.slice(first, last - first))


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 271), (300, 1), (3, 5)])
def test_pictures_of_a_line_or_a_pixel_are_measured(tmp_path, size):
    frames = np.random.default_rng(1).integers(0, 255, (8, *size, 3), np.uint8)
    path = write(tmp_path / "tiny.mov", frames, codec="png", pixel_format="rgb24")
    clock = read_clock(path)
    pictures = enumerate(iterate_pictures(path, int(clock.pts[0]), clock.end_pts))
    assert len(measure(pictures, clock, (0, 8), CFG, ShotConfig(), "fp32")) == 8


def test_motion_is_measured_on_a_grid_in_time_whatever_the_frame_rate():
    clock, _ = footage()
    grid = on_grid(clock.pts, clock.time_base, Fraction(1, MOTION_PER_S))
    grid[0] = False  # nothing is before it
    for name in ("motion", "object_motion", "pan_x", "pan_y", "zoom", "roll"):
        assert (~np.isnan(whole("content")[name].to_numpy()) == grid).all()


def test_every_frame_has_the_hash_of_its_picture():
    _, pictures = footage()
    assert whole("content")["picture_hash"].to_pylist() == [picture_hash(picture) for picture in pictures]


def test_the_cascade_looks_only_near_what_evidence_cannot_explain():
    look = inference_plan(ShotConfig())
    a, b = (pan(seed, 300, 27, 48, right=0.05).astype(float) for seed in (1, 2))
    share = np.clip((np.arange(300) - 130) / 20, 0, 1)[:, None, None, None]  # a dissolve of frames 131 … 149
    tiny = ((1 - share) * a + share * b).astype(np.uint8)
    looked = ~np.isnan(evidence_columns(tiny, 0, (0, 300), (0, 300), look, "fp32")["transition"])
    assert looked[131:150].all()
    assert not looked[: 131 - 2 * look.cell].any()
    assert not looked[150 + 2 * look.cell :].any()
    still = evidence_columns(tiny[:130], 0, (0, 130), (0, 130), look, "fp32")["transition"]
    assert np.isnan(still).all()


def test_the_other_detectors_measure_what_they_need_and_no_more():
    assert whole("transnet")["transition"].null_count == 0
    assert whole("content")["transition"].null_count == len(whole("content"))


def test_signals_without_thumbnails_fit_into_a_hundred_and_twenty_bytes_a_frame():
    numbers = whole("cascade").drop_columns(["thumb"])
    assert len(parquet_bytes(numbers)) < 120 * len(numbers)


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("lost", [(0, 4), (30, 31), (60, 130), (100, 103), (245, 250)])
def test_lost_frames_have_no_rows_and_any_stretch_has_the_rows_of_the_whole(detector, lost):
    clock, pictures = footage()
    shots = ShotConfig(detector=detector)
    context, total = context_frames(CFG, shots), len(pictures)

    def rows(first, last):
        near = range(max(0, first - context), min(total, last + context))
        some = [(k, pictures[k]) for k in near if not lost[0] <= k < lost[1]]
        return measure(some, clock, (first, last), CFG, shots, "fp32")

    everything = rows(0, total)
    assert everything["pts"].to_pylist() == [
        int(clock.pts[k]) for k in range(total) if not lost[0] <= k < lost[1]
    ]
    bounds = (0, 29, 31, 64, 101, 131, 248, total)
    parts = [row for a, b in itertools.pairwise(bounds) for row in rows(a, b).to_pylist()]
    assert repr(parts) == repr(everything.to_pylist())


def test_what_lies_beyond_a_gap_is_no_neighbour():
    clock, pictures = footage()
    some = [(k, picture) for k, picture in enumerate(pictures) if not 50 <= k < 60]
    rows = measure(some, clock, (0, len(pictures)), CFG, ShotConfig(), "fp32").to_pylist()
    behind = rows[50]
    assert behind["pts"] == clock.pts[60]
    assert (behind["change"], behind["motion"], behind["delta_lum"]) == (None, None, 0)
    assert behind["alike_0"] == 1.0, "compared with itself, as the first frame of a video is"
    assert [row["change"] is None for row in rows[1:]].count(True) == 1


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.02)])
def test_the_network_gives_the_probabilities_of_its_package(dtype, tolerance):
    import torch

    from tests.support.transnet_package import network

    _, pictures = footage()
    frames = np.stack(
        [cv2.resize(upright(p), (48, 27), interpolation=cv2.INTER_AREA) for p in pictures[20:120]]
    )
    with torch.inference_mode():
        theirs = network().predict_raw(torch.from_numpy(frames[None]))[1][0, :, 0].numpy()
    ours = TransNet(getattr(torch, dtype))(frames)
    assert theirs.max() > 0.8
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


def test_signals_depend_on_where_the_network_looks_and_on_its_weights_but_on_no_threshold():
    def depends(precision="fp32", **changes):
        return signals_settings(CFG, ShotConfig(**{"detector": "cascade"} | changes), precision)

    assert depends(detector="content") == depends(detector="adaptive", content_threshold=1.0)
    assert depends(detector="content") != depends(detector="cascade") != depends(detector="transnet")
    assert depends(detector="cascade") == depends(detector="cascade", transition_threshold=0.5)
    assert depends("bf16") != depends("fp32"), "its probabilities are others in other numbers"
    assert depends("bf16", detector="content") == depends("fp32", detector="content")
