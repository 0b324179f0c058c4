"""Whatever links, files and names somebody has put into a dataset: nothing outside of it is read, listed,
written or removed."""

import os
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.storage.base import is_key
from pipelines.storage.handle_path import LeadsOutError
from pipelines.storage.local_store import LocalStore

SECRET = b"the victim's"
NAMES = ("a", "b", "shards", "manifests", ".scratch", "stages")
FILE = "0" * 16 + ".tar"
IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # thousands of fsyncs


def outside(folder: Path) -> dict[str, tuple[bytes, float]]:
    return {
        str(p.relative_to(folder)): (p.read_bytes() if p.is_file() else b"", p.lstat().st_mtime)
        for p in sorted(folder.rglob("*"))
    }


@pytest.fixture
def victim(tmp_path):
    home = tmp_path / "home"
    (home / "b").mkdir(parents=True)
    (home / FILE).write_bytes(SECRET)
    (home / "b" / FILE).write_bytes(SECRET)
    (home / "rushes-01234567").mkdir()
    (home / "rushes-01234567" / "object").write_bytes(SECRET)
    return home


name = st.sampled_from((*NAMES, FILE, "rushes-01234567"))
target = st.one_of(
    st.sampled_from(
        (
            "..",
            "../home",
            "/",
            "{home}",
            "{home}/" + FILE,
            "{root}",
            "{root}/a",
            ".",
            "a/../../home",
            "{root}/../home",
        )
    ),
    st.lists(st.sampled_from((*NAMES, "..", FILE)), min_size=1, max_size=4).map("/".join),
)
entry = st.tuples(
    st.lists(name, min_size=1, max_size=3).map("/".join),
    st.sampled_from(("file", "folder", "link", "fifo")),
    target,
)
key = st.one_of(
    st.lists(st.sampled_from((*NAMES, "..", "", ".", FILE)), max_size=4).map("/".join),
    st.sampled_from(("/etc/hostname", "a/../../home", "a\0b")),
)


@given(tree=st.lists(entry, max_size=14), keys=st.lists(key, min_size=1, max_size=5))
@settings(deadline=None, max_examples=80)
def test_nothing_outside_is_read_listed_written_or_removed(tree, keys):
    with TemporaryDirectory(dir=IN_MEMORY) as base:
        root, home = Path(base) / "root", Path(base) / "home"
        (home / "a").mkdir(parents=True)
        (home / FILE).write_bytes(SECRET)
        (home / "a" / FILE).write_bytes(SECRET)
        root.mkdir()
        for where, kind, to in tree:
            path = root / where
            with suppress(OSError):
                if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(root)):
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                if kind == "file":
                    with path.open("xb") as file:
                        file.write(b"own")
                elif kind == "folder":
                    path.mkdir()
                elif kind == "fifo":
                    os.mkfifo(path)
                else:
                    path.symlink_to(to.format(root=root, home=home))
        before, store = outside(home), LocalStore(root)
        listed = list(store.entries(""))
        assert all(store.read(entry.key) == b"own" for entry in listed)
        list(store.strays(""))
        for one in (*keys, *(entry.key for entry in listed), *(where for where, _, _ in tree)):
            for do in (
                store.exists,
                store.read,
                lambda k: store.put_new(k, b"new"),
                lambda k: store.read_range(k, 0, 3),
                store.delete,
                lambda k: list(store.list(f"{k}/")),
            ):
                with suppress(ValueError, OSError, EOFError):
                    assert do(one) != SECRET
        with suppress(OSError), store.scratch() as folder:
            (folder / "object").write_bytes(b"new")
        for left in list(store.abandoned(-1e9)):
            store.discard(left)
        assert outside(home) == before
        assert {path.name for path in Path(base).iterdir()} == {"root", "home"}


@given(st.text(max_size=8), st.lists(st.sampled_from(["..", ".", "", "a", "b"]), max_size=4))
@settings(deadline=None)
def test_a_key_is_a_path_beneath_in_one_way_of_writing(text, parts):
    for one in (text, "/".join(parts)):
        if is_key(one):
            assert not one.startswith("/")
            assert os.path.normpath(one) == one
            assert ".." not in one.split("/")
    assert not any(map(is_key, (None, 5, b"a", ["a"], "", "a/", "./a", "a//b", "/a", "a/..")))


@pytest.mark.parametrize("link", ["../../..", "/", "../../../home", "{home}", "../b/../../../home"])
@pytest.mark.parametrize("where", ["shards", "shards/b", f"shards/b/{FILE}"])
def test_a_link_that_leads_out_is_named_in_one_line_and_listed_as_a_stray(tmp_path, victim, where, link):
    root = tmp_path / "root"
    path = root / where
    path.parent.mkdir(parents=True)
    path.symlink_to(link.format(home=victim))
    store, key = LocalStore(root), f"shards/b/{FILE}"
    for do in (store.read, store.exists, lambda k: store.put_new(k, b"new")):
        with pytest.raises(LeadsOutError, match=r"is a link to .* out of") as caught:
            do(key)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert list(store.list("")) == list(store.list("shards/")) == []
    assert [found for found, _ in store.strays("")] == [where]


def test_links_that_stay_inside_are_followed_and_the_dataset_itself_may_be_one(tmp_path):
    real = tmp_path / "big disk" / "root"
    LocalStore(real).put_new(f"moved/b/{FILE}", b"tar")
    (tmp_path / "root").symlink_to(real)
    (real / "shards").symlink_to(tmp_path / "root" / "moved")
    (real / "moved" / "c").symlink_to("../shards/b")
    store = LocalStore(tmp_path / "root")
    assert store.read(f"shards/b/{FILE}") == store.read(f"shards/c/{FILE}") == b"tar"
    assert store.exists(f"shards/c/{FILE}")
    assert store.put_new("shards/b/new.tar", b"new")
    assert (real / "moved" / "b" / "new.tar").read_bytes() == b"new"
    entries = {entry.key: entry.linked for entry in store.entries("shards/")}
    assert entries[f"shards/b/{FILE}"] is True
    assert not {entry.key: entry.linked for entry in store.entries("")}[f"moved/b/{FILE}"]


def test_a_ring_of_links_is_listed_once_and_ends(tmp_path):
    store = LocalStore(tmp_path)
    for number in range(12):
        store.put_new(f"d{number}/x", b"")
        for side in "ab":
            (tmp_path / f"d{number}" / side).symlink_to(f"../d{(number + 1) % 12}")
    (tmp_path / "loop").symlink_to("loop")
    assert len(list(store.list(""))) < 500
    with pytest.raises(OSError, match=r"Too many levels|too many"):
        store.read("loop/x")


@pytest.fixture
def in_memory():
    with TemporaryDirectory(dir=IN_MEMORY) as folder:
        yield Path(folder)


def test_folders_without_end_cost_nothing(tmp_path):
    store = LocalStore(tmp_path)
    for start in ("stages", ".scratch/rushes-01234567"):
        path = tmp_path / start
        for _ in range(600):
            path = path / "d"
        path.mkdir(parents=True)
    assert list(store.list("")) == []
    assert len(list(store.strays(""))) == 1
    assert list(store.abandoned(-60)) == []
    assert list(store.stray_scratch()) == [".scratch/rushes-01234567"]


def test_a_link_that_is_swapped_in_meanwhile_leads_nowhere(in_memory):
    root, victim = in_memory / "root", in_memory / "home"
    victim.mkdir()
    (victim / FILE).write_bytes(SECRET)
    (root / "shards").mkdir(parents=True)
    real, away, link = root / "shards" / "b", root / "away", root / "link"
    real.mkdir()
    link.symlink_to(victim)
    before, stop = outside(victim), threading.Event()

    def swap():
        while not stop.is_set():
            with suppress(OSError):
                os.rename(real, away)
                os.rename(link, real)
                os.rename(real, link)
                os.rename(away, real)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        store = LocalStore(root)
        for _ in range(500):
            with suppress(OSError):
                store.put_new(f"shards/b/{FILE}", b"new")
            with suppress(OSError):
                assert store.read(f"shards/b/{FILE}") == b"new"
            with suppress(OSError):
                store.delete(f"shards/b/{FILE}")
            assert all(entry.size_bytes == 3 for entry in store.entries("shards/"))
    finally:
        stop.set()
        thread.join()
    assert {name: data for name, (data, _) in outside(victim).items()} == {
        n: d for n, (d, _) in before.items()
    }


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to("fifo")],
)
def test_what_is_no_regular_file_is_never_opened(tmp_path, make):
    os.mkfifo(tmp_path / "fifo")
    make(tmp_path / "object")
    store = LocalStore(tmp_path)
    with pytest.raises(OSError, match="object"):
        store.read("object")
    assert "object" not in list(store.list(""))


def test_work_in_progress_is_only_what_is_called_so_and_is_a_folder(tmp_path, victim):
    base = tmp_path / "root" / ".scratch"
    for mine in ("notes", "rushes-01234567_backup", "tmp_backup", "rushes-0123456"):
        (base / mine).mkdir(parents=True)
    (base / "rushes-76543210").write_bytes(b"a file")
    (base / "rushes-aaaaaaaa").symlink_to(victim / "b")
    (base / "rushes-bbbbbbbb").mkdir()
    (base / "rushes-bbbbbbbb" / "home").symlink_to(victim)
    store, before = LocalStore(tmp_path / "root"), outside(victim)
    assert [entry.key for entry in store.abandoned(-60)] == [".scratch/rushes-bbbbbbbb"]
    assert len(list(store.stray_scratch())) == 6
    for entry in store.abandoned(-60):
        store.discard(entry)
    assert sorted(path.name for path in base.iterdir()) == sorted(
        [
            "notes",
            "rushes-01234567_backup",
            "tmp_backup",
            "rushes-0123456",
            "rushes-76543210",
            "rushes-aaaaaaaa",
        ]
    )
    assert outside(victim) == before


def test_scratch_that_is_a_link_is_refused(tmp_path, victim):
    root = tmp_path / "root"
    root.mkdir()
    (root / ".scratch").symlink_to(victim)
    store, before = LocalStore(root), outside(victim)
    with pytest.raises(LeadsOutError), store.scratch():
        raise AssertionError
    assert list(store.abandoned(-60)) == []
    assert outside(victim) == before
