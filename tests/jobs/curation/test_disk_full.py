"""A full disk is said in a line and blamed on no file; once there is room, the same command makes what it
would have made."""

import errno
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobs.cluster import in_process
from jobs.cluster.failures import one_line_message
from jobs.curation import shard_writer
from pipelines.dataset.reader import open_dataset
from pipelines.errors import MediaError, PlaceError
from pipelines.footage.cache import FootageCache
from pipelines.sandbox import child
from pipelines.sandbox.answers import ChildError, Limits
from pipelines.storage.local_store import LocalStore, prove_room
from tests.conftest import run_job
from tests.support.footage import pan, write

FAST = (
    *(
        "scores.text=false",
        "scores.nsfw=false",
        "scores.tags=false",
        "shots.detector=content",
        "captioner=own_text",
    ),
    *("precision=fp32", "recipe=permissive"),
)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Where the disk is full is told to this process alone; a Ray that other tests have started knows nothing
    of it."""
    monkeypatch.setattr(in_process, "_connected", lambda: False)


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    for number in range(2):
        write(folder / f"{number}.mp4", pan(number + 1, 30, 96, 128))
    return folder


def curate(footage, dataset):
    return run_job("curate", f"footage={footage}", f"dataset={dataset}", *FAST)


def content(dataset):
    """What readers look at, as bytes by name."""
    named = open_dataset(str(dataset)).manifest
    keys = {*named.index, *named.sources, *named.quarantine, *(shard.key for shard in named.shards)}
    return {key: (Path(dataset) / key).read_bytes() for key in keys}


@contextmanager
def room(monkeypatch, num_writes):
    """A block in which a store takes so many objects, and says then that the disk is full."""
    put, left = LocalStore.put_new, [num_writes]

    def put_new(self, key, content):
        left[0] -= key.startswith("runs/") is False
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), key)
        return put(self, key, content)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put_new", put_new)
        yield


def test_wherever_the_disk_fills_up_the_same_command_goes_on(footage, tmp_path, monkeypatch):
    curate(footage, tmp_path / "whole")
    dataset = tmp_path / "dataset"
    for objects in (1, 7):  # some more each time: while videos are looked at, and then written
        with room(monkeypatch, objects), pytest.raises((OSError, RuntimeError)) as caught:
            curate(footage, dataset)
        assert "No space left on device" in one_line_message(caught.value)
        assert not list((dataset / "manifests").glob("*"))
    curate(footage, dataset)
    assert not len(open_dataset(str(dataset)).quarantine().table())
    assert content(dataset) == content(tmp_path / "whole")


def test_a_clip_whose_file_finds_no_room_is_not_set_aside(footage, tmp_path, monkeypatch):
    """The child says so, and the disk is asked whether that is true: a file may have taken the child over."""

    def full(*args, **how):
        raise PlaceError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def asked(folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

    call = child.call
    with monkeypatch.context() as patch:
        patch.setattr(
            child,
            "call",
            lambda f, *args, **how: (full if f.__name__ == "cut_clip" else call)(f, *args, **how),
        )
        with monkeypatch.context() as inner:
            inner.setattr(shard_writer, "prove_room", asked)
            with pytest.raises(RuntimeError, match="No space left on device"):
                curate(footage, tmp_path / "dataset")
        assert not (tmp_path / "dataset" / "manifests").is_dir()
        curate(footage, tmp_path / "dataset")  # the disk takes what it is given: the file's word against it
    rows = open_dataset(str(tmp_path / "dataset")).quarantine().table().to_pylist()
    assert {row["reason"] for row in rows} == {"internal"}, "and tried again by the next run"
    curate(footage, tmp_path / "dataset")
    assert not len(open_dataset(str(tmp_path / "dataset")).quarantine().table())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")
def test_whatever_a_child_writes_it_tells_a_full_disk_from_a_bad_file(footage, confined_without):
    from tests.support.full_disk import packets, plain, read

    confined_without("landlock", "namespaces")  # they would not let it open a device
    limits = Limits(30.0, 2 * 1024**3, 1024**3)
    for function in (packets, plain):
        with pytest.raises(PlaceError, match="No space left"):
            child.call(function, footage / "0.mp4", limits=limits, writes=Path("/dev"))
    with pytest.raises(ChildError):  # who may write nothing can't stop a job by such words
        child.call(read, footage / "0.mp4", limits=Limits(30.0, 2 * 1024**3))


def test_room_is_proved_by_writing(tmp_path):
    prove_room(tmp_path, 1024**2)
    assert not list(tmp_path.iterdir())
    program = (
        "import resource, signal, sys; from pathlib import Path; from pipelines.storage.local_store import "
        "prove_room;signal.signal(signal.SIGXFSZ, "
        "signal.SIG_IGN);resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
        "prove_room(Path(sys.argv[1]))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(shard_writer.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, env=environment
    )
    assert done.stderr.rstrip().endswith(f"File too large: '{tmp_path}'")


def test_a_cache_without_room_is_nobody_s_fault(tmp_path):
    def fetch(error):
        def act(path):
            raise OSError(error, os.strerror(error), str(path))

        return act

    cache = FootageCache(tmp_path / "cache")
    with pytest.raises(PlaceError, match="set TMPDIR"), cache.lease("a", 3, fetch(errno.ENOSPC)):
        pass
    with pytest.raises(MediaError, match="can't be kept"), cache.lease("a", 3, fetch(errno.EACCES)):
        pass


def test_a_real_disk_that_is_full(footage, tmp_path):
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], capture_output=True
    ).returncode:
        pytest.skip("a small disk can't be mounted here")
    try:
        with pytest.raises((OSError, RuntimeError)) as caught:
            curate(footage, disk / "dataset")
        assert "No space left on device" in one_line_message(caught.value)
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        did = curate(footage, disk / "dataset")
        assert did["clips_copied"] == 2
        assert not len(open_dataset(str(disk / "dataset")).quarantine().table())
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
