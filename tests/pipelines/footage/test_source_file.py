"""A source that is elsewhere: by ranges where that pays, else fetched once per machine, into a folder that
stays small."""

import multiprocessing
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipelines.errors import MediaError, PlaceError, Reason
from pipelines.footage import source_file
from pipelines.footage.cache import FootageCache
from pipelines.footage.identity import object_id
from pipelines.footage.listing import etag, recheck_source
from pipelines.footage.source_file import read_video_id, remote_file
from pipelines.ids import VideoHasher, video_id
from pipelines.measure import sandboxed
from pipelines.media.config import LimitConfig
from pipelines.media.ranged import RangedFile
from pipelines.media.sniff import HEAD_BYTES

SMALL = 2000
AS_IT_WAS = b"\0\0\0\x10ftypas it was"


@dataclass
class Elsewhere:
    """A local file as an object of a store; notes what is done with it."""

    path: Path
    etag: str = "1"
    downloads: int = 0
    asked: list[tuple[int, int]] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return f"s3://bucket/{self.path.name}"

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    def read_range(self, offset: int, size: int) -> bytes:
        self.asked.append((offset, size))
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def iter_chunks(self):
        self.downloads += 1
        yield self.path.read_bytes()


@pytest.fixture(autouse=True)
def _all_is_long(monkeypatch):
    monkeypatch.setattr(source_file, "_SMALL_BYTES", SMALL)
    source_file._files.clear()


@pytest.fixture
def cache(tmp_path) -> FootageCache:
    return FootageCache(tmp_path / "cache")


def boxes(folder: Path, name: str, *kinds: bytes) -> Path:
    """An mp4 whose outermost boxes are these, each of 1 KiB."""
    path = folder / name
    path.write_bytes(b"".join((1024).to_bytes(4, "big") + kind + bytes(1016) for kind in kinds))
    return path


def test_a_local_source_is_its_path(tmp_path):
    with source_file.source_file(str(tmp_path / "a.mp4")) as file:
        assert file == tmp_path / "a.mp4"
    with source_file.source_file(f"file://{tmp_path}/b%20c.mp4") as file:
        assert file == tmp_path / "b c.mp4"
    with pytest.raises(MediaError) as caught:
        read_video_id(str(tmp_path / "none.mp4"))
    assert caught.value.reason is Reason.MISSING


def test_what_is_done_with_a_file_that_is_replaced_meanwhile_does_not_count(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(AS_IT_WAS)
    stat = path.stat()
    listed = (stat.st_size, etag(stat))
    assert read_video_id(str(path), listed) == video_id(path)

    def replaced(error=None):
        with source_file.source_file(str(path), listed):
            path.write_bytes(AS_IT_WAS.swapcase())
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
            if error:
                raise error

    for error in (None, MediaError(Reason.UNDECODABLE, "broken")):
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        with pytest.raises(MediaError, match="has changed since it was listed") as caught:
            replaced(error)
        assert caught.value.reason is Reason.MISSING
    path.unlink()
    with pytest.raises(MediaError) as caught, source_file.source_file(str(path), listed):
        pass
    assert caught.value.reason is Reason.MISSING


def test_a_disk_without_room_for_a_file_is_no_fault_of_the_file(cache):
    def fetch(path):
        raise OSError(28, "No space left on device")

    with pytest.raises(PlaceError, match="No space left on device; set TMPDIR"), cache.lease("a", 1, fetch):
        pass


def test_a_long_file_with_an_index_is_read_by_ranges_and_remembered(tmp_path, cache):
    far = Elsewhere(boxes(tmp_path, "long.mp4", b"ftyp", b"mdat", b"moov"))
    with remote_file(far, cache) as file:
        assert isinstance(file, RangedFile)
        assert file.read(1024, 8) == far.read_range(1024, 8)
    asked = len(far.asked)
    with remote_file(far, cache) as again:
        assert again is file
        again.read(0, 3072)
    assert (len(far.asked), far.downloads) == (asked, 0)
    with remote_file(Elsewhere(far.path, etag="2"), cache) as other:
        assert other is not file


@pytest.mark.parametrize("kinds", [(b"ftyp", b"moov", b"moof", b"mdat"), (b"ftyp",)])
def test_what_can_not_be_read_in_part_and_what_is_small_is_fetched_once(tmp_path, cache, kinds):
    far = Elsewhere(boxes(tmp_path, "a.mp4", *kinds))
    for _ in range(3):
        with remote_file(far, cache) as file:
            assert isinstance(file, Path)
            assert file.suffix == ".mp4"
            assert file.read_bytes() == far.path.read_bytes()
    assert far.downloads == 1
    changed = Elsewhere(far.path, etag="2")
    with remote_file(changed, cache) as other:
        assert other != file
    assert changed.downloads == 1


def test_a_download_that_fails_or_ends_early_is_missing_and_leaves_nothing(tmp_path, cache):
    far = Elsewhere(boxes(tmp_path, "a.flv", b"ftyp"))

    def cut():
        yield b"half"
        raise ConnectionResetError("the network is down")

    for broken, message in ((cut, "network is down"), (lambda: [b"half"], "4 of 1024 bytes came")):
        far.iter_chunks = broken
        with pytest.raises(MediaError, match=message) as caught, remote_file(far, cache):
            pass
        assert caught.value.reason is Reason.MISSING
        assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"]


def test_the_folder_stays_small_and_nothing_in_use_leaves_it(tmp_path):
    cache = FootageCache(tmp_path / "cache", most_bytes=3500)

    def fetched(name: str) -> bool:
        made = []
        with cache.lease(name, 1000, lambda path: (made.append(name), path.write_bytes(bytes(1000)))):
            pass
        return bool(made)

    with cache.lease("held", 1000, lambda path: path.write_bytes(bytes(1000))) as held:
        for name in "abcde":
            assert fetched(name)
            time.sleep(0.01)
        assert held.exists()
        files = [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"]
        assert sum(path.stat().st_size for path in files) <= 3500
        assert not fetched("e")
        assert not fetched("d")
        assert fetched("a")  # the oldest went first
    fetched("f")
    fetched("g")
    fetched("h")
    assert not held.exists()


def test_what_does_not_fit_on_the_disk_is_said_and_can_be_tried_again(tmp_path, cache):
    with (
        pytest.raises(MediaError, match="set TMPDIR") as caught,
        cache.lease("vast", 2**60, lambda path: None),
    ):
        pass
    assert caught.value.reason is Reason.MISSING


def test_what_a_killed_process_left_is_thrown_away(tmp_path, cache):
    part = tmp_path / "cache" / f"{'0' * 32}.mp4.part"
    part.write_bytes(b"half")
    with cache.lease("a", 4, lambda path: path.write_bytes(b"four")):
        pass
    assert not part.exists()


def _hold(folder: Path, log: Path) -> None:
    def fetch(path: Path) -> None:
        with log.open("a") as file:
            file.write("fetched\n")
        time.sleep(0.3)
        path.write_bytes(b"four")

    with FootageCache(folder).lease("a", 4, fetch) as path:
        assert path.read_bytes() == b"four"


def test_of_several_processes_that_need_a_file_one_fetches_it(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_hold, args=(tmp_path / "cache", tmp_path / "log")) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "fetched\n"


def test_a_video_has_the_same_id_in_pieces(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(range(256)) * 10)
    whole = VideoHasher()
    for piece in (path.read_bytes()[:700], path.read_bytes()[700:]):
        whole.update(piece)
    assert whole.hexdigest() == video_id(path)


class Slow(Elsewhere):
    """Its first piece comes, and then nothing, until it is let go."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.let_go = threading.Event()

    def iter_chunks(self):
        yield self.path.read_bytes()[:700]
        self.let_go.wait()
        self.downloads += 1
        yield self.path.read_bytes()[700:]
        self.downloads += 1


def test_an_object_that_does_not_come_is_given_up_and_leaves_nothing(tmp_path, cache):
    hurried = LimitConfig(deadline_s=1)
    whole = Slow(boxes(tmp_path, "a.flv", b"ftyp", b"moof"))
    long = Slow(boxes(tmp_path, "long.mp4", b"ftyp", b"mdat", b"moov"))
    try:
        for action in (
            lambda: remote_file(whole, cache, hurried).__enter__(),
            lambda: object_id(long, hurried),
        ):
            with pytest.raises(MediaError, match="no answer within") as caught:
                action()
            assert caught.value.reason is Reason.TIMED_OUT
        assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"]
    finally:
        whole.let_go.set()
        long.let_go.set()


def test_an_object_that_begins_like_no_video_is_refused_by_its_first_bytes(tmp_path, monkeypatch):
    path = tmp_path / "diary.mp4"
    path.write_bytes(b"dear diary, " * 1000)
    far = Elsewhere(path)
    monkeypatch.setattr(source_file, "_opened", lambda uri: far)
    with pytest.raises(MediaError, match="the content is text, not video"):
        read_video_id("s3://bucket/diary.mp4")
    assert (far.asked, far.downloads) == ([(0, HEAD_BYTES)], 0)


def test_a_file_of_this_machine_whose_bytes_do_not_end_in_time_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(sandboxed, "_SLOW_BYTES_PER_S", 1e18)  # else what is large may take long
    film = tmp_path / "film.mp4"
    film.write_bytes(b"\0\0\0\x10ftypisom")
    os.truncate(film, 60 * 1024**3)  # to hash so much takes minutes
    stat, limits = film.stat(), LimitConfig(deadline_s=1)
    with pytest.raises(MediaError, match=r"within 1 s|more than 1 s of processor time") as caught:
        read_video_id(str(film), (stat.st_size, etag(stat)), limits)
    assert caught.value.reason is Reason.TIMED_OUT
    row = {"uri": str(film), "size_bytes": stat.st_size, "etag": "mtime-1", "video_id": "0" * 32}
    assert " 1 s" in recheck_source(row, limits)


def test_more_bytes_have_more_time():
    cfg = LimitConfig(deadline_s=10)
    assert sandboxed.full_read_limits(cfg, 0).deadline_s == 10
    assert sandboxed.full_read_limits(cfg, 10**11).deadline_s == 10 + 10**5
