"""What a row of a dataset names is opened only if the user gave it, however the row spells it."""

import os

import pytest

from pipelines.footage.allowed_footage import AllowedFootage, FootageRoot, allowed_footage
from pipelines.storage import s3

_MP4 = b"\x00\x00\x00\x18ftypisom" + b"\x00" * 64


@pytest.fixture
def disk(tmp_path):
    """Footage with a link out of it, a secret beside it, and a folder whose name begins the same."""
    for name in ("foot/a.mp4", "foot/day/b.mp4", "foot2/c.mp4", "secret.mp4", "disk2/d.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(_MP4)
    (tmp_path / "foot" / "out.mp4").symlink_to("../secret.mp4")
    (tmp_path / "foot" / "linked").symlink_to("../disk2")
    (tmp_path / "alias").symlink_to("foot")
    (tmp_path / "list.csv").write_text("path,text\nfoot/a.mp4,x\ns3://bucket/listed.mp4,y\n")
    return tmp_path


def opened(footage, uris, **how):
    return [uri for uri in uris if AllowedFootage((FootageRoot(str(footage)),), **how).allows(str(uri))]


def test_a_folder_gives_what_really_lies_in_it(disk):
    inside = [disk / "foot/a.mp4", disk / "foot/day/b.mp4", disk / "alias/a.mp4", f"file://{disk}/foot/a.mp4"]
    outside = [
        disk / "secret.mp4", disk / "foot2/c.mp4", disk / "foot/out.mp4", disk / "foot/linked/d.mp4",
        "/dev/zero",
        f"{disk}/foot/../secret.mp4", f"{disk}/foot/day/../../secret.mp4",
        f"file://{disk}/foot/%2e%2e/secret.mp4",
        "foot/a.mp4", "~/foot/a.mp4", "s3://bucket/foot/a.mp4", f"http://host{disk}/foot/a.mp4", "", "\0",
    ]  # fmt: skip
    for footage in (disk / "foot", disk / "alias", f"{disk}/foot/", f"file://{disk}/foot"):
        assert opened(footage, [*inside, *outside]) == inside, footage
    assert opened(f"{disk}/foot/../foot", inside) == inside


def test_who_cuts_follows_the_links_of_the_footage_as_curation_does(disk):
    linked = [disk / "foot/out.mp4", disk / "foot/linked/d.mp4"]
    refused = [disk / "secret.mp4", disk / "disk2/d.mp4", f"{disk}/foot/../secret.mp4"]
    assert opened(disk / "foot", [*linked, *refused], through_links=True) == linked


def test_files_globs_and_lists_give_what_they_name(disk):
    every = [disk / "foot/a.mp4", disk / "foot/day/b.mp4", disk / "foot2/c.mp4"]
    assert opened(disk / "foot/a.mp4", every) == every[:1]
    assert opened(disk / "foot*/*.mp4", every) == [every[0], every[2]]
    assert not allowed_footage(str(disk / "gone.csv")).allows(str(every[0]))
    assert not allowed_footage(None).allows(str(every[0]))


def test_a_list_of_objects_gives_those_objects(disk, monkeypatch):
    from pipelines.footage import s3_listing

    monkeypatch.setattr(s3_listing, "resolve_list", lambda rows: [source_of(uri) for uri, _ in rows])
    root = FootageRoot(str(disk / "list.csv"), uri_column="path")
    uris = [
        str(disk / "foot/a.mp4"),
        "s3://bucket/listed.mp4",
        "s3://bucket/other.mp4",
        str(disk / "secret.mp4"),
    ]
    assert [uri for uri in uris if root.contains(uri, through_links=False)] == uris[:2]


def source_of(uri):
    from pipelines.records import Source

    return Source(uri, 1, "e")


def test_a_prefix_gives_what_is_below_it_and_nobody_is_asked(monkeypatch):
    monkeypatch.setattr(s3, "client", lambda: pytest.fail("S3 was asked"))
    inside = ["s3://bucket/foot/a.mp4", "s3://bucket/foot/day/b.mp4"]
    outside = [
        "s3://bucket/foot2/a.mp4", "s3://bucket/foot/../secret.mp4", "s3://bucket/foot/./a.mp4",
        "s3://other/foot/a.mp4",
        "s3://bucket", "s3://", "S3://bucket/foot/a.mp4", "/foot/a.mp4",
    ]  # fmt: skip
    for footage in ("s3://bucket/foot", "s3://bucket/foot/"):
        assert opened(footage, [*inside, *outside]) == inside
    assert opened("s3://bucket", inside) == inside
    assert opened("s3://bucket/foot/*.mp4", [*inside, *outside]) == inside[:1]
    assert opened("s3://bucket/foot/a.mp4", [*inside, *outside]) == inside[:1]


def test_a_root_that_may_not_be_looked_into_gives_nothing(disk):
    assert not allowed_footage(str(disk / "foot" / "a.mp4" / "below")).allows(
        os.fspath(disk / "foot" / "a.mp4")
    )
