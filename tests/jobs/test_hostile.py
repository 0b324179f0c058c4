"""Folders that somebody made to be a burden, or to have something opened: every command says one line, soon,
and opens nothing."""

import json
import os
import re
import shutil
import struct
import time

import numpy as np
import pyarrow as pa
import pytest

from jobs.cli.main import main
from pipelines.dataset.manifest import Manifest, newest, publish
from pipelines.dataset.schema import INDEX, SCHEMA_VERSION, table
from pipelines.ids import hash_bytes
from pipelines.storage.local_store import LocalStore
from pipelines.storage.parquet import parquet_bytes
from tests.support.hostile import MARKER, add_remote_code, change, checkpoint
from tests.support.tiny_models import tiny_clip, tiny_text


def said(capsys, *arguments: str) -> tuple[int, str, float]:
    """Exit code, what stands on stderr, seconds."""
    capsys.readouterr()
    began_s = time.monotonic()
    code = main(list(arguments))
    took_s = time.monotonic() - began_s
    return code, capsys.readouterr().err, took_s


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def evil(good, tmp_path, monkeypatch, capsys):
    """A copy of a good checkpoint, in the folder that the victim is in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOSTILE", str(tmp_path))
    return shutil.copytree(good, tmp_path / "evil")


def generate(capsys, *more: str) -> tuple[int, str, float]:
    return said(capsys, "generate", "checkpoint=evil", "prompt=a kite", "out=o/k.mp4", "width=64",
        "height=48", "steps=1", "duration_s=0", *more)  # fmt: skip


def test_a_good_checkpoint_generates(evil, capsys):
    assert generate(capsys)[0] == 0


def published(folder, **settings) -> None:
    """A config as diffusers writes it in place of our VAE's."""
    (folder / "vae/config.json").write_text(json.dumps({"_class_name": "AutoencoderKLWan"} | settings))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: (f / "pipeline.json").write_text("[" * 10**5), "nested more than 64 deep"),
        (lambda f: (f / "pipeline.json").write_text("[]"), "holds no object"),
        (lambda f: os.truncate(f / "pipeline.json", 2**30), "1,073,741,824 bytes"),
        (lambda f: change(f / "pipeline.json", text_encoder=None), "text_encoder is no text"),
        (lambda f: change(f / "pipeline.json", fps="fast"), "fps=fast is no number"),
        (lambda f: change(f / "pipeline.json", fps=float("nan")), "holds the number nan"),
        (lambda f: change(f / "pipeline.json", max_pixels=10**12),
            "max_pixels=1000000000000 is no number of 1 to"),
        (lambda f: change(f / "pipeline.json", max_frames=True), "max_frames=True is no number"),
        (lambda f: change(f / "pipeline.json", max_frames=2**16, max_pixels=2**26),
            "more than any model is trained on"),
        (lambda f: change(f / "pipeline.json", sample={"steps": 10**9}), "steps=1000000000 is too large"),
        (lambda f: change(f / "pipeline.json", flow={"evil": 1}), "setting 'evil' is not known"),
        (lambda f: change(f / "pipeline.json", flow=None), "flow is no object"),
        (lambda f: change(f / "pipeline.json", text_encoder="t5:/etc"), "give text_encoder=t5:/etc"),
        (lambda f: change(f / "pipeline.json", text_encoder="t5:owner/name"),
            "give text_encoder=t5:owner/name"),
        (lambda f: change(f / "pipeline.json", text_encoder="evil"), "text encoder 'evil' is not known"),
        (lambda f: change(f / "dit/config.json", config={"depth": 10**6}), "depth=1000000 is too large"),
        (lambda f: change(f / "dit/config.json", config={"width": 10**9, "heads": 2}),
            "width=1000000000 is too large"),
        (lambda f: change(f / "dit/config.json", config={"depth": 256, "width": 65536, "heads": 1024}),
            "don't fit their config"),
        (lambda f: change(f / "dit/config.json", config={"depth": True}), "depth=True is not a whole number"),
        (lambda f: change(f / "dit/config.json", config={"ffn_ratio": 10**30}), "is too large"),
        (lambda f: change(f / "dit/config.json", config={"patch": [1, 10**9, 1]}), "is too large"),
        (lambda f: change(f / "dit/config.json", config={"patch": [1] * 10**5}), "entries: at most"),
        (lambda f: change(f / "dit/config.json", config=[]), "is not a weights config"),
        (lambda f: change(f / "dit/config.json", kind=["dit"]), "is not a weights config"),
        (lambda f: change(f / "vae/config.json", config={"base_channels": 10**9}), "is too large"),
        (lambda f: change(f / "vae/config.json", config={"encoder_blocks": 10**6}), "is too large"),
        (lambda f: published(f, dim_mult=[2] * 10**5), "entries; at most"),
        (lambda f: published(f, num_res_blocks=10**6), "is too large"),
        (lambda f: change(f / "vae/config.json", _class_name=["a"]), "is not known"),
        (lambda f: (f / "dit/model.safetensors").write_bytes(struct.pack("<Q", 10**9)),
            "its head would have"),
        (lambda f: (f / "dit/model.safetensors").write_bytes(struct.pack("<Q",
            10**7) + b'{"a":{"dtype":"F32"},' * 400_000), "names 400,000 tensors"),
        (lambda f: os.truncate(f / "vae/model.safetensors", 2**43), "don't fit|cut off|memory"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_is_a_burden_is_one_line(evil, capsys, spoil, told):
    spoil(evil)
    code, line, took_s = generate(capsys)
    assert code in (1, 2)
    assert re.search(told, line), line
    assert len(line.strip().splitlines()) == 1
    assert took_s < 5, "two seconds and what a busy machine adds"


def test_a_file_that_names_a_folder_beside_the_victim_has_nothing_run(evil, capsys, tmp_path):
    tiny_clip(evil / "text")
    settings = json.loads((evil / "text/open_clip_config.json").read_text())
    settings["model_cfg"]["text_cfg"] |= {
        "hf_tokenizer_name": "x",
        "tokenizer_kwargs": {"trust_remote_code": True},
    }
    (evil / "text/open_clip_config.json").write_text(json.dumps(settings))
    add_remote_code(evil / "text")
    for name in ("clip:local-dir:evil/text@pooled", "clip:local-dir:text@pooled"):
        change(evil / "pipeline.json", text_encoder=name)
        for more in ((), (f"text_encoder={name.replace('dir:text', 'dir:evil/text')}",)):
            code, line, _ = generate(capsys, *more)
            assert code in (1, 2)
            assert len(line.strip().splitlines()) == 1
    assert not (tmp_path / MARKER).exists()


def test_an_encoder_inside_the_checkpoint_and_one_the_user_names_both_work(evil, capsys, tmp_path):
    """A network that reads other channels than this encoder makes says so: the encoder was loaded and told
    apart."""
    from model.text.registry import text_encoder

    tiny_text(evil / "text", "t5")
    mark = text_encoder(f"t5:{evil / 'text'}").fingerprint
    change(evil / "pipeline.json", text_encoder="t5:text", text_encoder_fingerprint=mark)
    assert generate(capsys)[0] == 1  # 32 channels, not 384
    change(evil / "pipeline.json", text_encoder="t5:/elsewhere", text_encoder_fingerprint="0")
    code, line, _ = generate(capsys, "text_encoder=minilm")
    assert (code, "has other weights" in line) == (1, True)


def dataset(folder, index: bytes | None = None, **settings) -> LocalStore:
    """A dataset of one clip, or of any table."""
    store = LocalStore(folder)
    row = {
        "clip_id": "0" * 32,
        "video_id": "1" * 32,
        "source_uri": "/nowhere.mp4",
        "status": "rejected",
        "start_s": 0.0,
        "end_s": 1.0,
    }
    data = parquet_bytes(table([row], INDEX)) if index is None else index
    key = f"index/{hash_bytes(data)}.parquet"
    store.put_new(key, data)
    recipe = {"name": "permissive", "hash": "0", "rules": []}
    publish(store, 0, Manifest(SCHEMA_VERSION, (), (key,), (), (), (), recipe, {}, settings))
    return store


READERS = ("inspect", "clips", "report", "verify", "select", "requeue", "clean")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda m: "[" * 10**5, "nested more than 64 deep"),
        (lambda m: "[]", "holds no object"),
        (lambda m: json.dumps(m | {"shards": [{"id": 1}]}), "is no shard"),
        (lambda m: json.dumps(m | {"shards": 10**9}), "its shards is not what it should be"),
        (lambda m: json.dumps(m | {"index": ["a", 7]}), "names 7, which is no key"),
        (lambda m: json.dumps(m | {"index": ["../../etc/passwd"]}),
            "index of .* can't be read|is no key of a dataset"),
        (lambda m: json.dumps(m | {"schema": "x"}), "its schema is not what it should be"),
        (lambda m: json.dumps(m | {"schema": 99}), "later version"),
        (lambda m: json.dumps(m | {"recipe": {}}), "its recipe has no name"),
        (lambda m: json.dumps({k: v for k, v in m.items() if k != "captions"}), "its captions is not"),
    ],
)  # fmt: skip
def test_a_manifest_that_is_none_is_one_line_for_every_reader(tmp_path, capsys, spoil, told):
    store = dataset(tmp_path / "d")
    path = tmp_path / "d/manifests/000001.json"
    path.write_text(spoil(json.loads(path.read_text())))
    for job in READERS:
        code, line, took_s = said(capsys, job, f"dataset={tmp_path / 'd'}")
        assert took_s < 5
        if "index" in told and job in ("requeue", "clean"):  # which read no index
            continue
        assert code in (1, 2), (job, line)
        assert len(line.strip().splitlines()) == 1, line
        assert job == "verify" or re.search(told, line), (job, line)
    assert store.exists("manifests/000001.json")


def test_a_manifest_or_a_table_of_gigabytes_is_not_read(tmp_path, capsys):
    dataset(tmp_path / "a")
    os.truncate(tmp_path / "a/manifests/000001.json", 2**31)
    repeated = pa.DictionaryArray.from_arrays(np.zeros(10**5, np.int32), ["x" * 10**6])
    dataset(tmp_path / "b", parquet_bytes(pa.table({"clip_id": repeated})))
    for name, told in (("a", "at most 67,108,864"), ("b", "in memory, and at most")):
        code, line, took_s = said(capsys, "clips", f"dataset={tmp_path / name}")
        assert code in (1, 2)
        assert told in line
        assert len(line.strip().splitlines()) == 1
        assert took_s < 5


@pytest.mark.parametrize("clip_id", ["../../evil", "/etc/evil", "a/b", "", "x" * 200, "a\n"])
def test_an_id_that_leads_into_another_folder_is_none(tmp_path, capsys, clip_id):
    row = {"clip_id": clip_id, "video_id": "1" * 32, "status": "kept", "shard": "s", "bucket": "b"}
    dataset(tmp_path / "d", parquet_bytes(table([row], INDEX)))
    code, line, _ = said(capsys, "clips", f"dataset={tmp_path / 'd'}")
    assert code in (1, 2)
    assert "is no name" in line
    code, line, _ = said(capsys, "verify", f"dataset={tmp_path / 'd'}")
    assert code == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"scores": {"clip_model": "local-dir:/evil"}},
        {"scores": {"dover": "/evil/dover.onnx"}},
        {
            "scores": {
                "clip_model": "ViT-B-32",
                "clip_pretrained": "openai",
                "clip_aesthetic": "/evil/head.pth",
            }
        },
    ],
)
def test_a_model_that_a_dataset_names_is_shown_and_not_used(tmp_path, capsys, settings):
    dataset(tmp_path / "d", **settings)
    given = [f"scores.{name}={value}" for name, value in settings["scores"].items()]
    for job, *more in (("select",), ("requeue",), ("clean", "stages=true")):
        code, line, _ = said(capsys, job, f"dataset={tmp_path / 'd'}", *more)
        assert code == 2
        assert all(key in line for key in given)
        assert len(line.strip().splitlines()) == 1
        code, line, _ = said(capsys, job, f"dataset={tmp_path / 'd'}", *more, *given[:-1], f"{given[-1]}x")
        assert code == 2
    for job in ("verify", "inspect", "clips"):
        assert "evil" not in said(capsys, job, f"dataset={tmp_path / 'd'}")[1]


def test_what_is_given_again_is_as_it_was_curated(tmp_path, monkeypatch):
    from jobs.curation.config import UserModels
    from jobs.upkeep.settings import dataset_config

    dataset(
        tmp_path / "d",
        scores={"dover": str(tmp_path / "dover.onnx")},
        ray={"address": "evil:1"},
        recipe={"name": "/evil.yaml"},
    )
    monkeypatch.chdir(tmp_path)
    curated = dataset_config("d", UserModels(dover="dover.onnx"))
    assert curated.scores.dover == str(tmp_path / "dover.onnx")
    assert (curated.ray.address, curated.recipe.name) == (None, "default")
    assert dataset_config("d").scores.dover is None
    with pytest.raises(ValueError, match="is not what dataset=d was curated with"):
        dataset_config("d", UserModels(dover="dover.onnx", clip_model="ViT-B-32"))


@pytest.mark.parametrize(
    "settings",
    [
        {"limits": {"memory_bytes": 2**60}},
        {"limits": {"deadline_s": float("nan")}},
        {"limits": {"deadline_s": float("inf")}},
        {"evil": 1},
        {"shots": []},
    ],
)
def test_settings_out_of_their_limits_are_one_line(tmp_path, capsys, settings):
    dataset(tmp_path / "d", **settings)
    code, line, _ = said(capsys, "select", f"dataset={tmp_path / 'd'}")
    assert code == 2
    assert "was curated with settings that this version does not know" in line


def test_a_recipe_of_a_dataset_opens_no_file(tmp_path):
    from pipelines.recipes.recipe import manifest_rules

    (tmp_path / "evil.yaml").write_text("rules: []")
    assert manifest_rules({"name": str(tmp_path / "evil.yaml"), "hash": "0"}) is None
    with pytest.raises(ValueError, match="expected a list 'rules'"):
        manifest_rules({"name": "x", "rules": {"a": 1}})


@pytest.mark.parametrize(
    "content", ["a: &a [1]\nb: *a\n", "[" * 5000, "rules: [" + "{score: a, min: 1}, " * 20_000 + "]"]
)
def test_a_recipe_that_is_a_bomb_is_one_line(tmp_path, content):
    from pipelines.recipes.files import read_recipe

    path = tmp_path / "bomb.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"recipe\.name") as refused:
        read_recipe(str(path), "recipe.name=bomb")
    assert len(str(refused.value).splitlines()) == 1


def test_a_training_from_a_hostile_checkpoint_or_latents_is_one_line(evil, tmp_path, capsys):
    store = dataset(tmp_path / "d")
    store.put_new(
        "latents/f/manifests/000001.json",
        b'{"schema_version": 3, "index": "index/x.parquet", "latent_channels": 1e9}',
    )
    arguments = ("train", f"dataset={tmp_path / 'd'}", f"out={tmp_path / 'out'}", "init=evil")
    code, line, _ = said(capsys, *arguments)
    assert (code, len(line.strip().splitlines())) == (2, 1)
    assert "latent_channels" in line
    assert newest(store)[0] == 1
