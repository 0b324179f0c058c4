"""The embedded text encoder, on its real weights."""

import logging

import pytest
import torch
import torch.nn.functional as F

from model.conditions import drop_text
from model.text import text_encoder


@pytest.fixture(scope="module")
def minilm():
    return text_encoder("minilm")


def meaning(embeddings: torch.Tensor) -> torch.Tensor:
    return F.normalize(embeddings.mean(0), dim=0)


def test_a_paraphrase_is_nearer_than_another_subject(minilm):
    a, b, c = (
        meaning(e)
        for e in minilm.encode(
            [
                "A man rides his bicycle down the street.",
                "Someone is cycling along a road.",
                "A rabbit eats a red apple.",
            ]
        )
    )
    assert a @ b > a @ c + 0.2


def test_embeddings_are_per_token_and_do_not_depend_on_the_batch(minilm):
    texts = ["a dog", "a white dog runs over green grass"]
    together = minilm.encode(texts)
    assert [e.shape for e in together] == [(4, 384), (9, 384)]
    assert minilm.dim == 384
    assert torch.equal(minilm.encode(texts[1:])[0], together[1])
    assert together[0].dtype == torch.float32


def test_what_is_too_long_is_cut_counted_and_reported(minilm, caplog):
    with caplog.at_level(logging.WARNING):
        embeddings, cut = minilm.encode_counted(["a dog", "word " * 400])
    assert cut == 1
    assert len(embeddings[1]) == minilm.max_tokens == 256
    assert "1 of 2 texts have more than 256 tokens" in caplog.text


def test_the_fingerprint_is_of_the_content(minilm):
    assert minilm.fingerprint == text_encoder("minilm").fingerprint
    assert len(minilm.fingerprint) == 16
    other = text_encoder("minilm")
    other.max_tokens = 77
    assert other.fingerprint != minilm.fingerprint


def test_an_unknown_encoder_is_told_the_near_miss():
    with pytest.raises(ValueError, match="text encoder 'minlm' is not known; did you mean 'minilm'"):
        text_encoder("minlm")


def test_text_is_dropped_in_the_share_asked_for_and_the_generator_moves_on_alike():
    text, g = torch.ones(3, 4), torch.Generator().manual_seed(0)
    dropped = sum(len(drop_text(text, 0.1, g)) == 0 for _ in range(4000))
    assert dropped == pytest.approx(400, abs=80)
    a, b = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    assert drop_text(text, 0.0, a).shape == (3, 4)
    assert drop_text(text, 1.0, b).shape == (0, 4)
    assert torch.equal(torch.rand(1, generator=a), torch.rand(1, generator=b))
