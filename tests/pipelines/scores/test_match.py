"""A caption's match is the cosine that open_clip itself gives for caption and picture."""

import numpy as np
import open_clip
import pytest
import torch

from pipelines.scores import match
from pipelines.scores.config import ScoreConfig
from pipelines.scores.registry import CAPTION_SCORES, get_score, missing
from tests.support.tiny_models import WIDTH, tiny_clip

CAPTIONS = ("A dog runs on a beach.", "A red car.", "A man reads a newspaper in a train " * 9)


@pytest.fixture(scope="module")
def cfg(tmp_path_factory):
    return ScoreConfig(clip_model=tiny_clip(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def matcher(cfg):
    return match.Matcher(cfg)


@pytest.fixture(scope="module")
def embeddings():
    rows = np.random.default_rng(1).normal(size=(len(CAPTIONS), WIDTH))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def test_it_is_the_cosine_open_clip_gives_long_captions_cut_off(matcher, cfg, embeddings):
    net = open_clip.create_model_from_pretrained(cfg.clip_model, return_transform=False).eval()
    with torch.inference_mode():
        texts = net.encode_text(open_clip.tokenize(list(CAPTIONS), context_length=16), normalize=True).numpy()
    expected = [
        float(text @ picture) for text, picture in zip(texts, embeddings.astype(np.float32), strict=True)
    ]
    assert matcher.match(CAPTIONS, embeddings) == pytest.approx(expected, abs=1e-5)


def test_a_captions_match_does_not_depend_on_those_asked_with_it(matcher, embeddings):
    together = matcher.match(CAPTIONS, embeddings)
    assert together == [matcher.match([c], e[None])[0] for c, e in zip(CAPTIONS, embeddings, strict=True)]
    assert matcher.match([], embeddings[:0]) == []
    with pytest.raises(ValueError, match="3 captions for 2 clips"):
        matcher.match(CAPTIONS, embeddings[:2])


def test_it_is_asked_for_after_captioning_and_needs_a_clip(cfg):
    assert "text_match" in CAPTION_SCORES
    assert get_score("text_match").compute is None
    assert missing("text_match", cfg) is None
    assert (
        missing("text_match", ScoreConfig())
        == "needs a CLIP: set scores.clip_model and scores.clip_pretrained"
    )
    assert match.settings(cfg) == match.settings(cfg)
