"""Small work is done without Ray, with the same bytes as on it; a crash of what decodes is a row, and Ctrl-C
ends it at once."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jobs.cluster import in_process
from jobs.cluster.config import RayConfig
from pipelines.dataset.reader import open_dataset
from pipelines.sandbox import child
from pipelines.sandbox.answers import Limits
from tests.support.footage import film, pan, write

LIMITS = Limits(60, 2**28)
TRUTH = ("manifests", "index", "shards", "sources", "quarantine", "looks")
OPTIONS = ("recipe=permissive", "recipe.min.duration_s=1", "cut.max_lead_share=0.4", "unit_s=1")


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """Two films of which one is measured in three units, a copy, a note, half a film; one clip is too short
    for tags."""
    folder = tmp_path_factory.mktemp("footage")
    one_keyframe = {"x264-params": "keyint=250:scenecut=0"}
    write(folder / "a.mp4", film(pan(1, 40, 48, 64), pan(2, 35, 48, 64, -1.0)), options=one_keyframe)
    write(folder / "b.avi", pan(6, 30, 48, 64), codec="mpeg4", options={"qmin": "2", "qmax": "2"})
    shutil.copy(folder / "a.mp4", folder / "copy of a.mp4")
    (folder / "notes.txt").write_text("a sunny day")
    (folder / "half.mp4").write_bytes((folder / "a.mp4").read_bytes()[:3000])
    return folder


def rushes(*arguments, **environment):
    """A command in a process of its own; what it said, and whether it ever imported Ray."""
    code = (
        "import sys; from jobs.cli.main import main; code = main(sys.argv[1:]); "
        "print('ray' in sys.modules, 'torch' in sys.modules); sys.exit(code)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | environment
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, timeout=300
    )
    *said, imported = done.stdout.splitlines()
    return done, said, imported


def content(dataset):
    """Everything that must be the same: relative path → bytes."""
    files = [path for folder in TRUTH for path in sorted((dataset / folder).rglob("*")) if path.is_file()]
    return {str(path.relative_to(dataset)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def datasets(footage, tmp_path_factory, shared_ray):
    """The same footage, curated here and on Ray."""
    folder, made = tmp_path_factory.mktemp("datasets"), []
    for name, ray in (("here", []), ("on_ray", [f"ray.address={shared_ray.address}"])):
        dataset = folder / name
        done, _, imported = rushes("curate", f"footage={footage}", f"dataset={dataset}", *OPTIONS, *ray)
        assert done.returncode == 0, done.stderr
        assert imported.split()[0] == str(bool(ray))
        made.append(dataset)
    return made


def test_a_small_run_makes_without_ray_what_it_makes_on_ray(datasets):
    assert content(datasets[0]) == content(datasets[1])
    opened = open_dataset(str(datasets[0]))
    assert {row["cut_method"] for row in opened.kept()} == {"copy", "encode"}
    assert [row["reason"] for row in opened.quarantine().table().to_pylist()] == ["truncated"]


def test_deciding_and_cutting_again_and_verifying_do_not_need_ray_either(datasets, tmp_path, shared_ray):
    after = []
    for made, ray in zip(datasets, ([], [f"ray.address={shared_ray.address}"]), strict=True):
        dataset = Path(shutil.copytree(made, tmp_path / made.name))
        kept = len(list(open_dataset(str(dataset)).kept()))
        for bound, changed in (("1.3", -1), ("1", 0)):
            done, _, imported = rushes("select", f"dataset={dataset}", f"recipe.min.duration_s={bound}", *ray)
            assert done.returncode == 0, done.stderr
            assert imported == f"{bool(ray)} False", (
                "nothing is to be computed, so torch is not asked what is fast"
            )
            assert len(list(open_dataset(str(dataset)).kept())) == kept + changed
        done, said, imported = rushes("verify", f"dataset={dataset}", *ray)
        assert done.returncode == 0, done.stderr
        assert f"{kept} clips decoded" in said[-1]
        assert imported.split()[0] == str(bool(ray))
        after.append(content(dataset))
    assert after[0] == after[1]


def test_who_names_a_ray_or_has_much_to_do_gets_ray():
    nothing = RayConfig()
    assert (
        in_process.is_small(nothing, in_process.MAX_ITEMS, in_process.MAX_FOOTAGE_S, in_process.MAX_BYTES)
        != in_process._connected()
    )
    for much in (
        (in_process.MAX_ITEMS + 1,),
        (1, in_process.MAX_FOOTAGE_S + 1),
        (1, 0.0, in_process.MAX_BYTES + 1),
    ):
        assert not in_process.is_small(nothing, *much)
    assert not in_process.is_small(RayConfig(num_cpus=2), 1)
    assert not in_process.is_small(RayConfig(address="auto"), 1)


def crash_over(item):
    if item == "poison":
        os.kill(os.getpid(), signal.SIGSEGV)
    return f"{item} {os.getpid()}"


def in_a_child(item):
    try:
        return child.call(crash_over, item, limits=LIMITS)
    except child.MediaError as error:
        return str(error.reason)


def test_results_come_in_order_and_who_crashes_its_child_takes_no_neighbour_with_it():
    made = list(in_process.map_in_threads(in_a_child, ["a", "poison", "b", "c"]))
    assert [text.split()[0] for text in made] == ["a", "crashed", "b", "c"]
    assert list(in_process.map_in_threads(in_a_child, [])) == []


def note_and_sleep(folder, item):
    (Path(folder) / str(item)).write_text(str(os.getpid()))
    time.sleep(600)


def runs(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("how", ["closed", "failed"])
def test_what_is_given_up_ends_at_once_with_its_children(tmp_path, how):
    begun = threading.Event()

    def work(item):
        if item == "first":
            while len(list(tmp_path.iterdir())) < 1:
                time.sleep(0.01)
            begun.set()
            if how == "failed":
                raise KeyError(item)
            return item
        return child.call(
            note_and_sleep, str(tmp_path), item, limits=Limits(600, 2**28, 2**20), writes=tmp_path
        )

    results = (
        in_process.map_in_threads(work, ["first", *range(8)]) if len(os.sched_getaffinity(0)) > 1 else None
    )
    if results is None:
        pytest.skip("one core: nothing is side by side")
    if how == "failed":
        with pytest.raises(KeyError):
            next(results)
    else:
        assert next(results) == "first"
        results.close()
    assert begun.is_set()
    pids = [int(path.read_text()) for path in tmp_path.iterdir()]
    assert 1 <= len(pids) <= 4
    for _ in range(200):  # killed; whoever adopts them buries them
        if not any(map(runs, pids)):
            break
        time.sleep(0.05)
    assert not any(map(runs, pids))
    assert child.call(crash_over, "again", limits=LIMITS).startswith("again"), "and the next call works"
