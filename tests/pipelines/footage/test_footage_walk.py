"""A folder put together from links: each file once, under the name it is found by; what can't be followed is
told."""

import os
import socket

import pytest

from pipelines.footage.listing import find_footage
from tests.support.permissions import as_nobody, with_mode

_MP4 = b"\x00\x00\x00\x18ftypisom" + b"\x00" * 64


@pytest.fixture
def disks(tmp_path):
    """A folder with a file, links to a file and a folder on another disk, to nothing, to itself and to what
    is around it."""
    for name in ("footage/a.mp4", "disk2/day1/b.mp4", "disk2/c.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(_MP4)
    for link, target in {
        "day1": "../disk2/day1",
        "c.mp4": "../disk2/c.mp4",
        "gone.mp4": "../gone.mp4",
        "loop": "..",
        "self": ".",
    }.items():
        (tmp_path / "footage" / link).symlink_to(target)
    (tmp_path / "whole").symlink_to("footage")
    return tmp_path


def names(footage, root):
    return [source.uri.removeprefix(f"{root}/") for source in footage.sources]


@pytest.mark.parametrize("footage", ["footage", "footage/**/*.mp4", "footage/**"])
def test_a_folder_and_a_glob_over_it_find_the_same_each_file_once(disks, footage):
    found = find_footage(str(disks / footage))
    assert names(found, disks) == ["footage/a.mp4", "footage/c.mp4", "footage/day1/b.mp4"]
    (gone,) = found.missing
    assert gone.source_uri == str(disks / "footage" / "gone.mp4")
    assert "a link to ../gone.mp4, which can't be followed: No such file" in gone.message


def test_loops_are_cut_and_said(disks):
    ignored = {
        item.uri.removeprefix(f"{disks}/"): item.why for item in find_footage(str(disks / "footage")).ignored
    }
    assert set(ignored) == {"footage/loop", "footage/self"}
    assert all("a folder that is found otherwise or lies around it" in why for why in ignored.values())


def test_what_is_reached_twice_is_taken_once_under_its_own_name(disks):
    found = find_footage(str(disks))
    assert names(found, disks) == ["disk2/c.mp4", "disk2/day1/b.mp4", "footage/a.mp4"]
    assert "a file that is found otherwise" in next(
        i.why for i in found.ignored if i.uri.endswith("footage/c.mp4")
    )


def test_two_links_to_one_folder_are_followed_once(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a.mp4").write_bytes(_MP4)
    (tmp_path / "footage").mkdir()
    for name in ("x", "y"):
        (tmp_path / "footage" / name).symlink_to("../disk")
    assert names(find_footage(str(tmp_path / "footage")), tmp_path) == ["footage/x/a.mp4"]


def test_links_that_lead_through_one_another_end(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "to_b").symlink_to("../b")
    (tmp_path / "b" / "to_a").symlink_to("../a")
    (tmp_path / "b" / "v.mp4").write_bytes(_MP4)
    assert names(find_footage(str(tmp_path / "a")), tmp_path) == ["a/to_b/v.mp4"]
    (tmp_path / "self").symlink_to("self")
    assert [row.message for row in find_footage(str(tmp_path)).missing] == [
        "a link to self, which can't be followed: Too many levels of symbolic links"
    ]


def test_what_is_no_regular_file_is_a_row(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "s.mp4"))
        (tmp_path / "list.txt").write_text("pipe.mp4\n/dev/null\n.\n")
        for footage in (tmp_path, tmp_path / "*.mp4"):
            told = {
                row.source_uri.rpartition("/")[2]: row.message for row in find_footage(str(footage)).missing
            }
            assert told == {"pipe.mp4": "it is a pipe; only regular files are footage",
                "s.mp4": "it is a socket; only regular files are footage"}  # fmt: skip
    told = [row.message.partition(";")[0] for row in find_footage(str(tmp_path / "list.txt")).missing]
    assert told == ["it is a pipe", "it is a device", "it is a folder"]
    assert [row.message for row in find_footage(str(tmp_path / "pipe.mp4")).missing] == [
        "it is a pipe; only regular files are footage"
    ]


def test_a_folder_that_can_not_be_read_is_a_row_and_its_neighbours_are_taken(tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.mp4").write_bytes(_MP4)
    scandir = os.scandir

    def locked(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)  # root may read everything
    found = find_footage(str(tmp_path))
    assert names(found, tmp_path) == ["a.mp4"]
    assert [(row.source_uri, row.message) for row in found.missing] == [
        (f"{tmp_path}/locked", "the folder can't be read: Permission denied")
    ]


def test_a_file_has_one_name_however_it_was_come_to(disks, monkeypatch):
    monkeypatch.chdir(disks / "disk2")
    (disks / "list.txt").write_text("footage/a.mp4\nfootage/../footage/a.mp4\ndisk2/../footage/a.mp4\n")
    assert names(find_footage("../list.txt"), disks) == ["footage/a.mp4"]
    assert names(find_footage("../footage/a.mp4"), disks) == ["footage/a.mp4"]
    assert names(find_footage("../footage"), disks) == names(find_footage(str(disks / "footage")), disks)


def test_a_glob_of_one_level_looks_no_deeper(disks):
    assert names(find_footage(str(disks / "footage" / "*.mp4")), disks) == ["footage/a.mp4", "footage/c.mp4"]
    assert names(find_footage(str(disks / "*" / "day?" / "[ab].mp4")), disks) == ["disk2/day1/b.mp4"]


def test_a_folder_that_may_be_listed_and_not_entered_is_told_file_by_file(open_folder):
    for name in ("shut/inner/a.mp4", "shut/b.mp4", "closed/c.mp4", "d.mp4"):
        (open_folder / name).parent.mkdir(parents=True, exist_ok=True)
        (open_folder / name).write_bytes(_MP4)
    (open_folder / "shut" / "link.mp4").symlink_to("../d.mp4")
    with with_mode(open_folder / "shut", 0o444), with_mode(open_folder / "closed", 0o000), as_nobody():
        found = find_footage(str(open_folder))
    assert names(found, open_folder) == ["d.mp4"]
    told = {
        row.source_uri.removeprefix(f"{open_folder}/"): row.message.rpartition(": ")[2]
        for row in found.missing
    }
    assert told == dict.fromkeys(("closed", "shut/inner", "shut/b.mp4", "shut/link.mp4"), "Permission denied")
    assert {row.reason for row in found.missing} == {"missing"}
