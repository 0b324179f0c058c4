"""The laws of a dataset: what is changed is made again and nothing else, in whatever order footage came and
whoever else wrote."""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import pytest

from jobs.cli.compose import compose
from jobs.cli.registry import JOBS
from jobs.cli.run_folder import open_run
from jobs.curation.curation import Curation
from jobs.curation.shard_writer import ShardWriter
from pipelines.dataset.reader import open_dataset
from pipelines.errors import MediaError, Reason
from pipelines.footage.allowed_footage import AllowedFootage
from pipelines.footage.listing import find_footage
from tests.conftest import run_job
from tests.support.footage import film, pan, write
from tests.support.serial_graph import SerialGraph

HEIGHT, WIDTH = 48, 64
SETTINGS = ["scores.nsfw=false", "recipe=permissive", "recipe.min.duration_s=1", "signals.native_every_s=0.5"]
# Where a clip lies follows from what else was there when it was packed; all else must not.
PLACE = ("shard", "offset", "size", "json_offset", "json_size", "txt_offset", "txt_size")


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """Two folders: a film each, a worse copy of the other's film in each, and one and the same file in
    both."""
    root = tmp_path_factory.mktemp("footage")
    for name in ("a", "b"):
        (root / name).mkdir()
    one, two = pan(1, 40, HEIGHT, WIDTH), pan(2, 40, HEIGHT, WIDTH, -1.0)
    write(root / "a" / "one.mp4", film(one, pan(3, 30, HEIGHT, WIDTH)))
    write(root / "b" / "one again.mp4", one, options={"crf": "30"})
    write(root / "b" / "two.mp4", two)
    write(root / "a" / "two again.mp4", two, options={"crf": "30"})
    write(root / "a" / "same.mp4", pan(5, 30, HEIGHT, WIDTH, 0.5))
    shutil.copy(root / "a" / "same.mp4", root / "b" / "zz.mp4")
    (root / "b" / "broken.mp4").write_bytes((root / "a" / "one.mp4").read_bytes()[:3000])
    return root


def curate(footage, dataset, shared_ray, *overrides):
    address = f"ray.address={shared_ray.address}"
    return run_job("curate", f"footage={footage}", f"dataset={dataset}", address, *SETTINGS, *overrides)


def decisions(dataset):
    """Every clip with all that is known of it but where it lies; and what became of every source."""
    opened = open_dataset(str(dataset))
    clips = [{k: v for k, v in row.items() if k not in PLACE} for row in opened.index().table().to_pylist()]
    return clips, opened.sources().table().to_pylist(), opened.quarantine().table().to_pylist()


@pytest.fixture(scope="module")
def at_once(footage, tmp_path_factory, shared_ray):
    dataset = tmp_path_factory.mktemp("both") / "dataset"
    curate(footage, dataset, shared_ray)
    return dataset


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_one_after_the_other_holds_the_same_clips_and_decisions_as_both_at_once(
    footage, at_once, tmp_path, shared_ray, order
):
    for name in order:
        curate(footage / name, tmp_path / "dataset", shared_ray)
    clips, sources, quarantine = decisions(tmp_path / "dataset")
    expected = decisions(at_once)
    copies = [row for row in expected[0] if row["duplicate_of"]]
    assert len(copies) == 2, "there is something to decide between the two folders"
    # Which of two sources with the same bytes stands for their video is whose came first.
    same = {row["video_id"] for row in expected[1] if row["status"] == "duplicate"}
    told = ("source_uri",)

    def plain(rows):
        return [
            {k: v for k, v in row.items() if k not in told or row["video_id"] not in same}
            for row in sorted(rows, key=lambda row: row["clip_id"])
        ]

    assert plain(clips) == plain(expected[0])
    assert [row["uri"] for row in sources] == [row["uri"] for row in expected[1]]
    assert sorted(row["status"] for row in sources) == sorted(row["status"] for row in expected[1])
    assert quarantine == expected[2]


def stage_files(dataset):
    """Finished units by stage."""
    stages = Path(dataset) / "stages"
    return {stage.name: {str(path) for path in stage.rglob("*.parquet")} for stage in stages.iterdir()}


def test_a_changed_score_is_measured_again_and_no_other_caption_or_clip_is_made(
    at_once, footage, tmp_path, shared_ray
):
    dataset = shutil.copytree(at_once, tmp_path / "dataset")
    before = stage_files(dataset)
    did = curate(footage, dataset, shared_ray, "scores.text_side_px=640")
    after = stage_files(dataset)
    assert {name for name in after if after[name] != before[name]} == {"text", "clips", "looks"}
    assert (did["videos_hashed"], did["clips_captioned"], did["clips_cut"], did["shards_written"]) == (
        0,
        0,
        0,
        0,
    )


def test_two_runs_that_write_one_dataset_at_the_same_time_both_have_their_clips_in_it(
    footage, at_once, tmp_path, shared_ray
):
    dataset = tmp_path / "dataset"
    command = [
        sys.executable,
        "-m",
        "jobs.cli.main",
        "curate",
        f"dataset={dataset}",
        f"ray.address={shared_ray.address}",
    ]
    runs = [
        subprocess.Popen(
            [*command, *SETTINGS, f"footage={footage / name}"], stdout=subprocess.PIPE, text=True
        )
        for name in ("a", "b")
    ]
    said = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    numbers = sorted(int(path.stem) for path in (dataset / "manifests").iterdir())
    assert numbers == [1, 2]
    ids = {row["clip_id"]: (row["status"], row["duplicate_of"]) for row in decisions(dataset)[0]}
    assert ids == {row["clip_id"]: (row["status"], row["duplicate_of"]) for row in decisions(at_once)[0]}


def curate_here(footage, dataset, between=lambda: None):
    """A run in this process, without Ray; `between` is done when everything is measured and nothing
    decided."""
    composed = compose(
        JOBS["curate"],
        [f"footage={footage}", f"dataset={dataset}", *SETTINGS, "shards.max_clips=2", "ray.num_cpus=1"],
    )
    with (
        open_run("curate", dataset / "runs" / str(len(list(dataset.glob("runs/*")))), composed.yaml) as run,
        ExitStack() as stack,
    ):
        curation = Curation(composed.cfg, find_footage(str(footage)), run, stack, AllowedFootage(()))
        curation.streams.graph = SerialGraph(curation.store.uri, curation.cfg, curation.prints)
        curation.streams.on_ray = True
        analyses = curation.analyse()
        between()
        curation.finish(analyses)
    return curation.did


def forget_manifests(dataset):
    """As if the run had been killed just before it committed."""
    for folder in ("manifests", "index", "sources", "quarantine"):
        shutil.rmtree(dataset / folder)


def test_shards_are_the_same_whether_it_was_known_or_not_that_a_clip_can_not_be_cut(footage, tmp_path):
    dataset = tmp_path / "dataset"
    clips = decisions_here(footage, tmp_path / "before")
    victim = min(row["clip_id"] for row in clips)
    cut = ShardWriter._cut

    def refuse(self, clip, out):
        if clip["clip_id"] == victim:
            raise MediaError(Reason.UNFAITHFUL, "the copy decodes to other pictures")
        return cut(self, clip, out)

    with mock.patch.object(ShardWriter, "_cut", refuse):
        did = curate_here(footage, dataset)
    assert did["clips_cut"] == len(clips) >= 4, "each once, though what was left was packed again"
    learned = open_dataset(str(dataset))
    before = learned.index().table().to_pylist(), learned.manifest.shards
    assert victim not in {row["clip_id"] for row in before[0]}
    forget_manifests(dataset)
    curate_here(footage, dataset)
    known = open_dataset(str(dataset))
    assert (known.index().table().to_pylist(), known.manifest.shards) == before


def test_a_source_that_was_away_while_its_shard_was_written_comes_back_into_one(footage, tmp_path):
    dataset, folder = tmp_path / "dataset", tmp_path / "footage"
    shutil.copytree(footage / "a", folder)
    away = tmp_path / "away.mp4"
    curate_here(folder, dataset, between=lambda: (folder / "same.mp4").rename(away))
    kept = len(list(open_dataset(str(dataset)).kept()))
    (row,) = open_dataset(str(dataset)).quarantine().table().to_pylist()
    assert (row["source_uri"], row["stage"], row["reason"]) == (str(folder / "same.mp4"), "cut", "missing")
    forget_manifests(dataset)
    away.rename(folder / "same.mp4")
    curate_here(folder, dataset)
    assert len(list(open_dataset(str(dataset)).kept())) == kept + 1
    assert not len(open_dataset(str(dataset)).quarantine().table())


def test_nothing_is_cut_from_a_file_that_was_put_in_a_sources_place(footage, tmp_path):
    dataset, folder = tmp_path / "dataset", tmp_path / "footage"
    shutil.copytree(footage / "a", folder)
    kept, cut = folder / "same.mp4", ShardWriter._cut
    whole, stat = kept.read_bytes(), kept.stat()

    def replaced(self, clip, out):
        if clip["source_uri"] == str(kept):
            kept.write_bytes((folder / "one.mp4").read_bytes())
        return cut(self, clip, out)

    with mock.patch.object(ShardWriter, "_cut", replaced):
        curate_here(folder, dataset)
    (row,) = open_dataset(str(dataset)).quarantine().table().to_pylist()
    assert (row["source_uri"], row["stage"], row["reason"]) == (str(kept), "cut", "missing")
    assert "has changed since it was listed" in row["message"]
    kept.write_bytes(whole)
    os.utime(kept, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    curate_here(folder, dataset)
    assert not len(open_dataset(str(dataset)).quarantine().table()), "nothing lasting was said of it"


def decisions_here(footage, dataset):
    curate_here(footage, dataset)
    return list(open_dataset(str(dataset)).kept())
