"""Text encoders through transformers: each class that is named, with few random weights, in folders as they
are published."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.text.files import text_files
from model.text.registry import text_encoder
from model.text.transformers_encoder import HiddenStates, TransformersTextEncoder
from tests.support.tiny_models import tiny_text

KINDS = {"t5": "t5", "umt5": "umt5", "bert": "hf", "llama": "hf", "qwen3": "hf"}
LONG = " ".join(["a", "white", "dog"] * 250)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("text")
    return {kind: tiny_text(base / kind, kind, pieces=3 if kind == "llama" else 1) for kind in KINDS}


def states(kind, folder, text):
    """All hidden states, by the class that the weights were saved from."""
    import transformers

    ids = transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")["input_ids"]
    whole = {
        "t5": transformers.T5ForConditionalGeneration, "umt5": transformers.UMT5EncoderModel,
        "bert": transformers.BertForMaskedLM,
        "llama": transformers.LlamaForCausalLM, "qwen3": transformers.Qwen3ForCausalLM,
    }[kind].from_pretrained(folder).eval()  # fmt: skip
    network = whole.get_encoder() if kind == "t5" else whole
    with torch.no_grad():
        return network(input_ids=ids, output_hidden_states=True).hidden_states


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_are_the_hidden_states_of_the_published_model(folders, kind):
    expected = states(kind, folders[kind], "a white dog runs")
    for layer in (-1, -2):
        encoder = text_encoder(f"{KINDS[kind]}:{folders[kind]}" + (f"@layer={layer}" if layer != -1 else ""))
        (embedding,) = encoder.encode(["a white dog runs"])
        assert embedding.shape == expected[layer][0].shape
        assert embedding.shape[1] == encoder.dim == 32
        torch.testing.assert_close(embedding, expected[layer][0], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(expected[-1], expected[-2])


@pytest.mark.parametrize(("kind", "marks"), [("t5", 1), ("umt5", 1), ("bert", 2), ("llama", 1), ("qwen3", 0)])
def test_a_long_text_is_cut_where_its_tokenizer_would_and_no_text_has_only_marks(folders, kind, marks):
    encoder = text_encoder(f"{KINDS[kind]}:{folders[kind]}@max=16")
    (empty, short, long), cut = encoder.encode_count_truncated(["", "a white dog", LONG])
    assert cut == 1
    assert [len(e) for e in (empty, short, long)] == [marks, 3 + marks, 16]
    last_mark = kind in ("t5", "umt5", "bert")
    same = text_encoder(f"{KINDS[kind]}:{folders[kind]}").encode([" ".join(LONG.split()[: 16 - marks])])[0]
    assert torch.equal(long, same), (
        f"as the first words alone, {'with' if last_mark else 'without'} a mark at the end"
    )


@pytest.mark.parametrize(
    ("kind", "limit"), [("t5", 512), ("umt5", 512), ("bert", 40), ("llama", 64), ("qwen3", 64)]
)
def test_without_max_it_reads_512_tokens_or_what_the_model_reads(folders, kind, limit):
    encoder = text_encoder(f"{KINDS[kind]}:{folders[kind]}")
    assert encoder.max_tokens == limit
    (embedding,), cut = encoder.encode_count_truncated([LONG])
    assert (len(embedding), cut) == (limit, 1)
    if kind == "bert":
        with pytest.raises(
            ValueError, match=r"max=41 is more than text encoder hf:.* reads; it reads 40 tokens"
        ):
            text_encoder(f"hf:{folders[kind]}@max=41")


@pytest.mark.parametrize("kind", KINDS)
def test_an_embedding_does_not_depend_on_what_else_is_encoded(folders, kind):
    encoder = text_encoder(f"{KINDS[kind]}:{folders[kind]}")
    alone = encoder.encode(["a white dog"])[0]
    assert torch.equal(encoder.encode([LONG, "a white dog", ""])[1], alone)


def test_only_the_encoder_of_a_t5_is_there_and_no_head_of_a_language_model(folders):
    t5, llama = (text_encoder(f"{KINDS[kind]}:{folders[kind]}")._parts[1] for kind in ("t5", "llama"))
    assert type(t5).__name__ == "T5EncoderModel"
    assert not any("decoder" in name for name, _ in t5.named_parameters())
    assert type(llama).__name__ == "LlamaModel"
    assert not any("head" in name for name, _ in llama.named_parameters())
    assert llama.config.use_cache is False


def test_weights_and_arithmetic_can_be_bfloat16(folders):
    exact = text_encoder(f"t5:{folders['t5']}")
    half = TransformersTextEncoder("half", exact.files, HiddenStates("", 32, 512), dtype=torch.bfloat16)
    assert {p.dtype for p in half._parts[1].parameters()} == {torch.bfloat16}
    (near,), (embedding,) = half.encode(["a white dog"]), exact.encode(["a white dog"])
    assert near.dtype == torch.float32
    torch.testing.assert_close(near, embedding, rtol=0.1, atol=0.1)
    assert not torch.equal(near, embedding)


def test_the_fingerprint_is_of_content_and_options_not_of_the_folder(folders, tmp_path):
    copy = shutil.copytree(folders["llama"], tmp_path / "elsewhere")
    name = f"hf:{folders['llama']}"
    prints = [text_encoder(f"{name}{options}").fingerprint for options in ("", "@layer=-2", "@max=32")]
    assert text_encoder(f"hf:{copy}").fingerprint == prints[0]
    assert len(set(prints)) == 3
    shard = sorted(copy.glob("model-*.safetensors"))[-1]
    changed = {key: tensor + 1 for key, tensor in load_file(shard).items()}
    save_file(changed, shard, metadata={"format": "pt"})
    assert text_encoder(f"hf:{copy}").fingerprint != prints[0]
    shutil.copytree(folders["llama"], copy, dirs_exist_ok=True)
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] |= {"dog": 6, "a": 5}
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert text_encoder(f"hf:{copy}").fingerprint != prints[0]


def test_the_name_is_one_that_works_in_any_folder(folders, monkeypatch, tmp_path):
    monkeypatch.chdir(folders["t5"].parent)
    encoder = text_encoder("t5:t5@max=8+hf:bert@layer=-2")
    monkeypatch.chdir(tmp_path)
    assert encoder.name == f"t5:{folders['t5']}@max=8+hf:{folders['bert']}@layer=-2"
    assert text_encoder(encoder.name).fingerprint == encoder.fingerprint


def test_a_model_of_another_kind_is_told_its_kind(folders, tmp_path):
    with pytest.raises(ValueError, match=r"holds a model of type 'umt5', not t5; name it umt5:"):
        text_encoder(f"t5:{folders['umt5']}")
    with pytest.raises(ValueError, match=r"holds a model of type 'bert', not umt5; name it hf:"):
        text_encoder(f"umt5:{folders['bert']}")
    assert text_encoder(f"hf:{folders['t5']}").fingerprint == text_encoder(f"t5:{folders['t5']}").fingerprint
    with pytest.raises(
        ValueError, match=r"layer=-4 of text encoder hf:.* is not there; it has -1 \(the last\) to -3"
    ):
        text_encoder(f"hf:{folders['bert']}@layer=-4")
    whole = shutil.copytree(folders["bert"], tmp_path / "bart")
    (whole / "config.json").write_text(json.dumps({"model_type": "bart"}))
    with pytest.raises(
        ValueError, match="'bart', which encodes and decodes; of such only t5, mt5, umt5 are known"
    ):
        text_encoder(f"hf:{whole}")
    (whole / "config.json").write_text(json.dumps({"model_type": "brat"}))
    with pytest.raises(ValueError, match="not a config that the installed transformers knows"):
        text_encoder(f"hf:{whole}")


@pytest.mark.parametrize(("kind", "lost"), [("t5", "layer_norm"), ("llama", "self_attn.q_proj")])
def test_weights_that_lack_something_are_refused_instead_of_made_up(folders, tmp_path, kind, lost):
    folder = tiny_text(tmp_path / kind, kind)
    state = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in state.items() if lost not in k},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    encoder = text_encoder(f"{KINDS[kind]}:{folder}")
    with pytest.raises(ValueError, match=rf"they lack .*{lost}.*; fetch both from the same place"):
        encoder.encode(["a dog"])


def test_weights_saved_by_torch_give_the_same_embeddings(folders, tmp_path):
    folder = shutil.copytree(folders["t5"], tmp_path / "t5")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert text_files(folder).weights == (folder / "pytorch_model.bin",)
    (old,), (new,) = (text_encoder(f"t5:{f}").encode(["a dog"]) for f in (folder, folders["t5"]))
    assert torch.equal(old, new)
