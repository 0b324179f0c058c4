"""A store publishes whole objects, once."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.store import LocalStore, open_store


def test_of_many_writers_of_one_key_exactly_one_succeeds_and_its_bytes_stay(tmp_path):
    store = LocalStore(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda k: store.put_new("manifests/000001.json", f"writer {k}".encode()), range(16)))
    assert won.count(True) == 1
    assert store.read("manifests/000001.json") == f"writer {won.index(True)}".encode()


def test_a_file_from_scratch_is_published_and_scratch_leaves_nothing(tmp_path):
    store = LocalStore(tmp_path)
    with store.scratch() as folder:
        (folder / "work").write_bytes(b"tar")
        assert store.put_new("shards/a.tar", folder / "work")
    assert store.read("shards/a.tar") == b"tar"
    assert not list((tmp_path / ".scratch").iterdir())


def test_ranges_are_exact_or_an_error(tmp_path):
    store = LocalStore(tmp_path)
    store.put_new("a", b"0123456789")
    assert store.read_range("a", 3, 4) == b"3456"
    with pytest.raises(EOFError, match="ends 2 bytes before"):
        store.read_range("a", 8, 4)
    with pytest.raises(FileNotFoundError):
        store.read("b")


def test_listing_is_sorted_and_only_below_the_prefix(tmp_path):
    store = LocalStore(tmp_path)
    for key in ("stages/b/2", "stages/a/1", "stages/b/1", "index/x"):
        store.put_new(key, b"")
    assert list(store.list("stages/b/")) == ["stages/b/1", "stages/b/2"]
    assert list(store.list("nothing/")) == []


@pytest.mark.parametrize("key", ["../outside", "/etc/passwd", "a/../../b", ""])
def test_no_key_leads_outside_of_the_dataset(tmp_path, key):
    with pytest.raises(ValueError, match="is no key"):
        LocalStore(tmp_path).put_new(key, b"")


def test_an_unknown_scheme_is_named_with_the_way_out():
    with pytest.raises(ValueError, match=r"scheme 'gs' is not known; use a local path"):
        open_store("gs://bucket/dataset")


def test_a_file_uri_is_a_path(tmp_path):
    assert open_store(f"file://{tmp_path}/a%20b").uri == f"{tmp_path}/a b"


def test_deleting_while_others_publish_in_the_same_folder_loses_nothing(tmp_path):
    store = LocalStore(tmp_path)

    def work(k: int) -> bool:
        published = store.put_new(f"a/b/{k}", b"x")
        if k % 2:
            store.delete(f"a/b/{k}")
        return published

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))
    assert set(store.list("")) == {f"a/b/{k}" for k in range(0, 200, 2)}
    for key in list(store.list("")):
        store.delete(key)
    store.delete("a/b/0")
    assert not (tmp_path / "a").exists()


def test_scratch_left_by_a_killed_process_is_found_only_once_it_is_old(tmp_path):
    store = LocalStore(tmp_path)
    left = tmp_path / ".scratch" / "left"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"12345")
    for path in (left / "half", left):
        os.utime(path, (1_000, 1_000))
    with store.scratch() as living:
        (living / "work").write_bytes(b"")
        assert [(e.key, e.size_bytes, e.modified_s) for e in store.abandoned(60)] == [(".scratch/left", 5, 1_000)]
        for entry in store.abandoned(60):
            store.discard(entry)
            store.discard(entry)
        assert living.is_dir()
        assert not left.exists()
        assert list(store.list("")) == []
