"""Deciding again: tightening touches no footage, loosening only what is newly kept; a clip's passport tells
how it was decided."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from jobs.listing.passport_text import as_text, passport
from pipelines.dataset.reader import open_dataset
from tests.conftest import run_job
from tests.support.footage import film, pan, texture, write

HEIGHT, WIDTH, FRAMES = 96, 160, 40


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """A fast pan, a slow one and a still; and most of the fast pan again, smaller and coarser."""
    folder = tmp_path_factory.mktemp("rushes")
    fast = pan(1, FRAMES, HEIGHT, WIDTH, right=2.0)
    still = np.repeat(texture(5, HEIGHT, WIDTH)[None], FRAMES, axis=0)
    write(folder / "a.mp4", film(fast, pan(2, FRAMES, HEIGHT, WIDTH, right=0.5), still))
    small = np.stack(
        [cv2.resize(frame, (112, 68), interpolation=cv2.INTER_AREA) for frame in fast[: FRAMES - 5]]
    )
    write(folder / "b.mp4", small, options={"crf": "27"})
    return folder


@pytest.fixture(scope="module")
def curated(footage, tmp_path_factory, shared_ray):
    dataset = tmp_path_factory.mktemp("dataset") / "dataset"
    options = ("recipe.min.duration_s=1", "signals.native_every_s=0.5", f"ray.address={shared_ray.address}")
    run_job("curate", f"footage={footage}", f"dataset={dataset}", *options)
    return dataset


@pytest.fixture
def dataset(curated, tmp_path):
    return shutil.copytree(curated, tmp_path / "dataset")


def select(dataset, shared_ray, *recipe):
    return run_job("select", f"dataset={dataset}", *recipe, f"ray.address={shared_ray.address}")


def clips(dataset):
    """By the file and start of each clip: its row."""
    rows = open_dataset(str(dataset)).index().table().to_pylist()
    return {(Path(row["source_uri"]).stem, round(row["start_s"], 1)): row for row in rows}


def decisions(dataset):
    """The same, without where each clip lies: shards depend on what was there before."""
    places = {"shard", "offset", "json_offset", "txt_offset"}
    return {key: {name: row[name] for name in row.keys() - places} for key, row in clips(dataset).items()}


FAST, SLOW, STILL, COPY = ("a", 0.0), ("a", 1.6), ("a", 3.2), ("b", 0.0)


def test_curation_keeps_what_moves_and_the_better_of_two_copies(curated):
    found = clips(curated)
    assert {key: row["reject_reasons"] for key, row in found.items()} == {
        FAST: [],
        SLOW: [],
        STILL: ["static"],
        COPY: ["duplicate"],
    }
    assert found[COPY]["duplicate_of"] == found[FAST]["clip_id"]
    assert found[COPY]["duplicate_kind"] == "perceptual"
    assert found[COPY]["duplicate_similarity"] > 0.8
    assert found[FAST]["duplicate_of"] is None


def test_tightening_touches_no_footage(dataset, footage, shared_ray):
    hidden = footage.rename(footage.with_name("gone"))
    try:
        did = select(dataset, shared_ray, "recipe.min.motion_mean=0.12")
    finally:
        hidden.rename(footage)
    assert (did["clips_captioned"], did["clips_cut"], did["manifest"]) == (0, 0, 2)
    found = clips(dataset)
    assert {key for key, row in found.items() if row["status"] == "kept"} == {FAST}
    assert found[SLOW]["reject_reasons"] == ["static"]
    assert found[SLOW]["caption_short"] is None
    opened = open_dataset(str(dataset))
    assert len(opened.read(found[FAST])) == found[FAST]["size"]
    assert opened.manifest.recipe["rules"] != open_dataset(str(dataset)).manifest.settings


def test_loosening_captions_and_cuts_only_what_is_newly_kept(dataset, shared_ray):
    before = {
        key: open_dataset(str(dataset)).read(row) for key, row in clips(dataset).items() if row["shard"]
    }
    did = select(dataset, shared_ray, "recipe.min.motion_peak=-inf")
    assert (did["clips_captioned"], did["clips_cut"]) == (1, 1)
    opened, found = open_dataset(str(dataset)), clips(dataset)
    after = {key: opened.read(row) for key, row in found.items() if row["shard"]}
    assert after.keys() == before.keys() | {STILL}
    assert all(after[key] == data for key, data in before.items())
    assert found[STILL]["caption_short"]


def test_a_selection_decides_as_curation_with_that_recipe_does(dataset, footage, tmp_path, shared_ray):
    recipe = ("recipe=permissive", "recipe.max.motion_mean=0.12")
    select(dataset, shared_ray, *recipe)
    options = ("signals.native_every_s=0.5", f"ray.address={shared_ray.address}")
    run_job("curate", f"footage={footage}", f"dataset={tmp_path / 'fresh'}", *recipe, *options)
    assert decisions(dataset) == decisions(tmp_path / "fresh")


def test_the_copy_takes_the_place_of_the_better_one_that_falls(dataset, shared_ray):
    did = select(dataset, shared_ray, "recipe=permissive", "recipe.max.duration_s=1.5")
    found = clips(dataset)
    assert {key for key, row in found.items() if row["status"] == "kept"} == {COPY}
    assert found[COPY]["duplicate_of"] is None
    assert (did["clips_captioned"], did["clips_cut"]) == (1, 1)


def test_copies_are_found_across_runs_whichever_comes_first(curated, footage, tmp_path, shared_ray):
    options = ("recipe.min.duration_s=1", "signals.native_every_s=0.5", f"ray.address={shared_ray.address}")
    dataset = tmp_path / "dataset"
    run_job("curate", f"footage={footage / 'b.mp4'}", f"dataset={dataset}", *options)
    assert {key: row["status"] for key, row in clips(dataset).items()} == {COPY: "kept"}
    run_job("curate", f"footage={footage / 'a.mp4'}", f"dataset={dataset}", *options)
    assert decisions(dataset) == decisions(curated)


def test_the_same_recipe_again_says_nothing_new(dataset, shared_ray):
    did = select(dataset, shared_ray)
    assert (did["manifest"], did["changed"], did["clips_cut"]) == (1, False, 0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("recipe=opensora",),
            "recipe 'opensora' needs scores that nothing measures here.*aesthetic: .*scores.clip_model",
        ),
        (("recipe=opensoar",), "did you mean 'opensora'"),
        (("recipe.min.motoin_mean=1",), "did you mean 'motion_mean'"),
    ],
)
def test_what_cannot_be_decided_is_said_before_anything_runs(curated, overrides, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run_job("select", f"dataset={curated}", *overrides)


def test_a_passport_tells_everything_and_names_the_copy(curated):
    opened, found = open_dataset(str(curated)), clips(curated)
    told = passport(opened, found[COPY]["clip_id"][:12])
    assert told["identity"]["source_uri"].endswith("b.mp4")
    assert told["copies"]["duplicate_of"] == found[FAST]["clip_id"]
    assert (
        passport(opened, found[FAST]["clip_id"])["copies"]["stands_for"][0]["clip_id"]
        == found[COPY]["clip_id"]
    )
    still = passport(opened, found[STILL]["clip_id"])
    outside = [rule["score"] for rule in still["decision"]["rules"] if not rule["within"]]
    assert outside == ["motion_peak"]
    assert still["scores"]["motion_mean"]["unit"] == "share of the frame diagonal per s"
    assert "scores.clip_model" in still["scores"]["watermark"]["why_null"]
    assert all(score["model"] for score in still["scores"].values() if score["value"] is not None)
    text = as_text(told)
    assert f"a copy of {found[FAST]['clip_id']} (perceptual" in text
    assert "rejected (duplicate)" in text


def test_a_passport_of_no_clip_or_of_many_is_an_error(curated):
    opened = open_dataset(str(curated))
    with pytest.raises(ValueError, match="4 clips have an id that begins so"):
        passport(opened, "")
    with pytest.raises(ValueError, match=r"no clip of .* has an id that begins so"):
        passport(opened, "xyz")


def test_the_queries_of_the_docs_run(curated):
    import duckdb

    docs = (Path(__file__).resolve().parents[2] / "docs" / "dataset.md").read_text()
    blocks = [block.split("```")[0] for block in docs.split("```sql\n")[1:]]
    database = duckdb.connect()
    results = {}
    for statement in (part.strip() for block in blocks for part in block.split(";\n")):
        if statement:
            done = database.execute(statement.replace("demo/dataset/", f"{curated}/"))
            results[statement.split("\n")[0]] = done.fetchall()
    counts = next(rows for statement, rows in results.items() if statement.startswith("SELECT status"))
    assert [(status, clips) for status, clips, _ in counts] == [("kept", 2), ("rejected", 2)]
    copies = next(rows for statement, rows in results.items() if statement.startswith("SELECT copy.clip_id"))
    assert [row[2] for row in copies] == ["perceptual"]
    neighbours = next(rows for statement, rows in results.items() if statement.startswith("SELECT b.clip_id"))
    assert len(neighbours) == 3


def test_what_cannot_be_read_now_stays_and_is_tried_again(dataset, footage, shared_ray):
    moved = footage.rename(footage.with_name("elsewhere"))
    try:
        select(dataset, shared_ray, "recipe.min.motion_peak=-inf")
        found, opened = clips(dataset), open_dataset(str(dataset))
        assert found[STILL]["reject_reasons"] == ["unavailable"]
        assert found[STILL]["luma_mean"] is not None
        assert [(row["stage"], row["reason"]) for row in opened.quarantine().table().to_pylist()] == [
            ("cut", "missing")
        ]
    finally:
        moved.rename(footage)
    did = select(dataset, shared_ray)
    assert (did["clips_captioned"], did["clips_cut"]) == (0, 1)  # its caption needed no source
    assert clips(dataset)[STILL]["status"] == "kept"
    assert not len(open_dataset(str(dataset)).quarantine().table())


def test_the_copy_is_kept_if_the_better_one_cannot_be_cut(dataset, footage, shared_ray):
    select(dataset, shared_ray, "recipe.min.duration_s=100")
    moved = (footage / "a.mp4").rename(footage / "a.hidden")
    try:
        shutil.rmtree(dataset / "shards")  # nothing of it lies anywhere else
        select(dataset, shared_ray, "recipe=permissive")
    finally:
        moved.rename(footage / "a.mp4")
    found = clips(dataset)
    assert found[FAST]["reject_reasons"] == ["unavailable"]
    assert (found[COPY]["status"], found[COPY]["duplicate_of"]) == ("kept", None)


def test_a_source_that_was_replaced_is_not_what_was_curated(dataset, footage, tmp_path, shared_ray):
    original = (footage / "a.mp4").read_bytes()
    write(footage / "a.mp4", pan(9, 3 * FRAMES, HEIGHT, WIDTH, right=1.0))
    try:
        select(dataset, shared_ray, "recipe.min.motion_peak=-inf")
        quarantine = open_dataset(str(dataset)).quarantine().table().to_pylist()
        assert [row["message"] for row in quarantine] == ["the file has changed since it was curated"]
    finally:
        (footage / "a.mp4").write_bytes(original)
    select(dataset, shared_ray)  # the same bytes, at another time
    assert clips(dataset)[STILL]["status"] == "kept"


def test_captions_outlive_a_new_way_of_measuring(dataset, footage, shared_ray, monkeypatch):
    from pipelines.scores import registry

    monkeypatch.setattr(registry, "VERSION", registry.VERSION + 1)
    footage.rename(footage.with_name("gone"))
    try:
        did = select(dataset, shared_ray, "recipe.min.motion_mean=0.12")
    finally:
        footage.with_name("gone").rename(footage)
    assert (did["clips_captioned"], did["clips_cut"]) == (0, 0)
    assert clips(dataset)[FAST]["status"] == "kept"


def test_a_score_that_came_later_is_null_in_what_was_curated_before(dataset, shared_ray, monkeypatch):
    from pipelines.dataset import reader as reading
    from pipelines.dataset import schema
    from pipelines.scores import registry
    from pipelines.scores.base import Score

    newer = registry.SCORES | {"skin": Score(None, "share of skin", "share", "skin", high="bare")}
    field = schema.INDEX.field("nsfw").with_name("skin")
    monkeypatch.setattr(registry, "SCORES", newer)
    monkeypatch.setattr(reading, "SCORES", newer)
    monkeypatch.setattr(reading, "INDEX", schema.INDEX.append(field))
    rows = open_dataset(str(dataset)).index().table().to_pylist()
    assert {row["skin"] for row in rows} == {None}
    assert all(
        "before this score existed" in {g["score"]: g["why"] for g in row["score_gaps"]}["skin"]
        for row in rows
    )
