"""A store publishes whole objects, once: one set of laws, for a folder and for S3."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.storage.base import Store
from pipelines.storage.local_store import LocalStore
from pipelines.storage.open_store import open_store


@pytest.fixture(params=["folder", "s3"])
def store(request, tmp_path) -> Store:
    if request.param == "folder":
        return LocalStore(tmp_path)
    return open_store(f"s3://{request.getfixturevalue('s3').new_bucket()}/a/dataset")


def test_of_many_writers_of_one_key_exactly_one_succeeds_and_its_bytes_stay(store):
    for number in range(5):
        key = f"manifests/{number:06d}.json"
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda k, key=key: store.put_new(key, f"writer {k}".encode()), range(16)))
        assert won.count(True) == 1
        assert store.read(key) == f"writer {won.index(True)}".encode()


def test_a_file_from_scratch_is_published_and_scratch_leaves_nothing(store):
    with store.scratch() as folder:
        (folder / "work").write_bytes(b"tar")
        assert store.put_new("shards/a.tar", folder / "work")
        assert not store.put_new("shards/a.tar", folder / "work")
    assert store.read("shards/a.tar") == b"tar"
    assert not folder.exists()


def test_ranges_are_exact_or_an_error(store):
    store.put_new("a", b"0123456789")
    store.put_new("empty", b"")
    assert store.read_range("a", 3, 4) == b"3456"
    assert store.read_range("a", 0, 10) == store.read("a") == b"0123456789"
    assert store.read("empty") == b""
    with pytest.raises(EOFError, match="ends 2 bytes before"):
        store.read_range("a", 8, 4)
    with pytest.raises(EOFError):
        store.read_range("a", 10, 1)
    with pytest.raises(FileNotFoundError):
        store.read("b")
    with pytest.raises(FileNotFoundError):
        store.read_range("b", 0, 1)


def test_listing_is_sorted_and_only_below_the_prefix(store):
    for key in ("stages/b/2", "stages/a/1", "stages/b/1", "stages/b/1.x/y", "stages/bb/1", "index/x"):
        store.put_new(key, b"abc")
    assert list(store.list("stages/b/")) == ["stages/b/1", "stages/b/1.x/y", "stages/b/2"]
    assert list(store.list("nothing/")) == []
    assert len(list(store.list(""))) == 6
    entries = list(store.entries("index/"))
    assert [(entry.key, entry.size_bytes) for entry in entries] == [("index/x", 3)]
    assert entries[0].modified_s > 1_700_000_000


def test_what_is_deleted_is_gone_and_may_be_published_again(store):
    assert store.put_new("a/b/c", b"1")
    store.delete("a/b/c")
    store.delete("a/b/c")
    assert not store.exists("a/b/c")
    assert list(store.list("")) == []
    assert store.put_new("a/b/c", b"2")
    assert store.exists("a/b/c")
    assert not store.exists("a/b")


@pytest.mark.parametrize("key", ["../outside", "/etc/passwd", "a/../../b", ""])
def test_no_key_leads_outside_of_the_dataset(store, key):
    with pytest.raises(ValueError, match="is no key"):
        store.put_new(key, b"")


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
    left = tmp_path / ".scratch" / "tmpleft_456"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"12345")
    for path in (left / "half", left):
        os.utime(path, (1_000, 1_000))
    with store.scratch() as living:
        (living / "work").write_bytes(b"")
        assert [(e.key, e.size_bytes, e.modified_s) for e in store.abandoned(60)] == [
            (".scratch/tmpleft_456", 5, 1_000)
        ]
        for entry in store.abandoned(60):
            store.discard(entry)
            store.discard(entry)
        assert living.is_dir()
        assert not left.exists()
        assert list(store.list("")) == []


@pytest.mark.parametrize("uri", ["gs://bucket/dataset", "https://host/dataset"])
def test_an_unknown_scheme_is_named_with_the_way_out(uri):
    with pytest.raises(
        ValueError, match=r"scheme '\w+' is not known; use a local path, file:///path or s3://"
    ):
        open_store(uri)


def test_a_file_uri_is_a_path(tmp_path):
    assert open_store(f"file://{tmp_path}/a%20b").uri == f"{tmp_path}/a b"


def test_an_s3_uri_without_a_bucket_says_so():
    with pytest.raises(ValueError, match="names no bucket"):
        open_store("s3:///prefix")


def test_a_home_that_nobody_knows_is_said_to_be_none():
    with pytest.raises(ValueError, match=r"dataset=~nobody-of-this-name/x: no home folder is known"):
        open_store("~nobody-of-this-name/x")
