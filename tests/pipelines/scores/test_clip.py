"""What a configured CLIP says: one look per frame gives embedding, aesthetic and watermark; without one it is
null."""

import threading
from fractions import Fraction

import av
import numpy as np
import open_clip
import pyarrow as pa
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pipelines.measure.config import SignalConfig
from pipelines.measure.measure import Measurements, preload
from pipelines.measure.sandboxed import measure_unit
from pipelines.measure.signals import SCHEMA
from pipelines.media.config import FootageConfig
from pipelines.media.read_clock import read_clock
from pipelines.records import Span
from pipelines.sandbox import child
from pipelines.sandbox.answers import Limits
from pipelines.scores import clip_model
from pipelines.scores.aesthetic_head import load_head
from pipelines.scores.base import NativeFrame
from pipelines.scores.clip import (
    CLEAN_PROMPTS,
    METER,
    SCORES,
    WATERMARK_PROMPTS,
    check,
    watermark_probability,
)
from pipelines.scores.config import ScoreConfig
from pipelines.scores.embedding import clip_embedding
from pipelines.scores.registry import check as check_all
from pipelines.scores.registry import load_meters, missing, score_clip
from pipelines.shots.config import ShotConfig
from tests.support.footage import film, pan, texture, write
from tests.support.tiny_models import WIDTH, parents_threads, tiny_clip

LIMITS = Limits(60, 4 * 1024**3)


def shown(rgb):
    """A native frame, as a decoder gives it."""
    return NativeFrame(av.VideoFrame.from_ndarray(rgb, format="rgb24"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_clip(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """LAION's linear form."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("heads") / "linear.pth"
    torch.save(torch.nn.Linear(WIDTH, 1).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def cfg(folder, head):
    return ScoreConfig(clip_model=folder, clip_aesthetic=str(head))


@pytest.fixture(scope="module")
def look(cfg):
    return load_meters(cfg, ("clip",), "fp32")["clip"]


@pytest.fixture(scope="module")
def model(folder):
    return open_clip.create_model_from_pretrained(folder)


def direct(model, frame, texts):
    """Embeddings of a frame and of texts, by open_clip's own functions."""
    net, transform = model
    with torch.no_grad():
        picture = net.eval().encode_image(transform(Image.fromarray(frame))[None], normalize=True)[0]
        return picture, net.encode_text(open_clip.tokenize(texts, context_length=16), normalize=True)


def test_a_row_is_what_open_clip_and_the_head_say_of_the_frame(look, model, head):
    frame = texture(1, 90, 160)
    row = look(shown(frame))
    picture, prompts = direct(model, frame, [*WATERMARK_PROMPTS, *CLEAN_PROMPTS])
    linear = torch.load(head, weights_only=True)
    share = (
        (model[0].logit_scale.detach().exp() * prompts @ picture).softmax(0)[: len(WATERMARK_PROMPTS)].sum()
    )
    assert np.abs(row["embedding"].astype(np.float32) - picture.numpy()).max() < 1e-3
    assert row["embedding"].dtype == np.float16
    assert row["aesthetic"] == pytest.approx(
        float(linear["weight"][0] @ picture + linear["bias"][0]), abs=1e-5
    )
    assert row["watermark"] == pytest.approx(float(share), abs=1e-5)


def test_one_forward_pass_per_frame_serves_all_scores(look, monkeypatch):
    calls = []
    encode = open_clip.CLIP.encode_image
    monkeypatch.setattr(
        open_clip.CLIP, "encode_image", lambda *a, **k: calls.append(len(a[1])) or encode(*a, **k)
    )
    for seed in range(3):
        look(shown(texture(seed, 40, 64)))
    assert calls == [1, 1, 1]


def test_probabilities_of_prompts_with_and_without_a_watermark_are_one():
    rng = np.random.default_rng(2)
    picture, prompts = rng.normal(size=8), rng.normal(size=(len(WATERMARK_PROMPTS) + len(CLEAN_PROMPTS), 8))
    swapped = np.concatenate([prompts[len(WATERMARK_PROMPTS) :], prompts[: len(WATERMARK_PROMPTS)]])
    marked, clean = (watermark_probability(picture, p, 100.0) for p in (prompts, swapped))
    assert len(WATERMARK_PROMPTS) == len(CLEAN_PROMPTS)
    assert marked + clean == pytest.approx(1)
    towards = prompts[: len(WATERMARK_PROMPTS)].sum(0)
    assert watermark_probability(towards, prompts, 1e6) == 1.0


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    frames = film(pan(1, 60, 48, 64), pan(2, 60, 48, 64))
    return write(tmp_path_factory.mktemp("video") / "two.mp4", frames, fps=15)


def test_it_measures_in_the_child_as_it_does_here_and_loading_starts_no_thread(video, cfg, confined_without):
    confined_without("landlock", "namespaces")  # it has to look at /proc
    threads = child.call(parents_threads, limits=LIMITS)
    clock = read_clock(video, FootageConfig())
    shots, wanted = ShotConfig(detector="content"), ("clip", "tags")
    what = Measurements(SignalConfig(), shots, cfg, wanted, "fp32")
    args, load = (video, clock, (0, len(clock.pts)), what), preload(what)
    there = child.call(measure_unit, *args, limits=LIMITS, preload=load)
    assert there == child.call(measure_unit, *args, limits=LIMITS, preload=load)
    assert child.call(parents_threads, limits=LIMITS, preload=load) == threads
    here = measure_unit(*args)
    assert len(there["clip"]) == len(there["tags"]) == 4
    for name in wanted:
        assert there[name]["pts"].equals(here[name]["pts"])
        assert np.abs(clip_embedding(there[name]) - clip_embedding(here[name])).max() < 1e-3
    assert there["clip"]["watermark"].to_pylist() == pytest.approx(
        here["clip"]["watermark"].to_pylist(), abs=1e-5
    )


def score(cfg, native):
    numbers = [
        field for field in SCHEMA if pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
    ]
    signals = pa.table({field.name: pa.array(np.zeros(4), field.type, safe=False) for field in numbers})
    signals = signals.set_column(0, "pts", pa.array(range(4)))
    scores = score_clip(signals, native, 64, 48, Span(0, 4, Fraction(1)), cfg)
    return scores, {gap["score"]: gap["why"] for gap in scores["score_gaps"]}


def test_a_clips_scores_are_reductions_of_its_frames(look, cfg):
    rows = [{"pts": k} | look(shown(texture(k, 40, 64))) for k in range(3)]
    scores, gaps = score(cfg, {"clip": pa.Table.from_pylist(rows, schema=METER.schema)})
    assert scores["aesthetic"] == pytest.approx(np.mean([row["aesthetic"] for row in rows]), abs=1e-5)
    assert scores["watermark"] == pytest.approx(np.median([row["watermark"] for row in rows]), abs=1e-5)
    assert not {"aesthetic", "watermark", "text_match"} & set(gaps)
    measured_by = {row["source"]: row["model"] for row in scores["score_models"]}
    assert measured_by["clip"] == "open_clip tiny + linear.pth"
    assert measured_by["match"] == "open_clip tiny"
    assert "dover" not in measured_by


def test_without_a_clip_its_scores_are_null_and_say_which_keys_to_set():
    scores, gaps = score(ScoreConfig(), {})
    assert all(scores[name] is None for name in SCORES)
    assert (
        gaps["watermark"]
        == gaps["text_match"]
        == "needs a CLIP: set scores.clip_model and scores.clip_pretrained"
    )
    assert "scores.clip_model" in gaps["aesthetic"]
    assert "scores.clip_aesthetic" in gaps["aesthetic"]


def test_without_a_head_only_the_aesthetic_is_null(folder):
    cfg = ScoreConfig(clip_model=folder)
    rows = [{"pts": 0} | load_meters(cfg, ("clip",), "fp32")["clip"](shown(texture(3, 40, 64)))]
    scores, gaps = score(cfg, {"clip": pa.Table.from_pylist(rows, schema=METER.schema)})
    assert scores["aesthetic"] is None
    assert scores["watermark"] is not None
    assert (
        gaps["aesthetic"] == missing("aesthetic", cfg) == "needs an aesthetic head: set scores.clip_aesthetic"
    )
    assert missing("watermark", cfg) is None


def improved_predictor(width):
    """The layers of the improved aesthetic predictor, at their places among dropouts."""
    sizes = [width, 1024, 128, 64, 16, 1]
    places = (0, 2, 4, 6, 7)
    layers = {str(k): torch.nn.Linear(a, b) for k, a, b in zip(places, sizes, sizes[1:], strict=False)}
    return torch.nn.ModuleDict({"layers": torch.nn.ModuleDict(layers)}), list(layers.values())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_improved_predictor_is_its_layers_one_after_the_other(tmp_path, suffix):
    torch.manual_seed(3)
    module, layers = improved_predictor(WIDTH)
    path = tmp_path / f"mlp{suffix}"
    (torch.save if suffix == ".pth" else save_file)(module.state_dict(), path)
    x = torch.nn.functional.normalize(torch.randn(WIDTH), dim=0)
    expected = x
    for layer in layers:
        expected = layer(expected)
    assert load_head(path, WIDTH).score(x.numpy()) == pytest.approx(float(expected[0].detach()), abs=1e-5)


def test_layers_count_beyond_nine(tmp_path):
    layers = [torch.nn.Linear(4, 4) for _ in range(11)] + [torch.nn.Linear(4, 1)]
    path = tmp_path / "deep.safetensors"
    save_file(torch.nn.Sequential(*layers).state_dict(), path)
    x = torch.randn(4)
    expected = float(torch.nn.Sequential(*layers)(x).detach()[0])
    assert load_head(path, 4).score(x.numpy()) == pytest.approx(expected, abs=1e-5)


def test_a_head_for_another_clip_is_refused_before_anything_runs(folder, tmp_path):
    path = tmp_path / "wide.pth"
    torch.save(torch.nn.Linear(768, 1).state_dict(), path)
    with pytest.raises(ValueError, match=f"embeddings of 768, those of scores.clip_model have {WIDTH}"):
        check_all(ScoreConfig(clip_model=folder, clip_aesthetic=str(path)))


@pytest.mark.parametrize(
    ("state", "what"),
    [
        ({"weight": torch.ones(1, WIDTH), "running_mean": torch.ones(3)}, "running_mean"),
        ({"weight": torch.ones(2, WIDTH)}, "to one value"),
        ({"0.weight": torch.ones(8, WIDTH), "1.weight": torch.ones(1, 4)}, "one into the next"),
        ({"weight": torch.ones(1, WIDTH, 1, 1)}, "linear layers only"),
        ({}, "linear layers only"),
    ],
)
def test_what_is_no_chain_of_linear_layers_is_no_head(tmp_path, state, what):
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=what):
        load_head(tmp_path / "odd.pth", WIDTH)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            {"clip_model": "ViT-B-32"},
            "needs weights: set scores.clip_pretrained to a file or a tag .*laion2b_s34b_b79k",
        ),
        ({"clip_model": "ViT-B32", "clip_pretrained": "openai"}, "did you mean 'ViT-B-32'"),
        (
            {"clip_model": "ViT-B-32", "clip_pretrained": "laion2b_s34b_b79"},
            "did you mean 'laion2b_s34b_b79k'",
        ),
        ({"clip_model": "local-dir:/nowhere"}, "there is no folder /nowhere"),
        ({"clip_model": "hf-hub:a/b"}, "download it and set scores.clip_model=local-dir:"),
        ({"clip_pretrained": "openai"}, "set scores.clip_model"),
        ({"clip_aesthetic": "/nowhere.pth"}, "set scores.clip_model"),
    ],
)
def test_a_wrong_configuration_says_what_to_do(keys, says):
    with pytest.raises(ValueError, match=says):
        check_all(ScoreConfig(**keys))


def test_a_folder_without_weights_is_refused_and_random_ones_are_never_used(folder, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(ValueError, match=r"no open_clip_config\.json"):
        check(ScoreConfig(clip_model=f"local-dir:{bare}"))
    config = clip_model._folder(ScoreConfig(clip_model=folder)) / "open_clip_config.json"
    (bare / config.name).write_bytes(config.read_bytes())
    with pytest.raises(ValueError, match="no weights"):
        METER.load(ScoreConfig(clip_model=f"local-dir:{bare}"), "fp32")


def test_the_settings_are_the_weights_and_the_head_not_where_they_lie(cfg, folder, tmp_path):
    moved = tiny_clip(tmp_path / "elsewhere")
    other = tiny_clip(tmp_path / "other", seed=5)
    headless = [METER.settings(ScoreConfig(clip_model=name), "fp32") for name in (folder, moved, other)]
    assert headless[0] == headless[1] != headless[2]
    assert METER.settings(cfg, "fp32") != headless[0]
    tag = ScoreConfig(clip_model="ViT-B-32", clip_pretrained="openai")
    assert "openai" in str(METER.settings(tag, "fp32"))
    assert METER.model(tag) == "open_clip ViT-B-32/openai"


def test_weights_of_a_tag_are_downloaded_in_a_process_of_their_own(tmp_path, monkeypatch):
    def download(cfg):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        (tmp_path / "downloaded").write_text(cfg["hf_hub"])

    monkeypatch.setattr(open_clip, "download_pretrained", download)
    before = threading.active_count()
    clip_model.fetch(ScoreConfig(clip_model="ViT-B-32", clip_pretrained="laion2b_s34b_b79k"))
    assert (tmp_path / "downloaded").read_text().startswith("laion/")
    assert threading.active_count() == before
