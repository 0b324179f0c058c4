"""A folder in a place that everybody writes to is ours alone, or it is not used."""

import os

import pytest

from pipelines.footage.cache import FootageCache
from pipelines.private import private_folder

NOBODY = 65534


def test_a_new_folder_is_for_us_alone_whatever_the_umask(tmp_path):
    for umask in (0o000, 0o022, 0o077, 0o277):
        old = os.umask(umask)
        try:
            folder = private_folder(tmp_path / f"{umask:o}")
        finally:
            os.umask(old)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert private_folder(folder) == folder


def test_what_others_may_read_is_taken_from_them(tmp_path):
    (tmp_path / "cache").mkdir(mode=0o755)
    assert private_folder(tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def link(path):
    (path.parent / "home").mkdir()
    path.symlink_to("home")


def writable(path):
    path.mkdir()
    path.chmod(0o777)


def of_another(path):
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    path.mkdir(mode=0o700)
    os.chown(path, NOBODY, NOBODY)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (link, "is a link"),
        (lambda path: path.write_text(""), "is a link, or no folder"),
        (writable, "can be written to by others"),
        (of_another, "belongs to somebody else"),
    ],
)
def test_one_that_somebody_else_has_made_is_refused_in_one_line(tmp_path, made, why):
    folder = tmp_path / "rushes-footage-0"
    made(folder)
    for use in (private_folder, FootageCache):
        with pytest.raises(
            PermissionError, match=rf"{folder} {why}.*; (remove it, or )?set TMPDIR to a folder of your own"
        ):
            use(folder)
    assert not list(tmp_path.glob("home/*"))


def test_a_cache_throws_away_only_what_it_has_fetched(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"x" * 100)
    cache = FootageCache(tmp_path / "cache", most_bytes=150)
    mine = {
        "notes.txt": None,
        "holiday.mp4": None,
        "a.part": None,
        f"{'0' * 32}_backup.mp4": None,
        f"{'1' * 32}.mp4": victim,
    }
    for name, target in mine.items():
        path = tmp_path / "cache" / name
        path.symlink_to(target) if target else path.write_bytes(b"y" * 100)
    for number in range(4):
        with cache.lease(f"content {number}", 100, lambda path: path.write_bytes(b"z" * 100), ".mp4") as file:
            assert file.read_bytes() == b"z" * 100
    assert mine.keys() <= {path.name for path in (tmp_path / "cache").iterdir()}
    assert len(list((tmp_path / "cache").glob("*.mp4"))) == 3 + 1
    assert victim.read_bytes() == b"x" * 100
