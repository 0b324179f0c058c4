"""However a video is divided into stretches, its signals are the same rows; TransNetV2's numbers are its package's own."""

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.config import ShotConfig, SignalConfig
from pipelines.errors import MediaError, Reason
from pipelines.media.clock import read_clock
from pipelines.media.decode import iterate_pictures
from pipelines.media.picture import picture_hash
from pipelines.shot_detection.transnet import TransNet
from pipelines.signals import context_frames, measure, preload, signals_settings
from tests.footage import real_clips

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
    return measure(pictures[max(0, first - context) : last + context], clock, first, last, CFG, shots)


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


def test_every_frame_has_the_hash_of_its_picture():
    _, pictures = footage()
    assert whole("content")["picture_hash"].to_pylist() == [picture_hash(picture) for picture in pictures]


def test_the_cascade_looks_less_often_than_everywhere_but_sees_the_same_there():
    seen, everywhere = (whole(name)["transition"].to_numpy(zero_copy_only=False) for name in ("cascade", "transnet"))
    looked = ~np.isnan(seen)
    assert 0 < looked.sum() < len(seen)
    assert not np.isnan(everywhere).any()
    np.testing.assert_array_equal(seen[looked], everywhere[looked])
    assert whole("content")["transition"].null_count == len(seen)


@pytest.mark.parametrize("lost", [0, 30, 249])
def test_a_frame_that_the_index_lists_and_nobody_decoded_is_an_error(lost):
    clock, pictures = footage()
    some = [picture for k, picture in enumerate(pictures) if k != lost]
    with pytest.raises(MediaError) as raised:
        measure(some, clock, 0, len(pictures), CFG, ShotConfig(detector="content"))
    assert raised.value.reason == Reason.TRUNCATED


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.02)])
def test_the_network_gives_the_probabilities_of_its_package(dtype, tolerance):
    import torch

    from benchmarks.peers import network

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (3, 27, 48, 3), np.uint8)
    frames = np.repeat(noise, (40, 35, 25), axis=0)  # three stills: two cuts
    with torch.inference_mode():
        theirs = network().predict_raw(torch.from_numpy(frames[None]))[1][0, :, 0].numpy()
    ours = TransNet(getattr(torch, dtype))(frames)
    assert theirs.max() > 0.9
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


def test_signals_depend_on_where_the_network_looks_and_on_its_weights_but_on_no_threshold():
    def depends(**changes):
        return signals_settings(CFG, ShotConfig(**changes))

    assert depends(detector="content") == depends(detector="adaptive", content_threshold=1.0)
    assert depends(detector="content") != depends(detector="cascade") != depends(detector="transnet")
    assert depends(detector="cascade") == depends(detector="cascade", transition_threshold=0.5)
    assert preload(ShotConfig(detector="content")) is None
    preload(ShotConfig())()
