"""Only regular files are opened, whatever a path leads to, and whenever it began to lead there."""

import os
import socket
import sys
from pathlib import Path

import pytest

from pipelines.errors import MediaError, Reason
from pipelines.footage.listing import etag, find_footage, recheck_source
from pipelines.footage.source_file import read_video_id
from pipelines.media import open_regular
from pipelines.media.config import LimitConfig
from pipelines.media.probe import open_container
from pipelines.media.ranged import open_file, size_of
from tests.support.footage import pan, write


@pytest.fixture
def odd(tmp_path):
    """What is no regular file, by name, with what is said of it."""
    os.mkfifo(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "s.mp4"))
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    (tmp_path / "folder.mp4").mkdir()
    return {
        tmp_path / "pipe.mp4": "a pipe",
        tmp_path / "s.mp4": "a socket",
        tmp_path / "zero.mp4": "a device",
        tmp_path / "folder.mp4": "a folder",
    }


@pytest.mark.parametrize(
    "opens", [open_file, size_of, open_regular.open_regular, lambda path: open_container(path).__enter__()]
)
def test_what_is_no_regular_file_is_refused_at_once(odd, opens):
    for path, kind in odd.items():
        with pytest.raises(MediaError, match=f"it is {kind}; only regular files are footage") as caught:
            opens(path)
        assert caught.value.reason is Reason.UNREADABLE
    with pytest.raises(MediaError, match="No such file") as caught:
        opens(odd.keys().__iter__().__next__().with_name("gone.mp4"))
    assert caught.value.reason is Reason.MISSING


def test_a_pipe_that_takes_a_file_s_place_after_the_look_is_refused_and_not_waited_for(tmp_path, monkeypatch):
    film, pipe = tmp_path / "film.mp4", tmp_path / "pipe.mp4"
    film.write_bytes(b"x")
    os.mkfifo(pipe)
    looked_at = film.stat()
    monkeypatch.setattr(os, "stat", lambda path: looked_at)  # of what was there a moment before
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(MediaError, match="it is a pipe"):
        open_regular.open_regular(pipe)
    assert len(os.listdir("/dev/fd")) == before


def test_a_listed_file_that_became_a_pipe_is_a_row(tmp_path):
    film = tmp_path / "film.mp4"
    write(film, pan(1, 8, 48, 64))
    (listed,) = find_footage(str(tmp_path)).sources
    film.unlink()
    os.mkfifo(film)
    with pytest.raises(MediaError, match="has changed since it was listed"):
        read_video_id(listed.uri, (listed.size_bytes, listed.etag), LimitConfig(deadline_s=20))


def test_a_row_of_a_dataset_that_names_a_device_is_not_taken_for_its_file(odd):
    for path, kind in odd.items():
        status = path.stat()
        row = {"uri": str(path), "size_bytes": status.st_size, "etag": etag(status), "video_id": "0" * 32}
        assert recheck_source(row) == f"it is {kind}; only regular files are footage"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own file systems are Linux's")
def test_what_the_kernel_makes_up_is_no_footage(tmp_path):
    made_up = [
        path
        for path in ("/proc/self/environ", "/proc/kcore", "/sys/kernel/notes", "/proc/self/mem")
        if Path(path).exists()
    ]
    assert made_up
    (tmp_path / "environ.mp4").symlink_to("/proc/self/environ")
    (tmp_path / "list.txt").write_text("\n".join([*made_up, "environ.mp4"]))
    found = find_footage(str(tmp_path / "list.txt"))
    assert not found.sources
    assert len(found.missing) == len(made_up) + 1
    assert all("it is made up by the kernel" in row.message for row in found.missing)
    (row,) = find_footage(str(tmp_path)).missing
    assert "made up by the kernel (proc)" in row.message
