"""Where weights come from: a folder as it is, a pipeline's parts, the hub's cache; and what is said if
something lacks."""

import shutil

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

import model.text.files
from model.text.files import files_digest, find_folder, required_files, text_files
from model.text.registry import text_encoder
from tests.support.tiny_models import tiny_text


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return tiny_text(tmp_path_factory.mktemp("text") / "t5", "t5")


@pytest.fixture
def hub(t5, monkeypatch, tmp_path):
    """A hub with one model, and its cache: what is asked of the network is in `asked`; with `offline` it
    doesn't answer."""

    class Hub:
        offline, cached = False, tmp_path / "cached"

        def __init__(self):
            self.asked = []

        def snapshot_download(self, name, local_files_only=False, allow_patterns=()):
            if not local_files_only:
                self.asked.append((name, sorted(allow_patterns)))
                shutil.copytree(t5, self.cached, dirs_exist_ok=True)
            if not self.cached.is_dir():
                raise LocalEntryNotFoundError("not in the cache")
            return str(self.cached)

        def list_repo_files(self, name):
            if self.offline or name != "owner/t5":
                raise OSError("no answer\nand more")
            return [*(path.name for path in t5.iterdir()), "flax_model.msgpack", "pytorch_model.bin"]

    fake = Hub()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.snapshot_download)
    monkeypatch.setattr(huggingface_hub, "list_repo_files", fake.list_repo_files)
    return fake


def test_a_folder_is_never_looked_for_anywhere_else(t5, hub, monkeypatch):
    monkeypatch.chdir(t5.parent)
    assert find_folder("t5", "") == t5
    assert text_encoder("t5:t5").encode(["a dog"])[0].shape == (3, 32)
    assert hub.asked == []


def test_a_hub_model_is_downloaded_once_and_no_more_of_it_than_is_needed(t5, hub):
    assert text_encoder("t5:owner/t5").name == "t5:owner/t5"
    assert hub.asked == [
        ("owner/t5", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]),
    ]
    hub.offline = True
    assert text_encoder("t5:owner/t5").fingerprint == text_encoder(f"t5:{t5}").fingerprint
    assert len(hub.asked) == 1


def test_an_interrupted_download_is_completed(t5, hub):
    hub.cached.mkdir()
    shutil.copy(t5 / "config.json", hub.cached)
    assert text_encoder("t5:owner/t5").fingerprint == text_encoder(f"t5:{t5}").fingerprint
    assert len(hub.asked) == 1


def test_a_hub_that_does_not_answer_is_said_and_what_to_do_then(hub):
    with pytest.raises(FileNotFoundError) as error:
        text_encoder("t5:owner/other")
    assert (
        "there is no folder 'owner/other', and the hub did not give a model of that name (no answer)"
        in str(error.value)
    )
    assert "hf download owner/other --local-dir <folder>" in str(error.value)
    with pytest.raises(
        FileNotFoundError, match="there is no folder '/no/such'; give one, or a model of the hub, like t5:"
    ):
        text_encoder("t5:/no/such")


def test_of_a_repository_only_what_a_text_encoder_needs_is_wanted():
    sharded = [f"text_encoder/model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    pipeline = [
        "model_index.json", "transformer/config.json", "transformer/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "text_encoder/config.json", *sharded, "text_encoder/model.safetensors.index.json",
        "tokenizer/spiece.model",
        "tokenizer/tokenizer_config.json", "README.md",
    ]  # fmt: skip
    index, tokenizer = (
        "text_encoder/model.safetensors.index.json",
        ["tokenizer/spiece.model", "tokenizer/tokenizer_config.json"],
    )
    assert sorted(required_files(pipeline)) == sorted(
        ["text_encoder/config.json", *sharded, index, *tokenizer]
    )
    assert required_files(["config.json", "pytorch_model.bin", "vocab.txt"]) == [
        "config.json",
        "pytorch_model.bin",
        "vocab.txt",
    ]
    with pytest.raises(FileNotFoundError, match=r"neither a config.json nor a text_encoder/config.json"):
        required_files(["model.gguf"])


def test_a_pipeline_keeps_encoder_and_tokenizer_apart(t5, tmp_path):
    for part, names in (
        ("text_encoder", ("config.json", "model.safetensors")),
        ("tokenizer", ("tokenizer.json",)),
    ):
        (tmp_path / part).mkdir()
        for name in names:
            shutil.copy(t5 / name, tmp_path / part)
    files = text_files(tmp_path)
    assert (files.config, files.tokenizer) == (
        tmp_path / "text_encoder" / "config.json",
        (tmp_path / "tokenizer" / "tokenizer.json",),
    )
    assert text_files(tmp_path / "text_encoder") == files
    whole, parts = (text_encoder(f"t5:{folder}").encode(["a white dog"])[0] for folder in (t5, tmp_path))
    assert whole.equal(parts)


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("config.json", "holds no text encoder: neither it nor its text_encoder/ has a config.json"),
        ("model.safetensors", "has a config.json but no weights"),
        ("tokenizer.json", "has no tokenizer"),
    ],
)
def test_what_lacks_is_said(t5, tmp_path, lost, told):
    folder = shutil.copytree(t5, tmp_path / "t5")
    (folder / lost).unlink()
    with pytest.raises(FileNotFoundError) as error:
        text_encoder(f"t5:{folder}")
    assert told in str(error.value)


def test_a_shard_that_lacks_is_named(tmp_path):
    folder = tiny_text(tmp_path / "llama", "llama", pieces=3)
    shards = sorted(folder.glob("model-*.safetensors"))
    assert text_files(folder).weights == tuple(shards)
    shards[1].unlink()
    with pytest.raises(
        FileNotFoundError, match=f"lacks {shards[1].name}, which model.safetensors.index.json names"
    ):
        text_encoder(f"hf:{folder}")


def test_a_vocabulary_that_cannot_be_read_is_not_guessed(t5, tmp_path, monkeypatch):
    folder = shutil.copytree(t5, tmp_path / "t5")
    (folder / "tokenizer.json").rename(folder / "spiece.model")
    monkeypatch.setattr("model.text.files._installed", lambda module: module != "sentencepiece")
    with pytest.raises(FileNotFoundError, match="pip install sentencepiece"):
        text_encoder(f"t5:{folder}")


def test_a_file_is_hashed_once_unless_it_changes(tmp_path, monkeypatch):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    read = []
    really = model.text.files.hashlib.file_digest
    monkeypatch.setattr(
        model.text.files.hashlib,
        "file_digest",
        lambda stream, kind: read.append(stream.name) or really(stream, kind),
    )
    first = [files_digest("title", [file]) for _ in range(3)]
    assert len(read) == len(set(first)) == 1
    file.write_bytes(b"other")
    assert files_digest("title", [file]) != first[0]
    assert len(read) == 2
    assert files_digest("another title", [file]) != files_digest("title", [file])
