"""Cached latents: what is written is what is read, whatever the memory layout, and the bytes are
reproducible."""

import json

import numpy as np
import pytest

from pipelines.dataset.latents import (
    EncodedClip,
    commit,
    fingerprints,
    has_shard,
    open_latents,
    shard_key,
    write_shard,
)
from pipelines.storage.open_store import open_store

FACTS = {"latent_channels": 4}


def clip(clip_id: str, seed: int) -> EncodedClip:
    """A clip with two windows, one of them permuted in memory as encoders give it."""
    rng = np.random.default_rng(seed)
    windows = {0: rng.normal(size=(3, 4, 2, 4)).transpose(3, 0, 1, 2), 1: rng.normal(size=(4, 1, 4, 2))}
    texts = {"short": rng.normal(size=(5, 8)), "dense": rng.normal(size=(8, 9)).T}
    rows = [
        {
            "clip_id": clip_id, "window": i, "split": "train", "start_s": 0.5 * i,
            "num_frames": 4 * z.shape[1] - 3, "fps": 8.0,
            "height": 8 * z.shape[2], "width": 8 * z.shape[3],
            "latent_frames": z.shape[1], "latent_height": z.shape[2], "latent_width": z.shape[3],
        }
        for i, z in windows.items()
    ]  # fmt: skip
    pieces = {
        (4 * seed, 1): rng.normal(size=(4, 1, 4, 2)),
        (4 * seed + 4, 5): rng.normal(size=(2, 4, 2, 4)).transpose(3, 0, 2, 1),
    }
    return EncodedClip(clip_id, windows, pieces, texts, rows)


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path))


def test_what_a_desktop_leaves_beside_latents_is_passed_over(store, tmp_path):
    write_shard(store, "f0", "16x9", "s1", [clip("aa", 1)])
    first = commit(store, "f0", 1, [("16x9", "s1")], FACTS)
    for name in (
        "f0/manifests/._000001.json",
        "f0/manifests/000009 (copy).json",
        "old/manifests/notes.json",
        "._f0",
    ):
        (tmp_path / "latents" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "latents" / name).write_bytes(b"not ours")
    assert fingerprints(store) == ["f0"]
    assert open_latents(store, None).manifest["latent_channels"] == 4
    assert commit(store, "f0", 1, [("16x9", "s1")], FACTS) == first == "latents/f0/manifests/000001.json"
    assert commit(store, "f0", 2, [("16x9", "s1")], FACTS) == "latents/f0/manifests/000002.json"


def test_what_is_written_is_read_back_whatever_its_memory_layout(store):
    clips = [clip("aa", 1), clip("bb", 2)]
    assert not has_shard(store, "f0", "16x9", "s1")
    write_shard(store, "f0", "16x9", "s1", clips)
    assert has_shard(store, "f0", "16x9", "s1")
    commit(store, "f0", 1, [("16x9", "s1")], FACTS)
    latents = open_latents(store, None)
    assert latents.manifest["latent_channels"] == 4
    for one in clips:
        for window, z in one.windows.items():
            np.testing.assert_array_equal(latents.window(one.clip_id, window), z.astype(np.float16))
            row = latents.rows[one.clip_id, window]
            assert (row.latent_frames, row.latent_height, row.latent_width) == z.shape[1:]
        for (first, length), z in one.pieces.items():  # windows 0 and 1 begin at frames 0 and 4
            for window, begin in ((0, 0), (1, 4)):
                got = latents.piece(one.clip_id, window, first - begin, length)
                np.testing.assert_array_equal(got, z.astype(np.float16))
        for kind, e in one.texts.items():
            np.testing.assert_array_equal(latents.texts(one.clip_id, 0)[kind], e.astype(np.float16))


def test_the_order_of_clips_changes_no_byte(store, tmp_path_factory):
    other = open_store(str(tmp_path_factory.mktemp("other")))
    write_shard(store, "f0", "b", "s", [clip("aa", 1), clip("bb", 2)])
    write_shard(other, "f0", "b", "s", [clip("bb", 2), clip("aa", 1)])
    key = shard_key("f0", "b", "s")
    assert store.read(key) == other.read(key)


def test_choosing_among_latents(store):
    with pytest.raises(FileNotFoundError, match="make them with: rushes encode"):
        open_latents(store, None)
    for name in ("f0", "f1"):
        write_shard(store, name, "b", "s", [clip("aa", 1)])
        commit(store, name, 1, [("b", "s")], FACTS)
    with pytest.raises(ValueError, match="choose one with latents="):
        open_latents(store, None)
    with pytest.raises(FileNotFoundError, match="it has f0, f1"):
        open_latents(store, "f2")
    assert open_latents(store, "f1").fingerprint == "f1"


@pytest.mark.parametrize(("schema", "todo"), [(1, "encode again"), (9, "use one that reads 9")])
def test_latents_of_another_schema_say_what_to_do(store, schema, todo):
    write_shard(store, "f0", "b", "s", [clip("aa", 1)])
    manifest = commit(store, "f0", 1, [("b", "s")], FACTS)
    changed = json.loads(store.read(manifest)) | {"schema_version": schema}
    store.delete(manifest)
    store.put_new(manifest, json.dumps(changed).encode())
    with pytest.raises(
        ValueError, match=f"latents f0 in .* have schema {schema}, this version reads 2 and 3; .*{todo}$"
    ):
        open_latents(store, "f0")
