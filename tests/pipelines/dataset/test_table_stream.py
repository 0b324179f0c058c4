"""A table in files of any number of rows, read in batches of any size, is one and the same table."""

import io
from dataclasses import replace
from unittest import mock

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.dataset.manifest import publish
from pipelines.dataset.reader import Dataset, open_dataset
from pipelines.dataset.schema import INDEX, KEPT, QUARANTINE, REJECTED, table
from pipelines.scores.registry import SCORES
from pipelines.storage import parquet, table_bounds
from pipelines.storage.local_store import LocalStore
from pipelines.storage.parquet import parquet_bytes
from tests.pipelines.dataset.test_dataset import MANIFEST


def clip(number: int, scored: bool) -> dict:
    return {
        "clip_id": f"c{number}",
        "status": KEPT if number % 3 else REJECTED,
        "bucket": f"b{number % 2}",
        "caption_short": f"a sentence about clip {number}",
        "reject_reasons": [] if number % 3 else ["dark", "static"],
        "luma_mean": float(number) if scored else None,
        "score_gaps": None if number % 5 == 0 else [{"score": "sharpness", "why": "too short"}],
    }


def dataset_of(folder, rows: list[dict], rows_a_file: int, rows_a_group: int) -> Dataset:
    store, keys = LocalStore(folder), []
    for start in range(0, len(rows), rows_a_file):
        out = io.BytesIO()
        part = table(rows[start : start + rows_a_file], INDEX)
        pq.write_table(part, out, row_group_size=rows_a_group, compression="zstd")
        keys.append(f"index/{start}.parquet")
        store.put_new(keys[-1], out.getvalue())
    publish(store, 0, replace(MANIFEST, index=tuple(keys)))
    return open_dataset(str(folder))


@settings(deadline=None, max_examples=25)
@given(
    num=st.integers(1, 60),
    rows_a_file=st.integers(1, 60),
    rows_a_group=st.integers(1, 30),
    rows_a_batch=st.integers(1, 30),
    repeats=st.booleans(),
)
def test_a_table_is_the_same_however_it_is_divided(
    tmp_path_factory, num, rows_a_file, rows_a_group, rows_a_batch, repeats
):
    """Also where texts are read as dictionaries, as those are that could be longer in memory."""
    rows = [clip(number, scored=True) for number in range(num)]
    whole = dataset_of(tmp_path_factory.mktemp("whole"), rows, num, num)
    parted = dataset_of(tmp_path_factory.mktemp("parted"), rows, rows_a_file, rows_a_group)
    columns = ["luma_mean", "clip_id", "reject_reasons"]
    with (
        mock.patch.object(parquet, "_BATCH_ROWS", (rows_a_batch, rows_a_batch)),
        mock.patch.object(table_bounds, "FLOOR_BYTES", 1 if repeats else table_bounds.FLOOR_BYTES),
        mock.patch.object(table_bounds, "RATIO", 2000),
    ):
        assert max(batch.num_rows for batch in parted.index()) <= rows_a_batch
        assert list(parted.index(columns).rows()) == list(whole.index(columns).rows())
        assert [list(row) for row in parted.index(columns).rows()] == [columns] * num
        assert list(parted.kept(["clip_id"])) == [{"clip_id": f"c{k}"} for k in range(num) if k % 3]
        dark = parted.index(["clip_id"]).where(lambda batch: pc.equal(batch["clip_id"], "c0"))
        assert dark.to_pylist() == [{"clip_id": "c0"}]
        assert parted.index(["caption_short"]).table()["caption_short"].to_pylist() == [
            row["caption_short"] for row in rows
        ]
        if repeats:
            assert [row["clip_id"] for row in parted.captions()] == [f"c{k}" for k in range(num) if k % 3]


def test_a_score_is_new_to_a_file_in_which_no_clip_has_it(tmp_path):
    """Of two files, as two versions wrote them: each says for itself what it did not know."""
    rows = [clip(1, scored=False), clip(2, scored=False), clip(3, scored=True), clip(4, scored=True)]
    gaps = [
        {gap["score"]: gap["why"] for gap in row["score_gaps"]}
        for row in dataset_of(tmp_path, rows, 2, 1).index(["score_gaps"]).rows()
    ]
    assert ["luma_mean" in gap for gap in gaps] == [True, True, False, False]
    assert all(gap["sharpness"] == "too short" for gap in gaps)
    assert all(set(gap) == set(SCORES) - {"luma_mean"} for gap in gaps[2:])


def test_a_file_that_ends_early_is_named_also_where_rows_were_given_before(tmp_path):
    dataset = dataset_of(tmp_path, [clip(number, True) for number in range(8)], 4, 2)
    path = tmp_path / dataset.manifest.index[1]
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) // 2])
    read: list[str] = []
    with pytest.raises(ValueError, match=r"index/4\.parquet of .* can't be read"):
        read.extend(row["clip_id"] for row in dataset.index(["clip_id"]).rows())
    assert read == ["c0", "c1", "c2", "c3"]


def test_a_table_without_files_has_its_columns(tmp_path):
    publish(LocalStore(tmp_path), 0, MANIFEST)
    empty = open_dataset(str(tmp_path)).quarantine()
    assert (list(empty.rows()), empty.table().schema) == ([], QUARANTINE)


def test_all_rows_at_once_are_one_chunk_so_that_they_are_written_the_same(tmp_path):
    rows = [clip(number, True) for number in range(20)]
    whole = dataset_of(tmp_path / "whole", rows, 20, 20).index().table()
    parted = dataset_of(tmp_path / "parted", rows, 7, 3).index().table()
    assert {column.num_chunks for column in parted.columns} == {1}
    assert parquet_bytes(parted.sort_by("clip_id")) == parquet_bytes(whole.sort_by("clip_id"))
