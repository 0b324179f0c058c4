"""Footage in S3 is found like footage in a folder."""

import pytest
from botocore.exceptions import ClientError

from pipelines.errors import MediaError
from pipelines.footage import s3_listing
from pipelines.footage.listing import check_footage, find_footage, recheck_source
from pipelines.ids import hash_bytes
from pipelines.records import Source
from pipelines.storage import s3 as s3_door
from tests.support.s3_server import ONLY_BUCKET, ONLY_KEY, ONLY_SECRET

_MP4 = b"\x00\x00\x00\x18ftypisom" + b"\x00" * 64


@pytest.fixture
def bucket(s3):
    bucket, client = s3.new_bucket(), s3.client()
    objects = {
        "raw/deep/b.mp4": _MP4,
        "raw/a.MOV": b"whatever it claims",
        "raw/IMG_0001": _MP4,
        "raw/notes.txt": b"shot on a sunny day",
        "raw/.hidden/c.mp4": _MP4,
        "raw/.DS_Store": b"x",
        "raw/empty/": b"",
        "other/d.mp4": _MP4,
        "lists/list.csv": f"uri,text,license\ngone.mp4,,\n../e.mp4,,\ne.mp4,a harbour,CC0\ns3://{bucket}/raw/a.MOV,,\n".encode(),
        "lists/e.mp4": _MP4,
    }
    for key, body in objects.items():
        client.put_object(Bucket=bucket, Key=key, Body=body)
    return bucket


def _keys(found, bucket):
    return [source.uri.removeprefix(f"s3://{bucket}/") for source in found.sources]


@pytest.mark.parametrize("end", ["raw", "raw/"])
def test_a_prefix_is_taken_by_name_and_by_content_and_the_rest_is_ignored(bucket, end):
    found = find_footage(f"s3://{bucket}/{end}")
    assert _keys(found, bucket) == ["raw/IMG_0001", "raw/a.MOV", "raw/deep/b.mp4"]
    assert [item.uri for item in found.ignored] == [f"s3://{bucket}/raw/notes.txt"]
    assert found.missing == ()
    head = s3_door.open_object(f"s3://{bucket}/raw/a.MOV")
    assert found.sources[1] == Source(head.uri, 18, head.etag)


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("raw/**/*.mp4", ["raw/deep/b.mp4"]),
        ("*/*.mp4", ["lists/e.mp4", "other/d.mp4"]),
        ("raw/IMG_000[0-9]", ["raw/IMG_0001"]),
        ("raw/?.[!M]OV", []),
        ("raw/?.[M]OV", ["raw/a.MOV"]),
        ("raw/deep/b.mp4", ["raw/deep/b.mp4"]),
    ],
)
def test_a_glob_or_an_object_takes_what_it_matches(bucket, pattern, keys):
    if not keys:
        with pytest.raises(FileNotFoundError, match="nothing is there"):
            find_footage(f"s3://{bucket}/{pattern}")
        return
    assert _keys(find_footage(f"s3://{bucket}/{pattern}"), bucket) == keys


def test_a_list_in_s3_or_here_names_objects_and_says_what_it_knows(bucket, tmp_path):
    found = find_footage(f"s3://{bucket}/lists/list.csv")
    assert _keys(found, bucket) == ["lists/e.mp4", "raw/a.MOV"]
    assert (found.sources[0].text, found.sources[0].license) == ("a harbour", "CC0")
    gone, climbing = found.missing
    assert gone.source_uri == f"s3://{bucket}/lists/gone.mp4"
    assert "nothing is there" in gone.message
    assert "write the URI out" in climbing.message
    (tmp_path / "local.mp4").write_bytes(_MP4)
    (tmp_path / "list.txt").write_text(f"local.mp4\ns3://{bucket}/other/d.mp4\n")
    uris = [source.uri for source in find_footage(str(tmp_path / "list.txt")).sources]
    assert uris == [str(tmp_path / "local.mp4"), f"s3://{bucket}/other/d.mp4"]


def test_nobody_is_missing_because_the_server_is_away_or_the_keys_are_wrong(bucket, tmp_path, monkeypatch):
    (tmp_path / "list.txt").write_text(f"s3://{bucket}/other/d.mp4\ns3://{bucket}/gone.mp4\n")
    (source,) = find_footage(str(tmp_path / "list.txt")).sources
    row = {"uri": source.uri, "size_bytes": source.size_bytes, "etag": source.etag, "video_id": ""}
    with monkeypatch.context() as patch, s3_door.short_timeouts():
        patch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        for ask in (lambda: find_footage(str(tmp_path / "list.txt")), lambda: recheck_source(row)):
            with pytest.raises(ConnectionError, match="does not answer"):
                ask()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "another")
        for ask in (lambda: find_footage(str(tmp_path / "list.txt")), lambda: recheck_source(row)):
            with pytest.raises(PermissionError, match="look at the credentials"):
                ask()


def test_an_object_that_is_not_ours_to_read_is_missing_and_the_others_are_not(
    s3, bucket, tmp_path, monkeypatch
):
    mine = s3.new_bucket(ONLY_BUCKET)
    s3.client().put_object(Bucket=mine, Key="a.mp4", Body=_MP4)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ONLY_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ONLY_SECRET)
    (tmp_path / "list.txt").write_text(f"s3://{bucket}/other/d.mp4\ns3://{mine}/a.mp4\n")
    found = find_footage(str(tmp_path / "list.txt"))
    assert [source.uri for source in found.sources] == [f"s3://{mine}/a.mp4"]
    assert [(gone.source_uri, "was refused (AccessDenied)" in gone.message) for gone in found.missing] == [
        (f"s3://{bucket}/other/d.mp4", True)
    ]


def test_what_is_not_there_is_named_with_what_is_like_it(bucket):
    with pytest.raises(
        FileNotFoundError, match=rf"footage=s3://{bucket}/rav/: nothing .* mean 's3://{bucket}/raw'"
    ):
        check_footage(f"s3://{bucket}/rav/")
    with pytest.raises(FileNotFoundError, match=f"mean 's3://{bucket}/other/d.mp4'"):
        check_footage(f"s3://{bucket}/other/dd.mp4")
    with pytest.raises(FileNotFoundError, match="there is no bucket 'no-such-bucket'"):
        check_footage("s3://no-such-bucket/raw/")
    check_footage(f"s3://{bucket}/raw")


def test_an_object_that_is_replaced_while_it_is_read_is_an_error_not_a_mixture(s3, bucket):
    found = s3_door.open_object(f"s3://{bucket}/raw/a.MOV")
    assert found.read_range(3, 4) == b"teve"
    assert b"".join(found.iter_chunks(5)) == b"whatever it claims"
    s3.client().put_object(Bucket=bucket, Key="raw/a.MOV", Body=b"something other!!!")
    with pytest.raises(MediaError, match="has changed since it was listed"):
        found.read_range(3, 4)
    with pytest.raises(EOFError, match="fewer than"):
        found.read_range(3, 40)


def test_a_source_is_gone_when_its_bytes_are_others(s3, bucket):
    (source,) = find_footage(f"s3://{bucket}/other/d.mp4").sources
    row = {
        "uri": source.uri,
        "size_bytes": source.size_bytes,
        "etag": "another",
        "video_id": hash_bytes(_MP4),
    }
    now = (source.size_bytes, source.etag)
    assert recheck_source(row | {"etag": source.etag, "video_id": ""}) == now
    assert recheck_source(row) == now
    assert recheck_source(row | {"video_id": "0"}) == "the file has changed since it was curated"
    s3.client().delete_object(Bucket=bucket, Key="other/d.mp4")
    assert "nothing is there" in recheck_source(row)


def test_a_listing_is_looked_at_page_by_page():
    seen = []

    def objects():
        for k in range(2_500):
            seen.append(k)
            yield s3_door.S3Object(f"s3://bucket/{k}.mp4", k, "etag")

    found = s3_listing.classify_objects(objects(), frozenset((".mp4",)), 0, lambda *_: None)
    assert next(found).uri == "s3://bucket/0.mp4"
    assert len(seen) == 1_000


@pytest.mark.parametrize(
    ("code", "status", "operation", "of_one"),
    [
        ("AccessDenied", 403, "GetObject", True),
        ("InvalidObjectState", 403, "GetObject", True),  # archived
        ("InvalidRequest", 400, "GetObject", True),  # encrypted with its owner's key
        ("PermanentRedirect", 301, "GetObject", True),
        ("AccessDenied", 403, "AssumeRole", False),
        ("ExpiredToken", 400, "GetObject", False),
        ("SignatureDoesNotMatch", 403, "HeadObject", False),
        ("InternalError", 500, "GetObject", False),
    ],
)
def test_what_is_wrong_with_one_object_is_told_from_what_is_wrong_with_all(
    s3, code, status, operation, of_one
):
    answer = {
        "Error": {"Code": code, "Message": "as S3 says it"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    said = s3_door.as_python_error(ClientError(answer, operation), "s3://bucket/a.mp4")
    assert isinstance(said, OSError)
    assert isinstance(said, s3_door.SINGLE_OBJECT_ERRORS) == of_one
    assert "s3://bucket/a.mp4" in str(said)
    assert s3_door.endpoint() in str(said)
