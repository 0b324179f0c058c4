"""What is written is on the disk before it has its name, and its name before the call returns."""

import os
import threading

import numpy as np
import pytest
import torch

from model.checkpoint.shards import atomic_write as publish_weights
from model.checkpoint.shards import write_state
from pipelines.cutting.write_mp4 import write_mp4
from pipelines.durable import atomic_write, write_bytes, write_text
from pipelines.storage.local_store import LocalStore
from tests.support.disk import NAME, check_durable, record_events


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_text(path, "new"),
        lambda path: write_bytes(path, b"new"),
        lambda path: atomic_write(path, lambda new: new.write_bytes(b"new")),
        lambda path: publish_weights(path, lambda new: new.write_bytes(b"new")),
    ],
)
def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, write):
    path, victim = tmp_path / "out.json", tmp_path / "victim"
    victim.write_bytes(b"old")
    path.symlink_to(victim)
    with record_events() as events:
        write(path)
    check_durable(events, path)
    assert path.read_bytes() == b"new"
    assert victim.read_bytes() == b"old", "a link is replaced, not written through"
    assert not path.is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json", "victim"]


def test_an_object_of_a_dataset_is_on_the_disk_before_it_has_its_name(tmp_path):
    store = LocalStore(tmp_path)
    with record_events() as events:
        assert store.put_new("manifests/000001.json", b"{}")
        with store.scratch() as folder:
            (folder / "shard.tar").write_bytes(b"tar")
            assert store.put_new("shards/b/c.tar", folder / "shard.tar")
    check_durable(events, tmp_path / "manifests" / "000001.json")
    check_durable(events, tmp_path / "shards" / "b" / "c.tar")
    made = {path for what, path, _ in events if what == "sync"}
    assert {str(tmp_path), str(tmp_path / "shards")} <= made, "the names of new folders, too"


def test_weights_are_on_the_disk_before_the_first_is_renamed_and_before_older_ones_go(tmp_path):
    state = {f"t{i}": torch.zeros(64) for i in range(4)}
    write_state(tmp_path, "model.safetensors", state)
    with record_events() as events:
        write_state(tmp_path, "model.safetensors", state, shard_bytes=300)
    names = [f"model-{i:05d}-of-00004.safetensors" for i in range(1, 5)]
    first = min(i for i, event in enumerate(events) if event[0] == NAME)
    for name in names:
        check_durable(events, tmp_path / name)
    assert sum(event[0] == "sync" for event in events[:first]) == 4
    check_durable(events, tmp_path / "model.safetensors.index.json")


def test_a_video_is_on_the_disk_before_it_has_its_name(tmp_path):
    with record_events() as events:
        write_mp4(tmp_path / "v.mp4", np.zeros((2, 16, 16, 3), np.uint8), 8)
    check_durable(events, tmp_path / "v.mp4")


@pytest.mark.parametrize(
    "write", [write_text, lambda path, text: publish_weights(path, lambda new: new.write_text(text))]
)
def test_writers_with_one_process_number_do_not_disturb_each_other(tmp_path, write, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)
    texts = [str(k) * 10_000 for k in range(8)]
    threads = [
        threading.Thread(target=lambda t=t: [write(tmp_path / "a", t) for _ in range(5)]) for t in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_text() in texts
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_could_not_be_written_leaves_what_was_there_and_nothing_else(tmp_path):
    (tmp_path / "a").write_text("old")

    def fails(new):
        new.write_text("half")
        raise OSError("no space")

    for one in (atomic_write, publish_weights):
        with pytest.raises(OSError, match="no space"):
            one(tmp_path / "a", fails)
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
