"""Text embeddings are made once per text encoder, whatever becomes of the VAE; nothing takes them away; what
is cut is said."""

import json
import os

import numpy as np
import pytest
import torch

from jobs.encoding.texts import ROOT, TextStore
from jobs.generation.pipeline import Pipeline
from jobs.upkeep.reachable import KINDS, CleanRequest, Reachable
from model.text.base import TextEncoderBase
from model.text.registry import text_encoder
from pipelines.dataset.latents import fingerprints, open_latents
from pipelines.storage.local_store import LocalStore
from tests.conftest import TINY, run_job
from tests.support.tiny_models import tiny_text


class Counting(TextEncoderBase):
    """Four numbers per letter, and which texts were asked for."""

    name, fingerprint, dim, max_tokens = "counting", "f" * 16, 4, 3

    def __init__(self, scale=1.0):
        self.asked, self._scale = [], scale

    def encode_one(self, text):
        self.asked.append(text)
        letters = torch.tensor([ord(letter) * self._scale for letter in text[:3]])
        return letters[:, None] * torch.ones(4), len(text) > 3


def test_the_same_texts_in_any_order_are_encoded_once_and_come_back_as_they_were(tmp_path):
    store, encoder = LocalStore(tmp_path), Counting()
    first = TextStore(store, encoder, "f" * 16).embedded(["dog", "a long one", "", "dog"])
    again = TextStore(store, encoder, "f" * 16).embedded(["", "dog", "a long one"])
    assert encoder.asked == ["", "a long one", "dog"]
    assert {text: e.truncated for text, e in again.items()} == {"": False, "a long one": True, "dog": False}
    assert again[""].tokens.shape == (0, 4)
    for text, embedded in first.items():
        assert embedded.tokens.dtype == again[text].tokens.dtype == np.float16
        np.testing.assert_array_equal(embedded.tokens, again[text].tokens)
    assert len(list(store.list(f"{ROOT}/"))) == 1
    assert TextStore(store, encoder, "f" * 16).embedded([]) == {}


def test_other_texts_or_another_encoder_have_an_object_of_their_own(tmp_path):
    store = LocalStore(tmp_path)
    other = Counting()
    other.fingerprint = "e" * 16
    for encoder, texts in ((Counting(), ["dog"]), (Counting(), ["dog", "cat"]), (other, ["dog"])):
        TextStore(store, encoder, encoder.fingerprint).embedded(texts)
    assert [key.split("/")[1] for key in store.list(f"{ROOT}/")] == ["e" * 16, "f" * 16, "f" * 16]


def test_a_worker_with_other_weights_is_refused_before_it_stores_anything(tmp_path):
    store = LocalStore(tmp_path)
    with pytest.raises(
        ValueError, match=r"'counting' has other weights on this worker \(f{16}\) than .* \(0{16}\)"
    ):
        TextStore(store, Counting(), "0" * 16).embedded(["dog"])
    assert list(store.list(f"{ROOT}/")) == []


def test_numbers_beyond_float16_are_an_error_and_are_not_stored(tmp_path):
    store = LocalStore(tmp_path)
    with (
        pytest.raises(ValueError, match=r"gives numbers up to 1\.03e\+05, which float16 can't hold"),
        np.errstate(over="ignore"),
    ):
        TextStore(store, Counting(scale=1000.0), "f" * 16).embedded(["dgg"])
    assert list(store.list(f"{ROOT}/")) == []


@pytest.fixture(scope="module")
def encoded(tiny_run, shared_ray, tmp_path_factory):
    """The tiny run's dataset, encoded anew by a T5 that cuts captions at eight tokens, for two sets of
    windows."""
    t5 = f"t5:{tiny_text(tmp_path_factory.mktemp('text') / 't5', 't5')}@max=8"
    dataset, vae = tiny_run.made("curate"), tiny_run.made("train_vae")
    shapes = [o for o in TINY if o.startswith(("shapes.", "windows."))]
    store, results, listings = LocalStore(dataset), [], []
    before = set(fingerprints(store))
    for stride in ("0.5", "0.25"):
        results.append(
            run_job(
                "encode", f"dataset={dataset}", f"vae={vae}", f"text_encoder={t5}",
                f"ray.address={shared_ray.address}",
                *shapes, f"windows.stride_s={stride}",
            )
        )  # fmt: skip
        listings.append(
            {e.key: e.modified_s for e in store.entries(f"{ROOT}/{text_encoder(t5).fingerprint}/")}
        )
    yield store, results, listings, t5
    for result in results:  # the run's own latents are the only ones again
        assert result["latents"] not in before
        for key in list(store.list(f"latents/{result['latents']}/")):
            store.delete(key)


def test_other_latents_take_the_texts_that_are_there(encoded):
    store, (first, second), (made, kept), t5 = encoded
    assert first["latents"] != second["latents"]
    assert len(made) == first["shards_made"] == second["shards_made"] > 0
    assert kept == made, "no object is new, none was written again"
    one, other = (open_latents(store, result["latents"]) for result in (first, second))
    assert one.manifest["text_encoder"] == other.manifest["text_encoder"] == t5
    assert (one.manifest["text_encoder_fingerprint"], one.manifest["text_dim"]) == (
        text_encoder(t5).fingerprint,
        32,
    )
    for clip_id, window in one.rows:
        texts, same = one.texts(clip_id, window), other.texts(clip_id, window)
        assert texts.keys() == same.keys() >= {"short", "dense"}
        for kind, tokens in texts.items():
            assert len(tokens) <= 8
            np.testing.assert_array_equal(tokens, same[kind])


def test_captions_that_were_cut_are_counted_also_where_they_were_there_already(encoded):
    store, (first, second), *_ = encoded
    latents = open_latents(store, first["latents"])
    first_windows = [
        (clip_id, window) for clip_id, window in latents.rows if window == 0
    ]  # all of a clip share its texts
    full = [len(e) == 8 for clip_id, window in first_windows for e in latents.texts(clip_id, window).values()]
    assert 0 < first["captions_cut"] == second["captions_cut"] <= sum(full)


def test_cleaning_leaves_texts_alone_and_a_dataset_with_them_is_sound(encoded, shared_ray):
    store, _, (made, _), _ = encoded
    for key in made:
        os.utime(store.root / key, (0, 0))
    reachable = Reachable(store, CleanRequest(old_manifests=True, used=None, min_age_s=0))
    assert not [
        entry.key for kind in KINDS for entry in reachable.removable(kind) if entry.key.startswith(ROOT)
    ]
    verified = run_job("verify", f"dataset={store.uri}", "decode=false", f"ray.address={shared_ray.address}")
    assert verified["findings"] == 0


def test_a_prompt_that_is_cut_is_said_and_its_embedding_is_remembered(tiny_run, tmp_path, capsys):
    out = tmp_path / "a.mp4"
    common = [
        f"checkpoint={tiny_run.made('train')}",
        f"out={out}",
        "width=32",
        "height=32",
        "duration_s=0",
        "steps=1",
    ]
    run_job("generate", *common, f"prompt={'word ' * 300}")
    assert (
        "the prompt has more than the 256 tokens that text encoder 'minilm' reads" in capsys.readouterr().out
    )
    assert json.loads(out.with_suffix(".json").read_text())["prompt_cut"] is True
    run_job("generate", *common, "prompt=a red square")
    assert "the prompt has more" not in capsys.readouterr().out
    assert json.loads(out.with_suffix(".json").read_text())["prompt_cut"] is False

    pipeline = Pipeline(tiny_run.made("train") / "export")
    (first, none), cut = pipeline.texts(["a red square", " "])
    assert (len(none), cut) == (0, 0)
    assert pipeline.texts(["a red square"])[0][0] is first


def test_a_checkpoint_takes_its_text_encoder_from_where_it_is_said_and_no_other(tiny_run):
    export = tiny_run.made("train") / "export"
    with pytest.raises(
        ValueError, match=r"was trained with text encoder 'minilm', and 'minilm@max=8' has other weights"
    ):
        Pipeline(export, text="minilm@max=8")
    with pytest.raises(
        FileNotFoundError,
        match=r"no folder '/no/t5'.*; or say where it is on this machine with text_encoder=",
    ):
        Pipeline(export, text="t5:/no/t5")
    assert Pipeline(export, text="minilm@max=256").text.name == "minilm@max=256"
