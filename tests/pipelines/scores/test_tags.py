"""Tags name what real pictures show; embeddings of look-alikes are near, of different pictures far."""

from fractions import Fraction
from importlib.metadata import files

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest

from pipelines.measure.signals import SCHEMA
from pipelines.media.decode import frames_at
from pipelines.media.read_clock import read_clock
from pipelines.records import Span
from pipelines.scores.base import ClipMeasurements, NativeFrame, Rectangle
from pipelines.scores.config import ScoreConfig
from pipelines.scores.embedding import clip_embedding
from pipelines.scores.registry import METERS, SCORES, load_meters, score_clip
from pipelines.vision import imagenet
from tests.support.footage import real_clips

CFG = ScoreConfig()


def shown(rgb):
    """A native frame, as a decoder gives it."""
    return NativeFrame(av.VideoFrame.from_ndarray(rgb, format="rgb24"))


@pytest.fixture(scope="module")
def look():
    return load_meters(CFG, ("tags",), "fp32")["tags"]


def photograph(name):
    """A real photograph that comes with scikit-learn."""
    (entry,) = (entry for entry in files("scikit-learn") if entry.name == name)
    return cv2.cvtColor(cv2.imread(str(entry.locate())), cv2.COLOR_BGR2RGB)


def flat_signals():
    """Of a clip of four frames in which nothing happens."""
    numbers = [
        field for field in SCHEMA if pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
    ]
    flat = pa.table({field.name: pa.array(np.zeros(4), field.type, safe=False) for field in numbers})
    return flat.set_column(0, "pts", pa.array(range(4)))


def rows(look, *frames):
    looks = [{"pts": k} | look(shown(frame)) for k, frame in enumerate(frames)]
    return pa.Table.from_pylist(looks, schema=METERS["tags"].schema)


def tags_of(table):
    return SCORES["tags"].compute(
        ClipMeasurements({}, {"tags": table}, 64, 64, Rectangle(0, 0, 64, 64), 1.0, CFG, np.ones(1))
    )


def test_a_photograph_of_a_palace_is_tagged_as_one_and_the_same_each_time(look):
    table = rows(look, photograph("china.jpg"))
    assert tags_of(table)[0]["name"] == "palace"
    assert table.equals(rows(look, photograph("china.jpg")))


def test_a_clips_tags_are_the_mean_of_its_frames(look):
    palace, flower = photograph("china.jpg"), photograph("flower.jpg")
    one, other, both = (
        tags_of(rows(look, palace)),
        tags_of(rows(look, flower)),
        tags_of(rows(look, palace, flower)),
    )
    assert {tag["name"] for tag in both} >= {one[0]["name"], other[0]["name"]}
    (palace_in_both,) = (tag["probability"] for tag in both if tag["name"] == "palace")
    assert palace_in_both == pytest.approx(one[0]["probability"] / 2, abs=0.05)
    assert len(both) == 10
    assert [tag["probability"] for tag in both] == sorted((tag["probability"] for tag in both), reverse=True)


def test_what_fills_the_far_end_of_a_wide_frame_is_found_undistorted(look):
    flower = photograph("flower.jpg")
    side = flower.shape[0]
    wide = np.full((side, 4 * side, 3), 128, np.uint8)
    wide[:, -side:] = flower[:, (flower.shape[1] - side) // 2 :][:, :side]
    (alone, *_), (within, *_) = tags_of(rows(look, wide[:, -side:])), tags_of(rows(look, wide))
    assert within["name"] == alone["name"] == "honeycomb"
    assert within["probability"] == pytest.approx(alone["probability"], abs=1e-6)


def test_a_smaller_copy_is_near_and_another_scene_is_far(look):
    path = real_clips()["bigbuckbunny.mp4"]
    frame = frames_at(path, read_clock(path), [40])[0]
    copy = cv2.resize(frame, (640, 360), interpolation=cv2.INTER_AREA)
    original, copied, other = (
        clip_embedding(rows(look, f)).astype(float) for f in (frame, copy, photograph("china.jpg"))
    )
    assert original @ copied > 0.97
    assert original @ other < 0.7
    assert np.linalg.norm(original) == pytest.approx(1, abs=1e-3)


def test_a_clips_embedding_is_the_normalised_mean_and_needs_a_frame(look):
    table = rows(look, photograph("china.jpg"), photograph("flower.jpg"))
    frames = np.array(table["embedding"].to_pylist(), np.float32)
    mean = frames.mean(0) / np.linalg.norm(frames.mean(0))
    assert np.abs(clip_embedding(table).astype(np.float32) - mean).max() < 1e-3
    assert clip_embedding(table).dtype == np.float16
    assert clip_embedding(table.slice(0, 0)) is None


def test_switched_off_the_tags_are_null_and_say_so():
    scores = score_clip(flat_signals(), {}, 64, 64, Span(0, 25, Fraction(1, 25)), ScoreConfig(tags=False))
    assert scores["tags"] is None
    assert {"score": "tags", "why": "switched off; set scores.tags=true"} in scores["score_gaps"]


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 1e-4), ("bf16", 0.05)])
def test_neither_folding_the_normalisation_nor_shorter_numbers_change_what_shows(precision, apart):
    import torch

    picture = imagenet.squash_resize(photograph("flower.jpg"))
    unfused, unchanged = imagenet._fused, lambda net: net
    try:
        imagenet._fused = unchanged
        plain = imagenet.ImageNet("fp32")
    finally:
        imagenet._fused = unfused
    with torch.inference_mode():
        x_1CHW = (torch.from_numpy(picture).permute(2, 0, 1)[None].float() - 127) / 128
        expected = plain._net(x_1CHW).softmax(-1)[0].numpy()
    got = imagenet.ImageNet(precision).predict(picture).probabilities
    assert np.abs(got - expected).max() < apart


def test_the_names_of_the_classes_are_torchvisions():
    from torchvision.models import EfficientNet_B0_Weights

    assert imagenet.classes() == tuple(EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"])
