"""What no manifest refers to can go, and nothing else: what remains is a whole dataset that has everything
done."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from jobs.cli.main import WRONG_USAGE, main
from pipelines.dataset.reader import open_dataset
from pipelines.dataset.shards import shard_key
from pipelines.storage.local_store import LocalStore
from pipelines.storage.parquet import read_parquet
from tests.conftest import run_job
from tests.support.footage import film, pan, write

SETTINGS = ["scores.text=false", "scores.nsfw=false"]
LOOSE, TIGHT = (
    ("recipe=permissive", "recipe.min.duration_s=1.0"),
    ("recipe=permissive", "recipe.min.duration_s=1.4"),
)
KINDS = ("manifests", "notes", "tables", "shards", "stages", "scratch")


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("footage")
    write(folder / "a.mp4", film(pan(1, 40, 48, 64), pan(2, 30, 48, 64)), fps=25)
    return folder


@pytest.fixture(scope="module")
def lived(footage, tmp_path_factory, shared_ray):
    """A dataset that was decided again, under which a run and a writer died, and that once had another
    captioner's work."""
    dataset = tmp_path_factory.mktemp("lived") / "dataset"
    curate(dataset, footage, shared_ray, *LOOSE)
    run_job("select", f"dataset={dataset}", f"ray.address={shared_ray.address}", *TIGHT)
    store = LocalStore(dataset)
    store.put_new(f"index/{'0' * 32}.parquet", b"of a run that died")
    store.put_new(f"shards/4x3_0_1s/{'0' * 16}.tar", b"of a run that died")
    store.put_new(f"stages/captions/{'0' * 16}/{'0' * 16}.parquet", b"of another captioner")
    store.put_new(f"stages/encode/{'0' * 16}/unit.parquet", b"of another job")
    store.put_new("latents/abc/4x3_0_1s.tar", b"of another job")
    store.put_new("index/notes.txt", b"of the owner")
    (dataset / ".scratch" / "tmpdead_012").mkdir(parents=True)
    (dataset / ".scratch" / "tmpdead_012" / "shard.tar").write_bytes(b"half a shard")
    assert len(list(open_dataset(str(dataset)).kept())) == 1
    return dataset


@pytest.fixture
def dataset(lived, tmp_path):
    return Path(shutil.copytree(lived, tmp_path / "dataset"))


def curate(dataset, footage, shared_ray, *overrides):
    address = f"ray.address={shared_ray.address}"
    return run_job("curate", f"footage={footage}", f"dataset={dataset}", address, *SETTINGS, *overrides)


def clean(dataset, *overrides, min_age_h=0):
    return run_job("clean", f"dataset={dataset}", f"min_age_h={min_age_h}", *overrides)


def counts(did):
    return {kind: did["listed"][kind]["count"] for kind in KINDS if did["listed"][kind]["count"]}


def objects(dataset):
    """Keys of everything but the folders of runs."""
    return {str(p.relative_to(dataset)) for p in dataset.rglob("*") if p.is_file() and "runs" not in p.parts}


def resolves(dataset):
    """Whether everything is there that the manifests name, and that finished work says is there."""
    named = set()
    for path in (dataset / "manifests").iterdir():
        manifest = json.loads(path.read_text())
        named |= {shard["key"] for shard in manifest["shards"]}
        named |= {key for folder in ("index", "sources", "quarantine", "looks") for key in manifest[folder]}
    for path in (dataset / "stages" / "shards").rglob("*.parquet"):
        rows = read_parquet(path.read_bytes()).to_pylist()
        named |= {shard_key(row["bucket"], row["shard"]) for row in rows if row["shard"]}
    return all((dataset / key).is_file() for key in named)


BASIC = {"tables": 1, "shards": 1, "scratch": 1}
OF_OTHERS = {"index/notes.txt", "latents/abc/4x3_0_1s.tar", f"stages/encode/{'0' * 16}/unit.parquet"}


@pytest.mark.parametrize(
    ("also", "expected"),
    [
        ((), BASIC),
        (("stages=true",), BASIC | {"stages": 1}),
        (("old_manifests=true",), BASIC | {"manifests": 1, "notes": 1, "shards": 2, "tables": 2}),
        (
            ("old_manifests=true", "stages=true"),
            BASIC | {"manifests": 1, "notes": 1, "shards": 2, "tables": 2, "stages": 1},
        ),
    ],
)
def test_after_cleaning_all_that_remains_is_whole_and_everything_is_still_done(
    dataset, footage, shared_ray, also, expected
):
    before = objects(dataset)
    listed = clean(dataset, *also)
    assert counts(listed) == expected
    assert objects(dataset) == before, "listing removes nothing"
    newest = (dataset / "manifests" / "000002.json").read_bytes()

    did = clean(dataset, *also, "remove=true")
    assert (counts(did), did["removed"]) == (expected, sum(expected.values()))
    assert before >= objects(dataset) >= OF_OTHERS
    assert len(before) - len(objects(dataset)) == did["removed"]
    assert resolves(dataset)
    assert (dataset / "manifests" / "000002.json").read_bytes() == newest
    assert counts(clean(dataset, *also)) == {}
    again = curate(dataset, footage, shared_ray, *TIGHT)
    assert (again["videos_decoded"], again["clips_cut"], again["clips_captioned"]) == (0, 0, 0)
    assert not again["changed"]
    assert run_job("verify", f"dataset={dataset}", f"ray.address={shared_ray.address}")["findings"] == 0


def test_what_was_cleaned_away_can_be_made_again(dataset, footage, shared_ray):
    whole = kept_at_first(dataset)
    assert len(whole) == 2
    clean(dataset, "old_manifests=true", "remove=true")
    run_job("select", f"dataset={dataset}", f"ray.address={shared_ray.address}", *LOOSE)
    assert {row["clip_id"]: row["size"] for row in open_dataset(str(dataset)).kept()} == whole
    assert run_job("verify", f"dataset={dataset}", f"ray.address={shared_ray.address}")["findings"] == 0


def kept_at_first(dataset):
    manifest = json.loads((dataset / "manifests" / "000001.json").read_text())
    rows = read_parquet((dataset / manifest["index"][0]).read_bytes()).to_pylist()
    return {row["clip_id"]: row["size"] for row in rows if row["status"] == "kept"}


@pytest.mark.parametrize("stop_after", range(1, 7))
def test_a_clean_that_dies_leaves_every_manifest_whole(dataset, monkeypatch, stop_after):
    deleted = []

    def dies(self, key, really=LocalStore.delete):
        if len(deleted) == stop_after:
            raise KeyboardInterrupt
        deleted.append(key)
        really(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "delete", dies)
        with pytest.raises(KeyboardInterrupt):
            clean(dataset, "old_manifests=true", "stages=true", "remove=true")
    assert len(deleted) == stop_after
    assert resolves(dataset)
    clean(dataset, "old_manifests=true", "stages=true", "remove=true")
    assert resolves(dataset)
    assert counts(clean(dataset, "old_manifests=true", "stages=true")) == {}


def test_nothing_young_is_touched(dataset):
    for path in dataset.rglob("*"):
        if path.is_file() or ".scratch" in path.parts:
            os.utime(path)
    assert counts(clean(dataset, "old_manifests=true", "stages=true", min_age_h=1)) == {}
    shard = dataset / "shards" / "4x3_0_1s" / f"{'0' * 16}.tar"
    os.utime(shard, (time.time() - 7200, time.time() - 7200))
    assert counts(clean(dataset, "old_manifests=true", "stages=true", min_age_h=1)) == {"shards": 1}


def test_what_is_too_young_is_told_with_when_it_may_go_and_how_it_goes_now(dataset, capsys):
    touched_s = 1_800_000_000  # 2027-01-15 08:00 UTC: younger than any hour
    for path in dataset.rglob("*"):
        if path.is_file() or ".scratch" in path.parts:
            os.utime(path, (touched_s, touched_s))
    did = clean(dataset, "old_manifests=true", "stages=true", min_age_h=5)
    said = capsys.readouterr().out
    assert counts(did) == {}
    assert "nothing can go yet" in said
    assert "all of it may go after 2027-01-15 13:00 UTC; min_age_h=0 has it go now" in said
    young = {kind: told["count"] for kind, told in did["young"].items()}
    long_ago_s = time.time() - 7200
    for path in dataset.rglob("*"):
        if path.is_file() or ".scratch" in path.parts:
            os.utime(path, (long_ago_s, long_ago_s))
    assert young == counts(clean(dataset, "old_manifests=true", "stages=true", min_age_h=0)), (
        "as min_age_h=0 has it"
    )
    assert "too young" not in capsys.readouterr().out


def test_what_stays_for_an_older_manifest_is_said(dataset, capsys):
    clean(dataset)
    assert (
        "the older manifest, and what only it names, stays: old_manifests=true has it go, too"
        in capsys.readouterr().out
    )
    clean(dataset, "old_manifests=true")
    assert "older manifest" not in capsys.readouterr().out


def test_a_manifest_that_another_run_commits_meanwhile_stops_it(dataset, monkeypatch):
    def races(self, key, really=LocalStore.delete):
        really(self, key)
        self.put_new("manifests/000003.json", (dataset / "manifests" / "000002.json").read_bytes())

    monkeypatch.setattr(LocalStore, "delete", races)
    with pytest.raises(RuntimeError, match="another run committed"):
        clean(dataset, "old_manifests=true", "remove=true")
    assert len(list((dataset / "shards").rglob("*.tar"))) == 3


def test_a_manifest_that_cannot_be_read_protects_everything(dataset):
    (dataset / "manifests" / "000001.json").write_text("{")
    before = objects(dataset)
    with pytest.raises(ValueError, match=r"manifests/000001.json of .* can't be read .* nothing is removed"):
        clean(dataset, "remove=true")
    assert objects(dataset) == before


HASH, PRINT = "1" * 32, "1" * 16
STRANGERS = (
    "manifests/._000001.json", "manifests/000001 (copy).json", "manifests/0000001.json",
    f"index/{HASH}.parquet.bak",
    f"index/._{HASH}.parquet", f"index/{HASH}_backup.parquet", f"sources/{HASH}.PARQUET",
    f"looks/old/{HASH}.parquet",
    f"shards/4x3_0_1s/{PRINT} (1).tar", f"shards/4x3_0_1s/._{PRINT}.tar", f"shards/{PRINT}.tar",
    "shards/.DS_Store",
    f"stages/captions/{PRINT}/notes.parquet", f"stages/captions/{PRINT}/._{PRINT}.parquet",
    f"stages/captions/{PRINT}_backup/{PRINT}.parquet",
    f"stages/shards/{PRINT}/{PRINT} copy.parquet", ".scratch/notes/todo", ".scratch/tmp_backup/a",
    ".scratch/file",
)  # fmt: skip


def test_what_is_not_ours_is_listed_and_left(dataset, tmp_path, capsys):
    home = tmp_path / "home"
    for name in (f"{PRINT}.tar", f"{HASH}.parquet", f"{PRINT}.parquet", "000009.json"):
        (home / "b" / PRINT).mkdir(parents=True, exist_ok=True)
        for folder in (home, home / "b", home / "b" / PRINT):
            (folder / name).write_bytes(b"the victim's")
    for name in STRANGERS:
        (dataset / name).parent.mkdir(parents=True, exist_ok=True)
        (dataset / name).write_bytes(b"a person's")
    links = (
        "shards/home", f"shards/4x3_0_1s/{PRINT}.tar", f"index/{HASH}.parquet",
        f"stages/captions/{PRINT}/{PRINT}.parquet",
        "stages/looks", "quarantine/old", ".scratch/rushes-01234567", "manifests/000009.json",
    )  # fmt: skip
    for name in links:
        path = dataset / name
        if path.name == "looks":
            shutil.rmtree(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(home / name.rpartition("/")[2] if path.suffix else home)
    inside = dataset / "shards" / "inside"
    inside.symlink_to("4x3_0_1s")
    before = {p: p.read_bytes() for p in home.rglob("*") if p.is_file()}

    did = clean(dataset, "old_manifests=true", "stages=true", "remove=true")
    assert did["removed"] > 5
    assert {p: p.read_bytes() for p in home.rglob("*") if p.is_file()} == before
    assert all((dataset / name).read_bytes() == b"a person's" for name in STRANGERS)
    assert all((dataset / name).is_symlink() for name in (*links, "shards/inside"))
    named = {one["key"] for one in did["not_ours"]["examples"]}
    assert named >= {name for name in STRANGERS if not name.startswith(".scratch")} | set(links)
    assert named >= {".scratch/notes", ".scratch/tmp_backup", ".scratch/file"}
    said = capsys.readouterr().out
    assert f"not ours, left: {did['not_ours']['count']} (" in said
    assert str(home / "b") not in said


def test_a_dataset_without_strangers_tells_of_none(dataset, capsys):
    (dataset / "index" / "notes.txt").unlink()
    shutil.rmtree(dataset / "stages" / "encode" / ("0" * 16))
    (dataset / "stages" / "encode" / ("0" * 16)).mkdir()
    assert clean(dataset)["not_ours"] == {"count": 0, "examples": []}
    assert "not ours" not in capsys.readouterr().out


@pytest.mark.parametrize("folder", ["runs", "shards", "index", "manifests", ".scratch", "stages"])
def test_a_folder_of_a_dataset_that_leads_out_costs_nobody_anything(dataset, tmp_path, folder):
    home = tmp_path / "home"
    shutil.copytree(dataset, home)
    shutil.rmtree(dataset / folder, ignore_errors=True)
    (dataset / folder).symlink_to(home / folder)
    (home / folder).mkdir(exist_ok=True)
    before = {p: p.lstat().st_mtime for p in home.rglob("*")}
    code = main(
        ["clean", f"dataset={dataset}", "remove=true", "min_age_h=0", "old_manifests=true", "stages=true"]
    )
    assert {p: p.lstat().st_mtime for p in home.rglob("*")} == before
    assert code in (0, WRONG_USAGE)


def test_a_note_that_cannot_be_read_is_left(dataset):
    note = next((dataset / "stages" / "shards").rglob("*.parquet"))
    note.write_bytes(b"")
    did = clean(dataset, "old_manifests=true", "remove=true")
    assert note.exists()
    assert "its rows can't be read" in [one["why"] for one in did["not_ours"]["examples"]]


def test_a_folder_that_is_no_dataset_is_refused_and_left_alone(tmp_path, capsys):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / f"{'0' * 32}.parquet").write_bytes(b"my own")
    assert main(["clean", f"dataset={tmp_path}", "remove=true", "min_age_h=0"]) == WRONG_USAGE
    assert "no dataset is there" in capsys.readouterr().err
    assert (tmp_path / "index" / f"{'0' * 32}.parquet").read_bytes() == b"my own"
