"""A parquet file takes no more memory than its size allows, and what is real is read as it is."""

import io
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.dataset.schema import INDEX, table
from pipelines.storage import parquet_pages
from pipelines.storage import table_bounds as bounds
from pipelines.storage.parquet import parquet_bytes, read_parquet
from pipelines.storage.table_bounds import FLOOR_BYTES


def written(content: pa.Table, **options) -> bytes:
    out = io.BytesIO()
    pq.write_table(content, out, compression="zstd", **options)
    return out.getvalue()


def repeated(text: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), [text])


def records() -> pa.Table:
    """A list in every row, whose records all have one long text."""
    texts = pa.StructArray.from_arrays([repeated("y" * 10**6, 1000)], names=["w"])
    return pa.table({"g": pa.ListArray.from_arrays(np.arange(1001, dtype=np.int32), texts)})


BOMBS = {
    "equal rows": lambda: written(pa.table({"a": np.zeros(4 * 10**7, np.int64)})),
    "a long text in every row": lambda: written(pa.table({"a": repeated("x" * 10**6, 10**5)})),
    "a long text in every record": lambda: written(records()),
    "a long list in one row": lambda: written(
        pa.table({"a": pa.ListArray.from_arrays([0, 10**7], pa.array(np.zeros(10**7, np.int64)))})
    ),
    "columns of nothing": lambda: written(
        pa.table({f"c{i}": pa.nulls(10**6, pa.int64()) for i in range(40)})
    ),
    "zeros": lambda: written(pa.table({"a": np.zeros(10**7)}), use_dictionary=False),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_small_file_of_gigabytes_is_one_line_within_two_seconds(kind, monkeypatch):
    # and a sixteenth of gigabytes, to be written sooner
    monkeypatch.setattr(bounds, "FLOOR_BYTES", FLOOR_BYTES // 16)
    data = BOMBS[kind]()
    assert len(data) < 10**6
    began_s = time.monotonic()
    with pytest.raises(ValueError, match=r"would take .* in memory, and at most"):
        read_parquet(data)
    assert time.monotonic() - began_s < 2


def _number(value: int, length: int) -> bytes:
    """As Thrift writes it, in so many bytes."""
    value <<= 1
    return bytes((value >> 7 * i & 127) | (128 if i < length - 1 else 0) for i in range(length))


def test_a_footer_that_says_less_than_the_pages_is_not_believed(monkeypatch):
    monkeypatch.setattr(bounds, "FLOOR_BYTES", FLOOR_BYTES // 16)
    count = 5_000_000
    honest = written(
        pa.table({"a": pa.ListArray.from_arrays([0, count], np.zeros(count, np.int64))}),
        write_statistics=False,
    )
    start = len(honest) - 8 - int.from_bytes(honest[-8:-4], "little")
    footer = honest[start:-8].replace(_number(count, 4), _number(5, 4))
    lying = honest[:start] + footer + honest[-8:]
    assert pq.ParquetFile(pa.BufferReader(lying)).metadata.row_group(0).column(0).num_values == 5
    with pytest.raises(ValueError, match="in memory, and at most"):
        read_parquet(lying)


@settings(deadline=None, max_examples=200)
@given(place=st.floats(0, 1), byte=st.integers(0, 255))
def test_a_damaged_byte_is_a_table_or_one_line(place, byte):
    data = bytearray(_SMALL)
    data[int(place * (len(data) - 1))] = byte
    try:
        read_parquet(bytes(data))
    except (ValueError, OSError, pa.ArrowException) as error:
        assert str(error)  # noqa: PT017, all that is asked is that it is one of these


_SMALL = written(pa.table({"a": ["x", None, "yy"] * 40, "b": [[1], [], [2, 3]] * 40, "c": range(120)}))


def test_a_footer_that_claims_to_be_huge_is_not_parsed():
    for size in (4 * 2**20, 2**32 - 1):
        with pytest.raises(ValueError, match="no parquet file, or was cut off"):
            read_parquet(b"PAR1" + bytes(100) + size.to_bytes(4, "little") + b"PAR1")


def test_many_groups_of_few_rows_are_refused_before_they_are_looked_at(monkeypatch):
    monkeypatch.setattr(bounds, "MAX_CHUNKS", 1000)
    data = written(pa.table({f"c{i}": np.arange(30) for i in range(80)}), row_group_size=1)
    began_s = time.monotonic()
    with pytest.raises(ValueError, match="groups of values"):
        read_parquet(data)
    assert time.monotonic() - began_s < 2


@pytest.mark.parametrize(
    ("content", "columns", "what"),
    [
        (pa.table({"status": pa.nulls(1 << 21, pa.string())}), None, "rows"),
        (pa.table({"status": pa.nulls(1 << 21, pa.string())}), ("clip_id",), "rows"),
        # the columns that it lacks are filled
        (pa.table({"status": ["kept"] * 90_000}), INDEX.names, "values"),
        (pa.table({"g": pa.ListArray.from_arrays([0, 5 * 10**6],
            pa.repeat(pa.scalar(1, pa.int8()), 5 * 10**6))}), None, "values"),
        (pa.table({f"c{i}": pa.nulls(90_000, pa.int8()) for i in range(80)}), None, "values"),
    ],
)  # fmt: skip
def test_kilobytes_are_not_millions_of_values_for_python_to_hold(content, columns, what):
    data = written(content)
    assert len(data) < 10**5
    with pytest.raises(ValueError, match=rf"would be [0-9,]+ {what}, and at most"):
        read_parquet(data, columns)


def test_numbered_names_and_still_pictures_are_no_bombs():
    """What is real and packs best."""
    names = pa.table(
        {"uri": [f"s3://bucket/{k:09d}.mp4" for k in range(300_000)], "license": ["CC0"] * 300_000}
    )
    assert len(read_parquet(written(names, compression_level=19))) == 300_000
    still = pa.table({"pts": np.arange(216_000) * 512, **{f"s{k}": np.zeros(216_000) for k in range(12)}})
    assert len(read_parquet(written(still))) == 216_000  # an hour at 60 frames a second


def test_a_hundred_thousand_columns_are_refused_unread():
    data = written(pa.table({f"c{n}": [1] for n in range(40_000)}))
    began_s = time.monotonic()
    with pytest.raises(ValueError, match="its footer has"):
        read_parquet(data)
    assert time.monotonic() - began_s < 2


def test_pages_are_counted_however_often_a_column_names_them(monkeypatch):
    content = pa.table({"a": np.arange(500), "b": np.arange(500)})
    data = written(content, data_page_size=1, write_batch_size=1, use_dictionary=False)
    assert read_parquet(data).equals(content)
    monkeypatch.setattr(parquet_pages, "_FLOOR_PAGES", 900)
    with pytest.raises(ValueError, match="more pages than are looked at"):
        read_parquet(data)


def test_only_what_is_wanted_counts():
    data = written(pa.table({"a": repeated("x" * 10**6, 10**5), "b": np.arange(10**5)}))
    assert read_parquet(data, ["b"])["b"][-1].as_py() == 10**5 - 1


def test_a_large_index_is_read_to_the_byte():
    """Enough rows that texts are measured first."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "clip_id": rng.bytes(16).hex(),
            "video_id": f"{i // 50:032x}",
            "source_uri": f"/footage/{i // 50}.mp4",
            "source_text": "told of all of them " * 50,
            "caption_short": f"a dog {i}",
            "score_gaps": [{"score": "dover", "why": "no such file"}],
        }
        for i in range(20_000)
    ]
    whole = table(rows, INDEX)
    data = parquet_bytes(whole)
    plain = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False).read(use_threads=False)
    read = read_parquet(data)
    assert read.equals(plain)
    assert read.schema.equals(plain.schema, check_metadata=True)
    some = read_parquet(data, ["clip_id", "score_gaps"])
    assert some.equals(plain.select(some.column_names))


@settings(deadline=None, max_examples=50)
@given(
    texts=st.lists(st.text(max_size=20) | st.none(), max_size=30),
    options=st.sampled_from([{}, {"use_dictionary": False}, {"row_group_size": 3}]),
)
def test_measured_or_not_a_table_is_the_same(texts, options):
    nested = [None if text is None else [{"score": text, "why": text * 2}] for text in texts]
    kind = pa.list_(pa.struct([("score", pa.string()), ("why", pa.string())]))
    content = pa.table({"a": pa.array(texts, pa.string()), "b": pa.array(nested, kind)})
    data = written(content, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "FLOOR_BYTES", 0)
        patch.setattr(bounds, "RATIO", 10**6)
        assert read_parquet(data).equals(content)
    assert read_parquet(data).equals(content)
