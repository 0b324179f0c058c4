"""What is in quarantine is tried again when it is asked for: what succeeds then is as if it had never
failed."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from jobs.curation.fingerprints import fingerprints
from jobs.upkeep.settings import dataset_config
from pipelines.dataset.reader import open_dataset
from pipelines.dataset.schema import CAPTIONS, CUTS, table
from pipelines.dataset.stages import Stage
from tests.conftest import run_job
from tests.support.footage import pan, write

SETTINGS = ["scores.text=false", "scores.nsfw=false", "recipe=permissive", "signals.native_every_s=0.5"]


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """A small film, and one whose every picture takes fifty megabytes; the list says what they show."""
    folder = tmp_path_factory.mktemp("footage")
    write(folder / "a.mp4", pan(1, 30, 48, 64))
    write(folder / "b.mp4", np.tile(pan(3, 2, 48, 64), (1, 90, 120, 1)), options={"preset": "ultrafast"})
    (folder / "list.csv").write_text("uri,text\na.mp4,a small film\nb.mp4,a large film\n")
    return folder / "list.csv"


def curate(footage, dataset, shared_ray, *overrides):
    address = f"ray.address={shared_ray.address}"
    return run_job("curate", f"footage={footage}", f"dataset={dataset}", address, *SETTINGS, *overrides)


def requeue(dataset, shared_ray, *overrides):
    return run_job("requeue", f"dataset={dataset}", f"ray.address={shared_ray.address}", *overrides)


def content(dataset):
    """Index and shards, as bytes by path."""
    files = [
        path
        for folder in ("index", "shards")
        for path in (Path(dataset) / folder).rglob("*")
        if path.is_file()
    ]
    named = open_dataset(str(dataset)).manifest
    keys = {*named.index, *(shard.key for shard in named.shards)}
    return {str(p.relative_to(dataset)): p.read_bytes() for p in files if str(p.relative_to(dataset)) in keys}


@pytest.fixture(scope="module")
def never_failed(footage, tmp_path_factory, shared_ray):
    dataset = tmp_path_factory.mktemp("whole") / "dataset"
    curate(footage, dataset, shared_ray)
    assert len(list(open_dataset(str(dataset)).kept())) == 2
    return dataset


def test_a_source_that_needed_more_memory_is_as_if_it_had_never_failed(
    footage, never_failed, tmp_path, shared_ray
):
    dataset = tmp_path / "dataset"
    curate(footage, dataset, shared_ray, "limits.memory_bytes=268435456")
    (row,) = open_dataset(str(dataset)).quarantine().table().to_pylist()
    assert (row["source_uri"][-5:], row["reason"]) == ("b.mp4", "out_of_memory")
    curate(footage, dataset, shared_ray)
    assert len(open_dataset(str(dataset)).quarantine().table()) == 1, (
        "nothing that lasts is tried again unasked"
    )

    did = requeue(dataset, shared_ray, "reasons=[timed_out]")
    assert (did["tried"], did["still_quarantined"]) == (0, 0)
    did = requeue(dataset, shared_ray, "limits.memory_bytes=268435456")
    assert (did["tried"], did["still_quarantined"], did["videos_decoded"]) == (1, 1, 1)
    assert open_dataset(str(dataset)).quarantine().table()["reason"].to_pylist() == ["out_of_memory"]

    did = requeue(dataset, shared_ray, "limits.memory_bytes=4294967296", "sources=*b.mp4")
    assert (did["tried"], did["still_quarantined"], did["videos_decoded"], did["videos_hashed"]) == (
        1,
        0,
        1,
        0,
    )
    assert content(dataset) == content(never_failed)
    assert {row["source_text"] for row in open_dataset(str(dataset)).kept()} == {
        "a small film",
        "a large film",
    }
    assert requeue(dataset, shared_ray)["tried"] == 0


@pytest.mark.parametrize("stage", ["captions", "cut"])
def test_a_clip_that_could_not_be_captioned_or_cut_is_as_if_it_could(
    footage, never_failed, tmp_path, shared_ray, stage
):
    dataset = tmp_path / "dataset"
    clip, other = sorted(open_dataset(str(never_failed)).kept(), key=lambda row: row["source_uri"])
    prints = fingerprints(dataset_config(str(never_failed)))
    failed = {"clip_id": clip["clip_id"], "reason": "crashed", "message": "the process was ended by SIGSEGV"}
    if stage == "captions":
        rows = Stage(open_dataset(str(never_failed)).store, "captions", prints.captions).rows()
        told = {row["clip_id"]: row for row in rows}
        failed["shown"] = told[clip["clip_id"]]["shown"]
        rows = table([failed, told[other["clip_id"]]], CAPTIONS)
        unit, print_ = "a-batch-of-two", prints.captions
    else:
        rows, unit, print_ = table([failed], CUTS), clip["clip_id"], prints.cut
    from pipelines.storage.open_store import open_store

    Stage(open_store(str(dataset)), stage, print_).commit(unit, rows)
    curate(footage, dataset, shared_ray)
    opened = open_dataset(str(dataset))
    assert [(row["clip_id"], row["stage"]) for row in opened.quarantine().table().to_pylist()] == [
        (clip["clip_id"], stage)
    ]
    assert [row["clip_id"] for row in opened.index().table().to_pylist()] == [other["clip_id"]]

    did = requeue(dataset, shared_ray)
    assert (did["tried"], did["still_quarantined"], did["videos_decoded"]) == (1, 0, 0)
    assert did["clips_captioned"] == 1
    opened = open_dataset(str(dataset))
    assert sorted(row["clip_id"] for row in opened.kept()) == sorted([clip["clip_id"], other["clip_id"]])
    whole = open_dataset(str(never_failed))
    assert {row["clip_id"]: opened.read(row) for row in opened.kept()} == {
        row["clip_id"]: whole.read(row) for row in whole.kept()
    }
    assert not len(opened.quarantine().table())


def test_copies_of_what_succeeds_now_leave_the_quarantine_with_it(footage, tmp_path, shared_ray):
    folder, dataset = tmp_path / "footage", tmp_path / "dataset"
    folder.mkdir()
    for name in ("one.mp4", "two.mp4"):
        shutil.copyfile(footage.with_name("b.mp4"), folder / name)
    shutil.copyfile(footage.with_name("a.mp4"), folder / os.fsdecode(b"no\xfftext.mp4"))
    curate(folder, dataset, shared_ray, "limits.memory_bytes=268435456")
    reasons = open_dataset(str(dataset)).quarantine().table()["reason"].to_pylist()
    assert sorted(reasons) == ["out_of_memory", "out_of_memory", "unreadable"]
    did = requeue(dataset, shared_ray, "limits.memory_bytes=4294967296", "sources=*one.mp4")
    assert (did["tried"], did["still_quarantined"], did["videos_decoded"]) == (2, 0, 1)
    opened = open_dataset(str(dataset))
    assert opened.quarantine().table()["reason"].to_pylist() == ["unreadable"]
    assert sorted(opened.sources().table()["status"].to_pylist()) == ["duplicate", "quarantined", "video"]
    assert requeue(dataset, shared_ray)["tried"] == 0, "a name that is no text is none to look for"


def test_a_reason_that_is_none_is_refused(never_failed, shared_ray):
    with pytest.raises(ValueError, match=r"reasons=\['timeout'\]: not known; known are missing"):
        requeue(never_failed, shared_ray, "reasons=[timeout]")
