"""No code of a model's folder runs, whoever names it and whatever is typed; and a file names only what is its
own or here already."""

import json
import os
import pty
import shutil
import subprocess
import sys

import pytest
import torch

from model.text.registry import check_encoder_allowed, text_encoder
from tests.support.hostile import MARKER, add_remote_code, change
from tests.support.tiny_models import tiny_clip, tiny_text


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    base = tmp_path_factory.mktemp("models")
    for kind in ("t5", "bert", "qwen3"):
        tiny_text(base / kind, kind)
    tiny_clip(base / "clip")
    return base


@pytest.fixture
def home(tmp_path, models, monkeypatch):
    """A checkpoint's folder, in which `text` is a T5 of its own; the attacker's marker would appear beside
    it."""
    monkeypatch.setenv("HOSTILE", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "evil"
    home.mkdir()
    shutil.copytree(models / "t5", home / "text")
    return home


def asked(name: str, answers: bytes, home: str | None = None) -> tuple[str, int]:
    """What an own process that encodes a text with that encoder says on a terminal at which `answers` are
    typed."""
    program = "import sys; from model.text.registry import text_encoder; from pathlib import Path\n"
    program += "text_encoder(sys.argv[1], home=Path(sys.argv[2]) if sys.argv[2] else None).encode(['a dog'])"
    master, terminal = pty.openpty()
    os.write(master, answers)
    process = subprocess.run(
        [sys.executable, "-c", program, name, home or ""], stdin=terminal, stdout=terminal,
        stderr=subprocess.PIPE, timeout=120,
        env=os.environ | {"PYTHONPATH": os.environ.get("PYTHONPATH", "") + os.pathsep + os.getcwd()},
    )  # fmt: skip
    os.close(terminal)
    os.close(master)
    return process.stderr.decode(), process.returncode


def test_no_answer_at_a_terminal_runs_code(home, models, monkeypatch, pytestconfig):
    monkeypatch.chdir(pytestconfig.rootpath)
    folder = add_remote_code(shutil.copytree(models / "bert", home / "custom"))
    told, code = asked(f"hf:{folder}", b"y\ny\ny\nyes\n")
    assert code == 1
    assert "code of its own is never run" in told
    assert not (home.parent / MARKER).exists()


@pytest.mark.parametrize("typed", ["hf:{home}/custom", "hf:custom"])
@pytest.mark.parametrize("model_type", ["evil", "bert"])
def test_code_beside_a_model_never_runs(home, models, typed, model_type):
    folder = add_remote_code(shutil.copytree(models / "bert", home / "custom"), model_type)
    own = None if "{home}" in typed else home
    try:
        text_encoder(typed.format(home=home), home=own).encode(["a dog"])
    except ValueError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017, what transformers knows itself may be read without the code
    assert not (home.parent / MARKER).exists()
    assert folder.is_dir()


def test_weights_of_a_named_encoder_that_hold_more_than_tensors_are_one_line(home, models):
    folder = shutil.copytree(models / "bert", home / "pickled")
    (folder / "model.safetensors").unlink()
    torch.save({"weight": os.path.join}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="holds more than tensors, or is damaged") as refused:
        text_encoder(f"hf:{folder}").encode(["a dog"])
    assert len(str(refused.value).splitlines()) == 1


def test_an_encoder_in_the_checkpoint_gives_what_it_gives_by_name(home, models):
    own, named = text_encoder("t5:text", home=home), text_encoder(f"t5:{models / 't5'}")
    assert own.fingerprint == named.fingerprint
    assert torch.equal(own.encode(["a dog"])[0], named.encode(["a dog"])[0])
    shutil.copytree(models / "clip", home / "clip")
    joined = text_encoder("minilm+clip:local-dir:clip@pooled", home=home)
    assert joined.encode(["a dog"])[0].shape[1] == joined.dim


@pytest.mark.parametrize(
    "name",
    [
        "t5:{models}/t5", "t5:{home}/text", "t5:../models/t5", "t5:text/../../models/t5", "t5:~/t5",
        "t5:link", "t5:here", "t5:text\0",
        "t5:" + "x" * 5000, "t5:owner/name", "hf:", "umt5:nowhere", "clip:local-dir:{models}/clip",
        "clip:local-dir:clip",
        "clip:ViT-B-32/openai", "clip:ViT-B-32/weights.pt", "clip:ViT-B-16-SigLIP/webli",
        "clip:roberta-ViT-B-32/laion2b_s12b_b32k@pooled",
        "minilm+t5:{models}/t5", "clip:hf-hub:owner/name", "clip:ViT-B-32",
    ],
)  # fmt: skip
def test_a_file_names_no_other_place(home, models, tmp_path, name):
    (home / "link").symlink_to(models / "t5")
    shutil.copytree(models / "t5", tmp_path / "here")  # the folder that the victim is in
    shutil.copy(models / "clip" / "open_clip_model.safetensors", tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"text_encoder=|needs a folder|text encoder 'hf' needs") as refused:
        check_encoder_allowed(name.format(models=models, home=home), home)
    assert len(str(refused.value).splitlines()) == 1


def test_a_name_of_a_hub_is_what_is_here_and_nothing_is_asked_for(home, models, tmp_path, monkeypatch):
    import huggingface_hub

    def no_network(*arguments, **options):
        raise AssertionError("something was asked for")

    monkeypatch.setattr(huggingface_hub, "list_repo_files", no_network)
    real = huggingface_hub.snapshot_download
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download",
        lambda name, local_files_only=False: str(models / name.partition("/")[2])
        if local_files_only and name == "owner/t5" else real(name, local_files_only=True),
    )  # fmt: skip
    # in the victim's folder: another thing of that name
    shutil.copytree(models / "bert", tmp_path / "owner" / "t5")
    encoder = text_encoder("t5:owner/t5", home=home)
    assert encoder.fingerprint == text_encoder(f"t5:{models / 't5'}").fingerprint
    with pytest.raises(ValueError, match="give text_encoder=t5:owner/other"):
        check_encoder_allowed("t5:owner/other", home)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: change(f / "config.json", model_type="canine"),
            "no kind of model that a checkpoint may bring along"),
        (lambda f: change(f / "tokenizer_config.json", tokenizer_class="TapexTokenizer"),
            "no tokenizer that a checkpoint may bring"),
        (lambda f: change(f / "tokenizer_config.json", init_inputs=["/etc/passwd"]), "init_inputs"),
        (lambda f: change(f / "config.json", attn_implementation="evil/kernel"), "could be code of a hub"),
        (lambda f: change(f / "config.json", text_config={"_attn_implementation": "evil/kernel"}),
            "could be code of a hub"),
        (lambda f: change(f / "config.json", quantization_config={"quant_method": "evil"}),
            "quantised weights are not read"),
        (lambda f: change(f / "config.json", num_layers=10**6), "num_layers=1000000 is too large"),
        (lambda f: change(f / "config.json", d_model=10**18), "is too large"),
        (lambda f: change(f / "config.json", vocab_size=10**9), "describes a network of|makes no network"),
        (lambda f: change(f / "config.json", num_heads="many"),
            "is not a config that the installed transformers knows"),
        (lambda f: (f / "config.json").write_text("[" * 10**5), "nested more than 64 deep"),
        (lambda f: (f / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/model"}'),
            "holds an adapter"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 100), "its head would have"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "the tokenizer in .* can't be read"),
        (lambda f: os.truncate(f / "tokenizer.json", 2**40), "and at most 134,217,728"),
        (lambda f: ((f / "model.safetensors").unlink(), torch.save({}, f / "pytorch_model.bin")),
            "only safetensors are read"),
        (lambda f: ((f / "tokenizer.json").unlink(), (f / "tokenizer.json").symlink_to("/etc/passwd")),
            "leads out of"),
        (lambda f: ((f / "model.safetensors").unlink(), (f / "model.safetensors.index.json").write_text(
            '{"weight_map": {"a": "../../secret.safetensors"}}')), "is no index of weights"),
    ],
)  # fmt: skip
def test_what_a_checkpoint_brings_along_is_of_a_list(home, spoil, told):
    spoil(home / "text")
    with pytest.raises(ValueError, match=told) as refused:
        text_encoder("hf:text", home=home).encode(["a dog"])
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"text_cfg": {"hf_model_name": "evil/model"}}, "text_cfg.hf_model_name is not taken"),
        (
            {"text_cfg": {"hf_tokenizer_name": "x", "tokenizer_kwargs": {"trust_remote_code": True}}},
            "'trust_remote_code'",
        ),
        ({"text_cfg": {"tokenizer_kwargs": ["trust_remote_code"]}}, "of a model's folder only"),
        ({"text_cfg": {"layers": 10**6}}, "layers=1000000 is too large"),
        ({"text_cfg": {"width": 16000}}, "far larger than its weights"),
        ({"text_cfg": {"width": {"a": 1}}}, "is no number"),
        ({"vision_cfg": {"timm_model_name": "hf-hub:evil/model"}}, "no architecture of timm"),
        ({"vision_cfg": {"timm_model_name": "local-dir:/tmp/evil"}}, "no architecture of timm"),
        ({"evil_cfg": {}}, "model_cfg.evil_cfg is not taken"),
        ({"text_cfg": 7}, "text_cfg is no object"),
    ],
)
def test_a_config_of_open_clip_may_say_what_is_on_the_list(models, tmp_path, keys, told):
    from pipelines.scores.clip_config import read_clip_config

    folder = shutil.copytree(models / "clip", tmp_path / "clip")
    path = folder / "open_clip_config.json"
    settings = json.loads(path.read_text())
    for name, value in keys.items():
        known = settings["model_cfg"].get(name)
        settings["model_cfg"][name] = (
            known | value if isinstance(known, dict) and isinstance(value, dict) else value
        )
    path.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=told):
        text_encoder(f"clip:local-dir:{folder}@pooled")
    with pytest.raises(ValueError, match=told):
        read_clip_config(path, (folder / "open_clip_model.safetensors").stat().st_size)


def test_a_tokenizer_of_a_clip_runs_no_code(models, tmp_path, monkeypatch):
    monkeypatch.setenv("HOSTILE", str(tmp_path))
    folder = shutil.copytree(models / "clip", tmp_path / "clip")
    settings = json.loads((folder / "open_clip_config.json").read_text())
    settings["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "any"
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    add_remote_code(folder)
    with pytest.raises(ValueError, match="code of its own is never run"):
        text_encoder(f"clip:local-dir:{folder}@pooled").encode(["a dog"])
    assert not (tmp_path / MARKER).exists()


def test_both_packages_hold_open_clip_to_the_same_list():
    from pathlib import Path

    import model.text.clip_config as of_model
    import pipelines.scores.clip_config as of_pipelines

    bodies = [
        Path(module.__file__).read_text().partition("\nCONFIG =")[2] for module in (of_model, of_pipelines)
    ]
    assert bodies[0] == bodies[1]
