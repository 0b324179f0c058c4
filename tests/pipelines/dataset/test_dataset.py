"""Shards, manifests, stages and the ledger: the same content is the same bytes, and nothing is lost or done
twice."""

from dataclasses import replace
from io import BytesIO

import pyarrow as pa
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from pipelines.dataset.ledger import Ledger, LedgerError
from pipelines.dataset.manifest import BadManifestError, LostRaceError, Manifest, Shard, newest, publish
from pipelines.dataset.reader import open_dataset
from pipelines.dataset.schema import INDEX, SCHEMA_VERSION, table
from pipelines.dataset.shards import ShardSample, members, write_shard
from pipelines.dataset.stages import Stage
from pipelines.ids import canonical_json
from pipelines.records import Quarantined
from pipelines.storage.local_store import LocalStore
from pipelines.storage.parquet import parquet_bytes, read_parquet

MANIFEST = Manifest(SCHEMA_VERSION, (), (), (), (), (), {"name": "default", "hash": "x", "rules": []}, {}, {})


def samples():
    return [
        ShardSample(f"{k:032x}", bytes([k]) * (700 + k), {"b": k, "a": ["ü", None]}, f"clip {k}")
        for k in range(3)
    ]


def test_a_shard_is_the_same_byte_for_byte_and_any_webdataset_reader_reads_it(tmp_path):
    for name in ("a.tar", "b.tar"):
        write_shard(iter(samples()), tmp_path / name)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    read = list(webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False))
    assert [(s["__key__"], s["mp4"], s["txt"].decode()) for s in read] == [
        (s.clip_id, s.mp4, s.text) for s in samples()
    ]
    assert read[0]["json"] == '{"a":["ü",null],"b":0}'.encode()


def test_a_shard_is_what_the_writer_of_webdataset_writes(tmp_path):
    write_shard(samples(), tmp_path / "ours.tar")
    with webdataset.TarWriter(
        str(tmp_path / "theirs.tar"), user="rushes", group="rushes", mode=0o644, mtime=0, encoder=False
    ) as writer:
        for s in samples():
            json = canonical_json(s.passport).encode()
            writer.write({"__key__": s.clip_id, "json": json, "mp4": s.mp4, "txt": s.text.encode()})
    assert (tmp_path / "ours.tar").read_bytes() == (tmp_path / "theirs.tar").read_bytes()


def test_each_file_lies_where_the_index_says(tmp_path):
    write_shard(samples(), tmp_path / "a.tar")
    data = (tmp_path / "a.tar").read_bytes()
    where = members(tmp_path / "a.tar")
    for sample in samples():
        offset, size = where[f"{sample.clip_id}.mp4"]
        assert data[offset : offset + size] == sample.mp4


def test_of_two_runs_from_one_manifest_the_second_learns_it_and_goes_on(tmp_path):
    store = LocalStore(tmp_path)
    assert newest(store) == (0, None)
    assert publish(store, 0, MANIFEST) == 1
    other = replace(MANIFEST, index=("index/b.parquet",))
    with pytest.raises(LostRaceError, match=r"manifest 1 .* was published by another run"):
        publish(store, 0, other)
    assert publish(store, 1, other) == 2
    assert newest(store) == (2, other)


STRANGERS = (
    "._000003.json", "000003 (copy).json", "000003.json.tmp", "0000003.json", "3.json", ".DS_Store",
    "backup/000003.json",
    "\N{ARABIC-INDIC DIGIT THREE}00003.json", "000003.JSON", "-00003.json", "notes.json",
)  # fmt: skip


@given(st.sets(st.sampled_from(STRANGERS)))
def test_what_is_not_called_as_a_manifest_is_passed_over(tmp_path_factory, strangers):
    folder = tmp_path_factory.mktemp("dataset")
    store = LocalStore(folder)
    publish(store, 0, MANIFEST)
    for name in strangers:
        (folder / "manifests" / name).parent.mkdir(exist_ok=True)
        (folder / "manifests" / name).write_bytes(b"\x00\x05\x16\x07")
    other = replace(MANIFEST, index=("index/b.parquet",))
    assert newest(store) == (1, MANIFEST)
    assert publish(store, 1, other) == 2
    assert newest(store) == (2, other)
    assert open_dataset(str(folder)).number == 2
    for name in strangers:
        assert (folder / "manifests" / name).read_bytes() == b"\x00\x05\x16\x07"


HARM = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "zeros": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    "beginning of zeros": lambda path: path.write_bytes(b"\0" * 64 + path.read_bytes()[64:]),
    "end of zeros": lambda path: path.write_bytes(path.read_bytes()[:-64] + b"\0" * 64),
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM.keys())
def test_finished_work_that_was_cut_off_is_done_again_with_a_word(tmp_path, caplog, harm):
    store = LocalStore(tmp_path)
    stage, rows = Stage(store, "looks", "f" * 16), pa.table({"x": list(range(1000))})
    stage.commit("a", rows)
    stage.commit("b", rows)
    harm(tmp_path / "stages" / "looks" / ("f" * 16) / "a.parquet")
    assert stage.lookup("a") is None
    assert f"stages/looks/{'f' * 16}/a.parquet of {tmp_path} can't be read and is done again" in caplog.text
    assert len(stage.rows()) == 1000
    other = pa.table({"x": [5]})
    assert stage.commit("a", other).equals(other)
    assert Stage(store, "looks", "f" * 16).lookup("a").equals(other)
    assert stage.commit("b", other).equals(rows)


def test_what_is_not_called_as_a_unit_is_passed_over(tmp_path):
    store, rows = LocalStore(tmp_path), pa.table({"x": [1]})
    stage = Stage(store, "looks", "f" * 16)
    stage.commit("video/000000000-000000030", rows)
    folder = tmp_path / "stages" / "looks" / ("f" * 16)
    for name in (
        "._a.parquet",
        "a (copy).parquet",
        ".DS_Store",
        "video/._000000000-000000030.parquet",
        "notes.txt",
    ):
        (folder / name).write_bytes(b"not ours")
    assert stage.units() == stage.units("video/") == {"video/000000000-000000030"}
    assert len(stage.rows()) == 1


@pytest.mark.parametrize("column", ["clip_id", "video_id", "shard", "bucket", "duplicate_of"])
@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", ".", "..", "", "a\nb", ".hidden", "a\0"])
def test_ids_in_rows_are_names_and_lead_nowhere(tmp_path, column, name):
    store = LocalStore(tmp_path)
    row = dict.fromkeys(INDEX.names) | {"clip_id": "a", "status": "rejected"} | {column: name}
    data = parquet_bytes(table([row], INDEX))
    store.put_new("index/a.parquet", data)
    publish(store, 0, replace(MANIFEST, index=("index/a.parquet",)))
    with pytest.raises(ValueError, match=f"{column} .* is no name that rushes gives"):
        open_dataset(str(tmp_path)).index().table()


@pytest.mark.parametrize("key", ["../x.parquet", "/etc/passwd", "a/../../x", "", 5, None])
def test_a_manifest_names_only_what_is_in_its_dataset(tmp_path, key):
    store = LocalStore(tmp_path / "dataset")
    (tmp_path / "x.parquet").write_bytes(parquet_bytes(table([], INDEX)))
    publish(store, 0, replace(MANIFEST, index=(key,)))
    with pytest.raises(ValueError, match="is no key"):
        open_dataset(str(tmp_path / "dataset")).index().table()


@pytest.mark.parametrize("name", ["index", "quarantine", "shards"])
def test_a_manifest_names_a_file_once(tmp_path, name):
    store = LocalStore(tmp_path)
    shard = Shard("a", "b", "shards/b/a.tar", "0" * 64, 1, 1)
    publish(store, 0, replace(MANIFEST, **{name: ((shard,) if name == "shards" else ("a/b.parquet",)) * 2}))
    with pytest.raises(
        BadManifestError, match=rf"manifests/000001.json .* its {name} names .* more than once"
    ):
        newest(store)


def test_a_manifest_that_says_nothing_new_is_not_written(tmp_path):
    store = LocalStore(tmp_path)
    assert publish(store, 0, MANIFEST) == publish(store, 1, MANIFEST) == publish(store, 0, MANIFEST) == 1
    assert list(store.list("manifests/")) == ["manifests/000001.json"]


def test_a_dataset_from_the_future_or_from_nowhere_is_said(tmp_path):
    publish(LocalStore(tmp_path / "demo"), 0, replace(MANIFEST, schema=99))
    with pytest.raises(ValueError, match=f"has schema 99, which .* this one reads up to {SCHEMA_VERSION}"):
        open_dataset(str(tmp_path / "demo"))
    with pytest.raises(FileNotFoundError, match=r"no dataset is there; did you mean '.*demo'"):
        open_dataset(str(tmp_path / "dmo"))


def test_a_rejected_clip_has_no_bytes(tmp_path):
    publish(LocalStore(tmp_path), 0, MANIFEST)
    with pytest.raises(ValueError, match="is in no shard: it was rejected"):
        open_dataset(str(tmp_path)).read({"clip_id": "c", "shard": None, "status": "rejected"})
    with pytest.raises(ValueError, match=r"a clip has no \.wav; known are mp4, json, txt"):
        open_dataset(str(tmp_path)).read({}, "wav")


def test_tables_are_the_same_bytes_and_unknown_columns_are_refused():
    rows = [{"clip_id": "a", "width": 64, "motion_mean": 0.25, "tag_style": ["soft"]}, {"clip_id": "b"}]
    data = parquet_bytes(table(rows, INDEX))
    assert data == parquet_bytes(table([dict(reversed(row.items())) for row in rows], INDEX))
    assert (
        read_parquet(data).schema.field("motion_mean").metadata[b"unit"]
        == b"share of the frame diagonal per s"
    )
    with pytest.raises(ValueError, match="'clipid'"):
        table([{"clipid": "a"}], INDEX)


def test_a_committed_unit_is_the_truth_for_whoever_comes_second(tmp_path):
    stage = Stage(LocalStore(tmp_path), "signals", "f1")
    first, second = pa.table({"pts": [1]}), pa.table({"pts": [2]})
    assert stage.lookup("v") is None
    assert stage.commit("v", first).to_pylist() == [{"pts": 1}]
    assert stage.commit("v", second).to_pylist() == [{"pts": 1}]
    bad = Quarantined("a.mp4", "signals", "undecodable", "no", "w")
    assert stage.commit("w", bad) == bad == stage.lookup("w")
    assert stage.rows() == [{"pts": 1}]
    assert Stage(LocalStore(tmp_path), "signals", "f2").lookup("v") is None


@given(st.lists(st.integers(0, 50), min_size=7, max_size=7), st.integers(-3, 3), st.integers(-3, 3))
def test_a_ledger_balances_or_fails(counts, lost_sources, lost_clips):
    videos, duplicates, ignored, bad_sources, kept, rejected, bad_clips = counts
    ledger = Ledger(
        sources=videos + duplicates + ignored + bad_sources + lost_sources,
        videos=videos,
        duplicates=duplicates,
        ignored=ignored,
        sources_quarantined=bad_sources,
        clips=kept + rejected + bad_clips + lost_clips,
        clips_kept=kept,
        clips_rejected=rejected,
        clips_quarantined=bad_clips,
    )
    if lost_sources or lost_clips:
        with pytest.raises(LedgerError, match=r"came in, but|were made, but"):
            ledger.check()
    else:
        ledger.check()


def test_a_shard_with_a_link_inside_is_refused(tmp_path):
    import tarfile

    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        link = tarfile.TarInfo("a.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link, BytesIO())
    with pytest.raises(ValueError, match="no regular file"):
        members(tmp_path / "bad.tar")
