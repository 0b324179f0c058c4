"""A clip's .json has the same fields of the same types whatever its row has, so Hugging Face's `datasets`
loads shards as they are; shards that an earlier version wrote are read, stay, and keep their ids.
"""

import json
import string
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.curation import shard_writer
from jobs.curation.clip_json import CUT_FIELDS, PASSPORT_FIELDS, clip_json, differing_fields, read_cut_fields
from jobs.curation.fingerprints import Fingerprints
from jobs.curation.graph import Graph
from jobs.curation.shard_writer import ShardWriter, content_fingerprint
from pipelines.dataset.reader import open_dataset
from pipelines.dataset.schema import INDEX
from pipelines.dataset.shards import ShardSample, write_shard
from pipelines.ids import canonical_json
from tests.conftest import run_job
from tests.support.footage import film, pan, write

TEXT = st.none() | st.text(alphabet=string.printable + "äß日", max_size=12)
LARGE = 2**62


def _values(name: str) -> st.SearchStrategy:
    kind = INDEX.field(name).type
    if pa.types.is_list(kind):
        return st.none() | st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=6), max_size=3)
    if pa.types.is_string(kind):
        return TEXT
    if pa.types.is_floating(kind):
        return st.integers(0, 100) | st.floats(0, 1e6)
    return st.integers(0, LARGE if kind == pa.int64() else 2**31 - 1)


ROWS = st.fixed_dictionaries({name: _values(name) for name in (*PASSPORT_FIELDS, *CUT_FIELDS)})


def as_before(clip: dict) -> dict:
    """What earlier versions wrote: nulls and lists as the index has them."""
    return {name: clip[name] for name in (*PASSPORT_FIELDS, *CUT_FIELDS)}


def row(number: int, **changes) -> dict:
    """A clip of which its footage's list says nothing, whose captioner had no tags, at a whole number of
    frames a second."""
    empty = dict.fromkeys((*PASSPORT_FIELDS, *CUT_FIELDS)) | {
        name: [] for name in PASSPORT_FIELDS if name.startswith("tag_")
    }
    numbers = {"start_pts": 0, "end_pts": 512, "start_s": 0, "end_s": 1, "num_frames": 25, "fps": 25}
    numbers |= {"width": 64, "height": 48, "lead_frames": 0}
    return (
        empty | numbers | {"clip_id": f"{number:032x}", "time_base": "1/512", "cut_method": "copy"} | changes
    )


FULL = {
    "source_text": "a red kite",
    "source_license": "CC0",
    "tag_subject": ["kite", "sky"],
    "tag_style": ["film"],
    "cut_why": "the cut is not at a keyframe",
    "end_s": 1.25,
    "fps": 23.976023976023978,
    "start_pts": LARGE,
}


@given(ROWS, ROWS)
def test_every_clip_has_the_same_fields_of_the_same_types(one, other):
    told = [json.loads(canonical_json(clip_json(row))) for row in (one, other)]
    types = [{name: type(value) for name, value in clip.items()} for clip in told]
    assert types[0] == types[1]
    assert set(types[0]) == {*PASSPORT_FIELDS, *CUT_FIELDS}
    assert set(types[0].values()) == {str, int, float}
    for row, clip in zip((one, other), told, strict=True):
        assert all(clip[name] == row[name] for name in row if isinstance(row[name], (int, float)))
        assert read_cut_fields(clip) == {name: None if row[name] == "" else row[name] for name in CUT_FIELDS}


@given(ROWS, st.sampled_from((*PASSPORT_FIELDS, *CUT_FIELDS)), st.data())
def test_what_a_json_says_is_compared_with_the_index_however_it_was_written(row, name, data):
    changed = data.draw(_values(name).filter(lambda value: clip_json(row | {name: value}) != clip_json(row)))
    for told in (clip_json(row), as_before(row)):
        assert differing_fields(json.loads(canonical_json(told)), row) == []
        assert differing_fields(told | {name: changed}, row) == [name]
        without = {key: value for key, value in told.items() if key != name}
        assert differing_fields(without, row) == ([] if row[name] is None else [name]), (
            "an earlier version did not know it"
        )
        assert differing_fields(told | {"mood": "sunny"}, row) == ["mood"]


def test_a_number_that_is_missing_is_not_made_up():
    with pytest.raises(ValueError, match="lead_frames is null"):
        clip_json(row(0, lead_frames=None))


def load(cache: Path, *shards: Path) -> datasets.Dataset:
    return datasets.load_dataset(
        "webdataset", data_files=[str(path) for path in shards], split="train", cache_dir=cache
    )


@pytest.mark.parametrize("full_first", [False, True])
def test_hugging_face_loads_shards_as_they_are_whatever_its_first_samples_lack(tmp_path, full_first):
    clips = [row(k, **(FULL if (k < 6) == full_first else {})) for k in range(12)]
    for name, group in (("a.tar", clips[:8]), ("b.tar", clips[8:])):
        samples = [ShardSample(clip["clip_id"], b"mp4", clip_json(clip), "a kite") for clip in group]
        write_shard(samples, tmp_path / name)
    loaded = load(tmp_path / "cache", tmp_path / "a.tar", tmp_path / "b.tar")
    assert loaded["json"] == [clip_json(clip) for clip in clips]
    told = loaded["json"][0 if full_first else 11]
    assert (told["tag_subject"], told["source_text"], told["fps"]) == ("kite, sky", "a red kite", FULL["fps"])
    assert loaded["txt"] == ["a kite"] * 12
    files = loaded.cast_column("mp4", datasets.Video(decode=False))["mp4"]
    assert [file["bytes"] for file in files] == [b"mp4"] * 12


def test_the_id_of_a_shard_that_an_earlier_version_wrote_is_what_it_was():
    prints = Fingerprints(
        "i", "p", {}, "c", None, "t", None, cut="0123456789abcdef", shards="fedcba9876543210"
    )
    assert content_fingerprint(row(1) | {"frames_hash": "f" * 32}, prints) == "ec6f21651ec284eb"
    assert content_fingerprint(row(1, **FULL) | {"frames_hash": "f" * 32}, prints) == "aa8d790d16af0c99"


SETTINGS = ["scores.text=false", "scores.nsfw=false", "recipe=permissive", "recipe.min.duration_s=1.0"]


def test_shards_of_an_earlier_version_stay_and_what_is_added_is_written_as_now(
    tmp_path, shared_ray, monkeypatch
):
    folder, dataset = tmp_path / "footage", tmp_path / "dataset"
    overrides = [f"footage={folder}", f"dataset={dataset}", f"ray.address={shared_ray.address}", *SETTINGS]
    folder.mkdir()
    write(folder / "a.mp4", film(pan(1, 40, 48, 64), pan(2, 30, 48, 64)), fps=25)
    with monkeypatch.context() as earlier:
        earlier.setattr(shard_writer, "clip_json", as_before)
        earlier.setattr(
            Graph, "write", lambda graph, plans: (ShardWriter(*graph._args)(plan) for plan in plans)
        )
        run_job("curate", *overrides)
    old = {path: path.read_bytes() for path in dataset.glob("shards/*/*.tar")}
    (shard,) = open_dataset(str(dataset)).shards()
    told = [
        json.loads(open_dataset(str(dataset)).read(row, "json")) for row in open_dataset(str(dataset)).kept()
    ]
    assert [type(clip["tag_subject"]) for clip in told] == [list, list]
    assert run_job("curate", *overrides)["changed"] is False
    assert run_job("verify", f"dataset={dataset}", f"ray.address={shared_ray.address}")["findings"] == 0

    write(folder / "b.mp4", pan(3, 40, 48, 64), fps=25)
    did = run_job("curate", *overrides)
    assert (did["clips_cut"], did["shards_written"], did["shards"]) == (1, 1, 2)
    assert {path: path.read_bytes() for path in old} == old
    opened = open_dataset(str(dataset))
    assert shard in opened.shards()
    added = [row for row in opened.kept() if row["shard"] != shard.id]
    assert [json.loads(opened.read(row, "json")) for row in added] == [clip_json(row) for row in added]
    assert run_job("verify", f"dataset={dataset}", f"ray.address={shared_ray.address}")["findings"] == 0

    # A shard that lost a clip is written again, now; what is copied into it was made as it was.
    (dropped, stays) = [row for row in opened.kept() if row["shard"] == shard.id]
    run_job(
        "select",
        f"dataset={dataset}",
        f"ray.address={shared_ray.address}",
        f"recipe.min.duration_s={max(dropped['duration_s'], stays['duration_s'])}",
    )
    opened = open_dataset(str(dataset))
    for row in opened.kept():
        assert json.loads(opened.read(row, "json")) == clip_json(row)
        assert (row["cut_method"], row["cut_why"]) == ("copy", None)
    loaded = load(tmp_path / "cache", *(dataset / shard.key for shard in opened.shards()))
    assert {clip["clip_id"] for clip in loaded["json"]} == {row["clip_id"] for row in opened.kept()}
