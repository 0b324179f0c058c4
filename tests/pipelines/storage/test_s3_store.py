"""What is special about a dataset in S3: parts, claims, pages, refusals, a server that dies."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.storage import s3 as s3_door
from pipelines.storage import s3_store
from pipelines.storage.open_store import open_store
from pipelines.storage.s3_store import S3Store
from tests.support.s3_server import READ_ONLY_KEY, READ_ONLY_SECRET, S3Server

MIB = 1024**2


@pytest.fixture
def small_parts(monkeypatch):
    """Two parts are enough to have parts."""
    monkeypatch.setattr(s3_store, "WHOLE_BYTES", 5 * MIB)
    monkeypatch.setattr(s3_store, "PART_BYTES", 5 * MIB)


@pytest.fixture
def store(s3) -> S3Store:
    return open_store(f"s3://{s3.new_bucket()}/dataset")


def _left(s3: S3Server, store: S3Store) -> list[str]:
    """Everything in the bucket that is no object of the dataset: uploads, probes, claims."""
    client = s3.client()
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=store.bucket).get("Contents", ())]
    uploads = [item["Key"] for item in client.list_multipart_uploads(Bucket=store.bucket).get("Uploads", ())]
    return [key for key in keys if "/." in key] + uploads


def test_large_objects_go_up_in_parts_and_leave_nothing_else(s3, store, small_parts, tmp_path):
    data = bytes(range(256)) * (11 * MIB // 256) + b"end"
    (tmp_path / "file").write_bytes(data)
    assert store.put_new("file", tmp_path / "file")
    assert store.put_new("bytes", data)
    assert not store.put_new("file", data)
    assert store.read("file") == store.read("bytes") == data
    assert store.read_range("file", 5 * MIB - 3, 6) == data[5 * MIB - 3 : 5 * MIB + 3]
    assert s3.client().head_object(Bucket=store.bucket, Key="dataset/file")["ETag"].endswith('-3"')
    assert _left(s3, store) == []


def test_of_many_writers_in_parts_exactly_one_succeeds(s3, store, small_parts):
    for number in range(4):
        with ThreadPoolExecutor(4) as pool:
            won = list(
                pool.map(lambda k, key=f"{number}": store.put_new(key, bytes([k]) * (6 * MIB)), range(4))
            )
        assert won.count(True) == 1
        assert store.read(f"{number}") == bytes([won.index(True)]) * (6 * MIB)
    assert _left(s3, store) == []


def test_the_upload_of_a_writer_that_died_after_its_claim_is_completed_by_the_next(
    s3, store, small_parts, monkeypatch
):
    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(S3Store, "_complete", die)
        patch.setattr(S3Store, "_abort", lambda *_: None)
        with pytest.raises(Killed):
            store.put_new("key", b"1" * (6 * MIB))
    assert not store.exists("key")
    assert not store.put_new("key", b"2" * (6 * MIB))
    assert store.read("key") == b"1" * (6 * MIB)
    assert _left(s3, store) == []


def test_a_failed_upload_is_aborted(s3, store, small_parts, monkeypatch):
    read = s3_store._piece

    def failing(content, offset, size):
        if offset:
            raise OSError("the disk is gone")
        return read(content, offset, size)

    monkeypatch.setattr(s3_store, "_piece", failing)
    with pytest.raises(OSError, match="the disk is gone"):
        store.put_new("key", b"1" * (11 * MIB))
    assert not store.exists("key")
    assert _left(s3, store) == []


def test_uploads_of_killed_writers_are_found_and_discarded(s3, store, small_parts):
    client = s3.client()
    started = client.create_multipart_upload(Bucket=store.bucket, Key="dataset/shards/a.tar")
    client.upload_part(
        Bucket=store.bucket,
        Key="dataset/shards/a.tar",
        UploadId=started["UploadId"],
        PartNumber=1,
        Body=b"x" * 10,
    )
    client.create_multipart_upload(Bucket=store.bucket, Key="other/shards/b.tar")
    assert list(store.abandoned(older_than_s=3600)) == []
    found = list(store.abandoned(older_than_s=-60))
    assert [(entry.key, entry.size_bytes) for entry in found] == [("shards/a.tar", 10)]
    for entry in found:
        store.discard(entry)
        store.discard(entry)
    assert list(store.abandoned(older_than_s=-60)) == []
    assert _left(s3, store) == ["other/shards/b.tar"]


def test_a_listing_of_many_keys_is_a_stream_of_pages(store, monkeypatch):
    monkeypatch.setattr(s3_door, "PAGE_KEYS", 100)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda k: store.put_new(f"stages/{k:05d}", b""), range(260)))
    asked = []
    s3_door.client().meta.events.register("before-call.s3.ListObjectsV2", lambda **_: asked.append(1))
    keys = store.list("stages/")
    assert next(keys) == "stages/00000"
    assert len(asked) == 1
    assert list(keys) == [f"stages/{k:05d}" for k in range(1, 260)]
    assert len(asked) == 3


def test_an_answer_that_was_lost_is_no_lost_race(store, monkeypatch):
    """The put arrives, its answer does not; sent again it meets its own object."""
    send = s3_door.request_with_retries
    lost = []

    def losing(action, uri, *patience):
        result = send(action, uri, *patience)
        if uri.endswith("/key") and not lost:
            lost.append(uri)
            return send(action, uri, *patience)
        return result

    store.put_new("before", b"")  # the probe is not what is tested
    monkeypatch.setattr(s3_store.s3, "request_with_retries", losing)
    assert store.put_new("key", b"mine")
    assert lost
    assert not store.put_new("key", b"mine")


def test_a_server_that_takes_no_notice_of_conditions_is_refused(s3, store):
    client = s3_door.client()

    def drop(params, **_):
        params["headers"].pop("If-None-Match", None)

    client.meta.events.register("before-call.s3.PutObject", drop)
    try:
        with pytest.raises(ValueError, match="takes no notice of If-None-Match"):
            store.put_new("key", b"1")
    finally:
        client.meta.events.unregister("before-call.s3.PutObject", drop)
    assert store.put_new("key", b"1")
    assert _left(s3, store) == []


def test_what_is_wrong_with_access_is_said_with_the_way_out(s3, store, monkeypatch):
    with pytest.raises(
        FileNotFoundError, match=r"there is no bucket 'no-such-bucket' at http://127.*; make it"
    ):
        open_store("s3://no-such-bucket/a").put_new("a", b"")
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", READ_ONLY_KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", READ_ONLY_SECRET)
        assert list(store.list("")) == []
        with pytest.raises(
            PermissionError, match=r"access to bucket '.*' at http.* was refused \(AccessDenied\)"
        ):
            store.put_new("a", b"")
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
        patch.setenv("AWS_CONFIG_FILE", "/nowhere")
        with pytest.raises(PermissionError, match=r"no credentials for S3 .*; set AWS_ACCESS_KEY_ID"):
            store.exists("a")
        patch.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(ValueError, match=r"nobody.*; look at AWS_PROFILE"):
            store.exists("a")
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        with (
            s3_door.short_timeouts(),
            pytest.raises(
                ConnectionError, match=r"S3 at http://127.0.0.1:9 does not answer .*AWS_ENDPOINT_URL_S3"
            ),
        ):
            s3_door.open_object(f"s3://{store.bucket}/a")


def test_a_server_killed_and_started_again_in_the_middle_loses_and_repeats_nothing(
    tmp_path, monkeypatch, small_parts
):
    server = S3Server(tmp_path / "server")
    try:
        server.start()
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        store = open_store(f"s3://{server.new_bucket()}/dataset")
        store.put_new("large", b"l" * (12 * MIB))

        def work(k: int) -> tuple[bool, bytes, int]:
            time.sleep(0.02 * k)
            return (
                store.put_new(f"{k:03d}", b"%d" % k * 100),
                store.read(f"{k:03d}"),
                len(store.read("large")),
            )

        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(work, k) for k in range(40)]
            parts = pool.submit(store.put_new, "parts", b"p" * (12 * MIB))
            time.sleep(0.5)
            server.kill()
            time.sleep(0.5)
            server.start()
            assert [future.result(timeout=100) for future in futures] == [
                (True, b"%d" % k * 100, 12 * MIB) for k in range(40)
            ]
            assert parts.result(timeout=100)
        assert store.read("parts") == b"p" * (12 * MIB)
        assert list(store.list("")) == [f"{k:03d}" for k in range(40)] + ["large", "parts"]
        assert _left(server, store) == []
    finally:
        server.kill()
