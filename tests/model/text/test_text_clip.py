"""Text encoders through open_clip, with few random weights in a folder, and by name with weights in a
file."""

import shutil

import pytest
import torch

from model.text.registry import text_encoder
from tests.support.tiny_models import tiny_clip

TEXT, LONG = "a white dog runs over grass", "dog " * 40


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return f"clip:{tiny_clip(tmp_path_factory.mktemp('clip') / 'model')}"


@pytest.fixture(scope="module")
def published(clip):
    import open_clip

    return open_clip.create_model_from_pretrained(clip.removeprefix("clip:"), return_transform=False).eval()


def test_pooled_is_one_token_what_open_clip_gives(clip, published):
    import open_clip

    encoder = text_encoder(f"{clip}@pooled")
    (embedding,) = encoder.encode([TEXT])
    tokenizer = open_clip.get_tokenizer(clip.removeprefix("clip:"))
    with torch.no_grad():
        expected = published.encode_text(tokenizer([TEXT]))
    assert embedding.shape == (1, encoder.dim)
    torch.testing.assert_close(embedding, expected, rtol=1e-5, atol=1e-6)


def test_tokens_are_the_states_behind_the_final_norm_up_to_the_mark_of_end(clip, published):
    tokens, pooled = (text_encoder(f"{clip}{option}").encode([TEXT])[0] for option in ("", "@pooled"))
    assert tokens.shape == (8, 32), "six words and two marks"
    assert tokens.untyped_storage().nbytes() == tokens.nbytes, "the padding isn't held on to"
    torch.testing.assert_close(tokens[-1:] @ published.text_projection.detach(), pooled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("option", ["@tokens", "@pooled"])
def test_a_long_text_is_cut_and_counted(clip, option):
    encoder = text_encoder(f"{clip}{option}")
    assert encoder.max_tokens == 16
    assert encoder.encode_count_truncated([TEXT, LONG, ""])[1] == 1
    short = text_encoder(f"{clip}{option}@max=8")
    (fits, long), cut = short.encode_count_truncated([TEXT, LONG])
    assert cut == 1
    torch.testing.assert_close(fits, encoder.encode([TEXT])[0])
    assert torch.equal(long, short.encode(["dog " * 6])[0])
    with pytest.raises(ValueError, match=r"max=17 is more than CLIP local-dir:.* reads; it reads 16 tokens"):
        text_encoder(f"{clip}{option}@max=17")


def test_an_embedding_does_not_depend_on_what_else_is_encoded(clip):
    encoder = text_encoder(clip)
    alone = encoder.encode([TEXT])[0]
    assert torch.equal(encoder.encode([LONG, TEXT])[1], alone)


def test_the_fingerprint_is_of_content_and_options_not_of_the_folder(clip, tmp_path):
    copy = shutil.copytree(clip.partition("local-dir:")[2], tmp_path / "elsewhere")
    prints = [text_encoder(f"{clip}{options}").fingerprint for options in ("", "@pooled", "@max=8")]
    assert len(set(prints)) == 3
    assert (
        text_encoder(f"clip:local-dir:{copy}").fingerprint
        == text_encoder(f"{clip}@tokens").fingerprint
        == prints[0]
    )
    other = tiny_clip(tmp_path / "other", seed=1)
    assert text_encoder(f"clip:{other}").fingerprint != prints[0]


def test_the_vision_tower_is_let_go(clip):
    assert not any(name.startswith("visual.") for name, _ in text_encoder(clip)._network.named_parameters())


def test_a_model_by_name_takes_its_weights_from_a_file(tmp_path, monkeypatch):
    import open_clip

    name = "ViT-B-32"
    settings = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "layers": 1, "width": 32, "head_width": 16},
    }
    settings |= {
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    }
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, settings)
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(open_clip.create_model(name).state_dict(), tmp_path / f"{seed}.pt")
    monkeypatch.chdir(tmp_path)
    encoder, other = text_encoder(f"clip:{name}/0.pt@pooled"), text_encoder(f"clip:{name}/1.pt@pooled")
    assert encoder.name == f"clip:{name}/{tmp_path / '0.pt'}@pooled"
    assert encoder.encode(["a dog"])[0].shape == (1, 16)
    assert encoder.fingerprint != other.fingerprint
    (tmp_path / "same").mkdir()
    shutil.copy("0.pt", "same/x.pt")
    assert text_encoder(f"clip:{name}/same/x.pt@pooled").fingerprint == encoder.fingerprint


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("clip:ViT-B-23/openai", "open_clip model 'ViT-B-23' is not known; did you mean 'ViT-B-32'"),
        ("clip:ViT-B-32/opnai", "weights of clip:ViT-B-32: 'opnai' is not known; did you mean 'openai'"),
        ("clip:ViT-B-32", "clip:ViT-B-32 needs weights: clip:ViT-B-32/<tag>, one of openai, "),
        ("clip:hf-hub:owner/name",
            "hf download owner/name --local-dir <folder>, then clip:local-dir:<folder>"),
        ("clip:roberta-ViT-B-32/laion2b_s12b_b32k",
            "gives no tokens of its own; ask for one with @pooled, or name its text tower: hf:roberta-base"),
    ],
)  # fmt: skip
def test_a_wrong_model_is_told_the_near_miss(name, told):
    with pytest.raises(ValueError) as error:  # noqa: PT011, the message is what is tested
        text_encoder(name)
    assert told in str(error.value)


def test_a_folder_that_is_none_is_told_what_it_lacks(clip, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no open_clip_config.json"):
        text_encoder(f"clip:local-dir:{tmp_path}")
    copy = shutil.copytree(clip.partition("local-dir:")[2], tmp_path / "copy")
    (copy / "open_clip_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="there are no weights"):
        text_encoder(f"clip:local-dir:{copy}")
    (copy / "open_clip_config.json").write_text("{}")
    with pytest.raises(ValueError, match="has no model_cfg with an embed_dim and a text_cfg"):
        text_encoder(f"clip:local-dir:{copy}")


def test_weights_that_cannot_be_downloaded_are_said_and_what_to_do_then(monkeypatch):
    import open_clip

    def fails(cfg):
        raise FileNotFoundError("no answer\nand more")

    monkeypatch.setattr(open_clip, "download_pretrained", fails)
    with pytest.raises(
        FileNotFoundError, match=r"can't be downloaded \(no answer\); download them elsewhere"
    ):
        text_encoder("clip:ViT-B-32/openai").encode(["a dog"])
