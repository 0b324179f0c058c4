"""Footage becomes a dataset: everything is accounted for, nothing is done twice, the same content is the same
bytes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import webdataset

from jobs.cli.run_folder import Run
from jobs.cluster.config import RayConfig
from jobs.cluster.connect import connect
from jobs.curate import check, run
from jobs.curation.config import CurateConfig
from jobs.curation.fingerprints import fingerprints
from jobs.inspect import describe
from jobs.listing.dataset_text import as_text
from pipelines.dataset.reader import open_dataset
from pipelines.media.decode import frames_at, iterate_frames
from pipelines.media.read_clock import read_clock
from pipelines.precision import AUTO, decide
from pipelines.storage.local_store import LocalStore
from tests.support.footage import film, pan, texture, write
from tests.support.sounds import film_with_sound

HEIGHT, WIDTH = 48, 64


@pytest.fixture(scope="module", autouse=True)
def ray():
    with connect(RayConfig(num_cpus=2)):
        yield


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """Two films with three and two shots, a copy, a note, a text and half a film that claim to be films."""
    folder = tmp_path_factory.mktemp("footage")
    still = np.repeat(texture(5, HEIGHT, WIDTH)[None], 30, axis=0)
    write(
        folder / "a.mp4",
        film(pan(1, 30, HEIGHT, WIDTH), pan(2, 20, HEIGHT, WIDTH), pan(3, 40, HEIGHT, WIDTH, -1.0)),
    )
    write(
        folder / "b.avi",
        film(pan(6, 30, HEIGHT, WIDTH), still),
        codec="mpeg4",
        options={"qmin": "2", "qmax": "2"},
    )
    shutil.copy(folder / "a.mp4", folder / "copy of a.mp4")
    (folder / "notes.txt").write_text("shot on a sunny day")
    (folder / "text.mp4").write_text("dear diary, " * 20)
    whole = (folder / "a.mp4").read_bytes()
    (folder / "half.mp4").write_bytes(whole[: len(whole) // 2])
    return folder


def curate(footage, dataset, **changes):
    cfg = CurateConfig(footage=str(footage), dataset=str(dataset))
    cfg.recipe.min = {"duration_s": 1.0}
    cfg.signals.native_every_s = 0.5  # clips of a second have native frames, too
    for key, value in changes.items():
        group, _, name = key.partition("__")
        setattr(getattr(cfg, group), name, value)
    check(cfg)
    folder = Path(dataset) / "runs" / "test"
    folder.mkdir(parents=True, exist_ok=True)
    return run(cfg, Run("curate", folder))


def content(dataset, *folders):
    """Everything that must be the same: relative path → bytes."""
    root = Path(dataset)
    files = [path for folder in folders for path in sorted((root / folder).rglob("*")) if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


TRUTH = ("manifests", "index", "shards")


@pytest.fixture(scope="module")
def first(footage, tmp_path_factory):
    dataset = tmp_path_factory.mktemp("first") / "dataset"
    return dataset, curate(footage, dataset)


def test_every_source_and_every_clip_is_accounted_for(first, footage):
    dataset, did = first
    assert did["videos_decoded"] == 2
    ledger = json.loads((dataset / "runs" / "test" / "ledger.json").read_text())
    assert ledger == {
        "sources": 6,
        "videos": 2,
        "duplicates": 1,
        "ignored": 1,
        "sources_quarantined": 2,
        "clips": 5,
        "clips_kept": 3,
        "clips_rejected": 2,
        "clips_quarantined": 0,
    }
    opened = open_dataset(str(dataset))
    status = {Path(row["uri"]).name: row["status"] for row in opened.sources().table().to_pylist()}
    assert status == {
        "a.mp4": "video",
        "b.avi": "video",
        "copy of a.mp4": "duplicate",
        "half.mp4": "quarantined",
        "notes.txt": "ignored",
        "text.mp4": "quarantined",
    }
    reasons = {Path(row["source_uri"]).name: row["reason"] for row in opened.quarantine().table().to_pylist()}
    assert reasons == {"half.mp4": "truncated", "text.mp4": "unreadable"}
    rejected = {
        row["num_frames"]: row["reject_reasons"]
        for row in opened.index().table().to_pylist()
        if row["status"] == "rejected"
    }
    assert rejected == {20: ["too_short"], 30: ["static"]}


def test_the_numbers_that_networks_compute_in_are_decided_once_and_kept(first, footage, monkeypatch, capsys):
    dataset, did = first
    began = open_dataset(str(dataset)).manifest.settings["precision"]
    assert did["precision"] == began == decide(AUTO).name
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # as on another machine, that goes on with it
    capsys.readouterr()
    again = curate(footage, dataset)
    assert (again["videos_decoded"], again["precision"], again["changed"]) == (0, began, False)
    said = capsys.readouterr().out.splitlines()[0]
    assert said.startswith(f"curate computes in {began} (as it began")
    assert ("many times faster here" in said) == (began == "bf16")
    other = {"bf16": "fp32", "fp32": "bf16"}[began]
    cfg = CurateConfig(footage=str(footage), dataset=str(dataset))
    prints = [fingerprints(replace(cfg, precision=name)) for name in (began, other)]
    changed = {name for name, print_ in prints[0].measured.items() if print_ != prints[1].measured[name]}
    assert changed == {"signals", "tags"}, "what no network of ours measures is not measured again"
    assert (prints[0].cut, prints[0].captions, prints[0].probe) == (
        prints[1].cut,
        prints[1].captions,
        prints[1].probe,
    )


def test_the_clips_are_the_shots_frame_by_frame(first, footage):
    dataset, _ = first
    opened = open_dataset(str(dataset))
    for row in opened.kept():
        source = Path(row["source_uri"])
        clock = read_clock(source)
        start = clock.index_of(row["start_pts"])
        wanted = frames_at(source, clock, list(range(start, start + row["num_frames"])))
        mp4 = opened.read(row, "mp4")
        got = np.stack([frame for _, frame in iterate_frames(mp4, read_clock(mp4))])
        assert got.shape == wanted.shape
        assert row["cut_method"] == "copy"
        np.testing.assert_array_equal(got, wanted)
        passport = json.loads(opened.read(row, "json"))
        assert passport["clip_id"] == row["clip_id"]
        assert opened.read(row, "txt").decode() == row["caption_short"] == passport["caption_short"]
        assert row["caption_dense"]
        assert (passport["cut_method"], passport["lead_frames"]) == ("copy", row["lead_frames"])
    assert any(row["lead_frames"] for row in opened.kept())


def test_any_webdataset_reader_reads_every_shard(first):
    dataset, _ = first
    opened = open_dataset(str(dataset))
    keys = []
    for shard in opened.shards():
        samples = list(webdataset.WebDataset(str(dataset / shard.key), shardshuffle=False))
        assert all({"mp4", "json", "txt"} <= set(sample) for sample in samples)
        keys += [sample["__key__"] for sample in samples]
    assert sorted(keys) == sorted(row["clip_id"] for row in opened.kept())


def test_inspect_says_what_there_is(first):
    holds = describe(str(first[0]))
    assert list(holds)[:11] == [
        "videos",
        "sources",
        "ignored",
        "clips_kept",
        "clips_rejected",
        "clips_duplicate",
        "quarantined",
        "buckets",
        "shards",
        "bytes",
        "hours",
    ]
    assert holds["hours"] == pytest.approx((30 + 40 + 30) / 25 / 3600)
    assert sum(bucket["clips"] for bucket in holds["buckets"].values()) == holds["clips_kept"] == 3
    assert holds["bytes"] == sum(path.stat().st_size for path in (first[0] / "shards").rglob("*.tar"))
    assert sum(bucket["bytes"] for bucket in holds["buckets"].values()) == holds["bytes"]
    assert holds["footage_s"] == pytest.approx(
        holds["kept_s"] + holds["rejected_s"] + holds["between_clips_s"]
    )
    assert "16x9" not in as_text(holds)
    assert "4x3_0_1s" in as_text(holds)


def test_curating_again_decodes_nothing_and_changes_no_byte(first, footage):
    dataset, _ = first
    before = content(dataset, *TRUTH)
    did = curate(footage, dataset)
    assert (did["videos_hashed"], did["videos_decoded"], did["clips_captioned"], did["clips_cut"]) == (
        0,
        0,
        0,
        0,
    )
    assert not did["changed"]
    assert content(dataset, *TRUTH) == before


def test_a_second_dataset_from_the_same_footage_is_the_same_byte_for_byte(first, footage, tmp_path):
    curate(footage, tmp_path / "second")
    assert content(tmp_path / "second", *TRUTH) == content(first[0], *TRUTH)


def test_the_recipe_decides_without_touching_footage_and_can_be_taken_back(first, footage, tmp_path):
    dataset = shutil.copytree(first[0], tmp_path / "dataset")
    before = open_dataset(str(dataset))
    did = curate(footage, dataset, recipe__min={"duration_s": 1.3})
    assert (did["videos_decoded"], did["clips_captioned"], did["clips_cut"]) == (0, 0, 0)
    assert [row["num_frames"] for row in open_dataset(str(dataset)).kept()] == [40]
    did = curate(footage, dataset)
    assert (did["videos_decoded"], did["clips_captioned"], did["manifest"]) == (0, 0, 3)
    after = open_dataset(str(dataset))
    assert {row["clip_id"]: after.read(row) for row in after.kept()} == {
        row["clip_id"]: before.read(row) for row in before.kept()
    }
    assert after.manifest.recipe == before.manifest.recipe


def test_another_captioner_makes_captions_again_and_nothing_else(first, footage, tmp_path):
    dataset = shutil.copytree(first[0], tmp_path / "dataset")
    did = curate(footage, dataset, captioner__num_frames=2)
    assert (did["videos_decoded"], did["clips_captioned"], did["clips_cut"]) == (0, 3, 0)
    before, after = open_dataset(str(first[0])), open_dataset(str(dataset))
    assert [after.read(row) for row in after.kept()] == [before.read(row) for row in before.kept()]


def test_another_way_of_cutting_cuts_again_and_nothing_else_and_says_why(first, footage, tmp_path):
    dataset = shutil.copytree(first[0], tmp_path / "dataset")
    did = curate(footage, dataset, cut__method="encode")
    assert (did["videos_decoded"], did["clips_captioned"], did["clips_cut"], did["clips_encoded"]) == (
        0,
        0,
        3,
        3,
    )
    rows = list(open_dataset(str(dataset)).kept())
    assert {(row["cut_method"], row["cut_why"], row["lead_frames"]) for row in rows} == {
        ("encode", "cut.method=encode", 0)
    }


def test_added_footage_leaves_old_shards_and_a_run_that_lost_the_race_goes_on(
    first, footage, tmp_path, monkeypatch
):
    dataset = shutil.copytree(first[0], tmp_path / "dataset")
    more = tmp_path / "more"
    more.mkdir()
    write(more / "c.mp4", pan(8, 30, HEIGHT, WIDTH, 2.0))

    import jobs.curation.commit as module

    publish, raced = module.publish, []

    def after_another_run(store, base, manifest):
        if not raced:
            raced.append(base)
            other = json.loads(LocalStore(dataset).read("manifests/000001.json"))
            other["recipe"]["name"] = "another"
            store.put_new("manifests/000002.json", json.dumps(other).encode())
        return publish(store, base, manifest)

    monkeypatch.setattr(module, "publish", after_another_run)
    did = curate(more, dataset)
    assert raced == [1]
    assert (did["manifest"], did["videos_decoded"], did["clips_cut"]) == (3, 1, 1)
    old, new = open_dataset(str(first[0])), open_dataset(str(dataset))
    assert {shard.id for shard in old.shards()} < {shard.id for shard in new.shards()}
    assert len(list(new.kept())) == 4
    ids = {row["clip_id"]: row["reject_reasons"] for row in new.index().table().to_pylist()}
    assert {
        row["clip_id"]: row["reject_reasons"] for row in old.index().table().to_pylist()
    }.items() <= ids.items()
    assert len(new.sources().table()) == 7


def test_what_a_user_gets_wrong_is_said_before_anything_starts(footage, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing is there"):
        curate(tmp_path / "nowhere", tmp_path / "d")
    with pytest.raises(ValueError, match="did you mean 'tagger'"):
        curate(footage, tmp_path / "d", captioner__name="taggr")
    with pytest.raises(ValueError, match="scheme 'http' is not known"):
        check(CurateConfig(footage=str(footage), dataset="http://host/d"))
    with pytest.raises(
        ValueError, match=r"dedup\.semantic=0\.95 compares embeddings.*set scores\.tags=true, or"
    ):
        curate(footage, tmp_path / "d", dedup__semantic=0.95, scores__tags=False)
    assert not (tmp_path / "d").exists()


def test_sound_never_costs_pictures_and_the_index_says_what_became_of_it(tmp_path):
    folder, dataset = tmp_path / "footage", tmp_path / "dataset"
    folder.mkdir()
    sounds = {
        "odd.mkv": ("pcm_s16le", 22222, "mono"),
        "plain.mp4": ("aac", 48000, "stereo"),
        "alien.mkv": ("pcm_u8", 8000, "mono"),
    }
    for seed, (name, sound) in enumerate(sounds.items()):
        silent = write(tmp_path / "silent.mp4", pan(seed, 40, HEIGHT, WIDTH))
        film_with_sound(silent, folder / name, *sound, pieces=[(0.0, 1.6)])
    alien = folder / "alien.mkv"
    alien.write_bytes(alien.read_bytes().replace(b"A_PCM/INT", b"A_PCX/INT"))
    did = curate(folder, dataset, cut__audio="keep", recipe__name="permissive")
    assert did["sound"] == {"converted": 1, "kept": 1, "left out": 1}
    opened = open_dataset(str(dataset))
    assert not len(opened.quarantine().table())
    assert {Path(row["source_uri"]).name: (row["cut_method"], row["cut_sound"]) for row in opened.kept()} == {
        "odd.mkv": ("copy", "converted: to AAC at 24000 Hz, mono, as mp4 does not carry pcm_s16le"),
        "plain.mp4": ("copy", "kept"),
        "alien.mkv": ("copy", "left out: no decoder knows the codec of its sound"),
    }
    assert all("cut_sound" not in json.loads(opened.read(row, "json")) for row in opened.kept())
    write(folder / "more.mp4", pan(9, 40, HEIGHT, WIDTH))
    assert curate(folder, dataset, cut__audio="keep", recipe__name="permissive")["clips_cut"] == 1
    told = {Path(row["source_uri"]).name: row["cut_sound"] for row in open_dataset(str(dataset)).kept()}
    assert told == {Path(row["source_uri"]).name: row["cut_sound"] for row in opened.kept()} | {
        "more.mp4": None
    }
