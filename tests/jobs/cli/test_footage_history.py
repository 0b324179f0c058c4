"""Footage that was curated here may be gone back to; what can't be kept must be given again, and nobody else
can say it."""

import os
import shutil

import pytest

from jobs.cli.footage_history import record_footage, recorded_footage
from pipelines.dataset.reader import open_dataset
from pipelines.footage.allowed_footage import FootageRoot
from tests.conftest import run_job
from tests.support.footage import pan, write


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "rushes" / "footage.jsonl"


def test_what_was_given_is_kept_once_and_for_its_user_alone(state, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for footage in ("films", "s3://bucket/films", "films"):
        record_footage(footage, "uri")
    assert recorded_footage() == [FootageRoot(str(tmp_path / "films")), FootageRoot("s3://bucket/films")]
    assert (state.stat().st_mode & 0o777, state.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    with state.open("a") as file:
        file.write('{"footage": "/half')  # of a disk that was full
    assert recorded_footage() == [FootageRoot(str(tmp_path / "films")), FootageRoot("s3://bucket/films")]


def test_a_file_that_others_may_write_a_link_or_a_pipe_says_nothing(state, tmp_path):
    record_footage("/films", "uri")
    state.chmod(0o666)
    assert recorded_footage() == []
    state.chmod(0o600)
    target = state.rename(tmp_path / "other.jsonl")
    state.symlink_to(target)
    assert recorded_footage() == []
    state.unlink()
    os.mkfifo(state)
    assert recorded_footage() == []


def test_without_a_home_nothing_is_kept_and_nothing_fails(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    record_footage("/films", "uri")
    assert recorded_footage() == []


def test_a_dataset_of_somebody_else_has_its_sources_opened_only_if_they_are_given(state, tmp_path):
    footage, dataset = tmp_path / "films", tmp_path / "dataset"
    footage.mkdir()
    write(footage / "a.mp4", pan(1, 30, 48, 64))
    run_job(
        "curate",
        f"footage={footage}",
        f"dataset={dataset}",
        "recipe.min.duration_s=100",
        "scores.text=false",
        "scores.nsfw=false",
    )
    theirs = shutil.copytree(dataset, tmp_path / "theirs")
    loose = ("recipe=permissive", "recipe.min.duration_s=0")
    shutil.rmtree(state.parent)  # as of somebody who has not curated it

    run_job("select", f"dataset={theirs}", *loose)
    (row,) = open_dataset(str(theirs)).quarantine().table().to_pylist()
    assert row["reason"] == "missing"
    assert "give the footage with footage=" in row["message"]
    with pytest.raises(ValueError, match=r"only the dataset names it; give the footage with footage="):
        run_job("requeue", f"dataset={theirs}")
    with pytest.raises(FileNotFoundError, match="nothing is there"):
        run_job("select", f"dataset={theirs}", f"footage={tmp_path}/flims")
    did = run_job("select", f"dataset={theirs}", f"footage={footage}")
    assert did["clips_cut"] == 1
    assert not len(open_dataset(str(theirs)).quarantine().table())

    record_footage(str(footage), "uri")
    assert run_job("select", f"dataset={dataset}", *loose)["clips_cut"] == 1
