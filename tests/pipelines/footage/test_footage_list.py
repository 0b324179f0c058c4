"""Lists as people write them: marks, encodings, long and odd rows; a bad row is told with its line and ends
nothing."""

import csv
import io
import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.footage.list_file import BadRow, ListedFile, read_list
from pipelines.footage.listing import find_footage

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=30)


def read(name: str, content: bytes | str, **how):
    return list(read_list(name, content if isinstance(content, bytes) else content.encode(), **how))


def parquet(**columns) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("suffix", ["txt", "csv", "tsv", "jsonl"])
def test_a_byte_order_mark_is_no_part_of_a_name(suffix, encoding):
    lines = {
        "txt": "café.mp4\n",
        "csv": "uri\ncafé.mp4\n",
        "tsv": "uri\ncafé.mp4\n",
        "jsonl": '{"uri": "café.mp4"}\n',
    }
    assert read(f"list.{suffix}", lines[suffix].encode(encoding)) == [ListedFile("café.mp4", {})]


@given(
    uris=st.lists(NAMES, max_size=8),
    text=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=50),
)
def test_what_a_csv_writer_wrote_is_read_back(uris, text):
    sink = io.StringIO(newline="")
    writer = csv.writer(sink)
    writer.writerow(["text", "uri"])
    writer.writerows([text, uri] for uri in uris)
    about = {"text": text} if text else {}
    assert read("list.csv", sink.getvalue()) == [ListedFile(uri, about) for uri in uris]


@given(st.binary(max_size=200), st.sampled_from(["txt", "csv", "tsv", "jsonl", "parquet"]))
def test_whatever_bytes_a_list_has_it_is_rows_or_one_error_that_names_it(content, suffix):
    name = f"list.{suffix}"
    try:
        told = [row if isinstance(row, ListedFile | BadRow) else None for row in read(name, content)]
    except ValueError as error:
        told = (
            [str(error)]
            if str(error).startswith(f"footage={name}: ") and len(str(error).splitlines()) == 1
            else [None]
        )
    assert None not in told


def test_bad_rows_are_told_with_their_line_and_the_others_are_taken():
    rows = read("l.csv", 'uri,text\na.mp4,x\n,no file\n\nb.mp4,"two\nlines"\nc.mp4,1,2,3\nd.mp4\n')
    assert rows == [
        ListedFile("a.mp4", {"text": "x"}),
        BadRow("l.csv, line 3", "it has no uri"),
        ListedFile("b.mp4", {"text": "two\nlines"}),
        BadRow("l.csv, line 7", "it has 4 fields, and the list 2 columns; quote what holds a ','"),
        ListedFile("d.mp4", {}),
    ]
    assert read("l.jsonl", '{"uri": "a.mp4", "text": null}\n{"uri": 5}\nnot json\n"b.mp4"\n[1]\n') == [
        ListedFile("a.mp4", {}),
        BadRow("l.jsonl, line 2", "its uri is 5, which is no text"),
        BadRow("l.jsonl, line 3", "it is no JSON (Expecting value: line 1 column 1 (char 0))"),
        ListedFile("b.mp4", {}),
        BadRow("l.jsonl, line 5", "it is no object with names"),
    ]
    assert read("l.parquet", parquet(uri=["a.mp4", None, ""], text=[None, "x", "y"])) == [
        ListedFile("a.mp4", {}),
        BadRow("l.parquet, row 2", "it has no uri"),
        BadRow("l.parquet, row 3", "it has no uri"),
    ]
    assert read("l.parquet", parquet(uri=[1, 2]))[1] == BadRow(
        "l.parquet, row 2", "its uri is 2, which is no text"
    )


def test_long_fields_other_separators_and_columns_of_another_name():
    long = "x" * 300_000
    assert read("l.csv", f"uri,text\na.mp4,{long}\n") == [ListedFile("a.mp4", {"text": long})]
    assert read("l.csv", "uri;text\na.mp4;so, so\n") == [ListedFile("a.mp4", {"text": "so, so"})]
    assert read("l.csv", " URI ,Text\na.mp4,x\n") == [ListedFile("a.mp4", {})]
    assert read("l.csv", "path,uri\na.mp4,b.mp4\n", column="path") == [ListedFile("a.mp4", {})]
    with pytest.raises(
        ValueError, match=r"no column 'uri', only 'video_uri', 'n'; did you mean 'video_uri' to be it"
    ):
        read("l.csv", "video_uri,n\na,1\n")


def test_bytes_that_are_no_text_are_a_bad_row_each():
    assert read("l.txt", b"a.mp4\ncaf\xe9.mp4\nb.mp4\n") == [
        ListedFile("a.mp4", {}),
        BadRow("l.txt, line 2", "it is not UTF-8; save the list as UTF-8"),
        ListedFile("b.mp4", {}),
    ]


def test_a_line_that_looks_like_a_comment_and_is_a_file_is_that_file(tmp_path):
    (tmp_path / "#1 take.mp4").write_bytes(b"x")
    (tmp_path / "50% off.mp4").write_bytes(b"x")
    (tmp_path / "list.txt").write_text("# a comment\n#1 take.mp4\n50% off.mp4\n#2 take.mp4\n")
    found = find_footage(str(tmp_path / "list.txt"))
    assert [source.uri for source in found.sources] == [f"{tmp_path}/#1 take.mp4", f"{tmp_path}/50% off.mp4"]
    assert not found.missing


def test_bad_rows_of_a_list_are_rows_of_the_quarantine(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    rows = [
        {"uri": "a.mp4"},
        {"uri": None},
        {"uri": "ftp://host/b.mp4"},
        {"uri": "c\0.mp4"},
        {"uri": "a.mp4/../a.mp4"},
    ]
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = find_footage(str(tmp_path / "list.jsonl"))
    assert [source.uri for source in found.sources] == [f"{tmp_path}/a.mp4"]
    told = {row.source_uri: row.message for row in found.missing}
    assert told[f"{tmp_path}/list.jsonl, line 2"] == "it has no uri"
    assert "scheme 'ftp' is not known" in told["ftp://host/b.mp4"]
    assert told[f"{tmp_path}/list.jsonl, line 4"] == "it holds a byte of zero"
    assert {row.stage for row in found.missing} == {"plan"}


def test_odd_names_are_a_row_each_and_end_nothing(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "a\u2028b.mp4").write_bytes(b"x")
    odd = {
        f"/{'x' * 5000}.mp4": "File name too long",
        f"#{'x' * 5000}.mp4": None,  # a comment
        "~nosuchuser/x.mp4": "no home folder is known for ~nosuchuser",
        "http://169.254.169.254/latest": "scheme 'http' is not known",
        "file://elsewhere/a.mp4": "it names the machine 'elsewhere'",
        f"file://{tmp_path}/a.mp4?x=1": "a file: URI ends with its path",
        f"file://{tmp_path}/a%00.mp4": "it holds a byte of zero",
        "file://[::1/a.mp4": "it is no URI",
    }
    (tmp_path / "list.txt").write_text("\n".join(["a.mp4", *odd, "a\u2028b.mp4", f"file://{tmp_path}/a.mp4"]))
    found = find_footage(str(tmp_path / "list.txt"))
    assert [source.uri for source in found.sources] == [f"{tmp_path}/a.mp4", f"{tmp_path}/a\u2028b.mp4"]
    told = {row.source_uri: row.message for row in found.missing}
    assert told.keys() == {uri for uri, why in odd.items() if why}
    assert all(odd[uri] in message for uri, message in told.items())
    assert read("l.jsonl", r'"\ud800.mp4"') == [
        BadRow("l.jsonl, line 1", "it is not UTF-8; save the list as UTF-8")
    ]


def test_a_list_says_once_where_its_files_are():
    for columns, name in (("uri,uri", "uri"), ("uri,text,text", "text")):
        with pytest.raises(ValueError, match=f"more than one column '{name}'"):
            read("l.csv", f"{columns}\na.mp4,b.mp4,c\n")
    twice = pa.Table.from_arrays([pa.array(["a.mp4"]), pa.array(["b.mp4"])], names=["uri", "uri"])
    sink = io.BytesIO()
    pq.write_table(twice, sink)
    with pytest.raises(ValueError, match=r"more than one column 'uri'|can't be read as parquet"):
        read("l.parquet", sink.getvalue())


def test_a_value_that_python_can_not_hold_is_one_bad_row():
    far = pa.array([0, 2**60, 1], pa.timestamp("us"))  # after the year 9999
    rows = read("l.parquet", parquet(uri=["a.mp4", "b.mp4", "c.mp4"], text=far))
    assert [type(row) for row in rows] == [ListedFile, BadRow, ListedFile]
    assert rows[1].where == "l.parquet, row 2"


def test_a_list_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "list.txt")
    (row,) = find_footage(str(tmp_path / "list.txt")).missing
    assert row.message == "it is a pipe; only regular files are footage"


def test_a_small_table_of_millions_of_rows_is_refused_and_other_columns_of_a_list_are_not_read():
    out = io.BytesIO()
    pq.write_table(pa.table({"uri": pa.repeat(pa.scalar("a.mp4"), 1 << 21)}), out)
    with pytest.raises(
        ValueError, match=r"footage=many.parquet: it can't be read as parquet .*rows, and at most"
    ):
        list(read_list("many.parquet", out.getvalue()))
    out = io.BytesIO()
    long = pa.DictionaryArray.from_arrays(np.zeros(2000, np.int32), ["x" * 10**6])
    pq.write_table(pa.table({"uri": [f"{k}.mp4" for k in range(2000)], "embedding": long}), out)
    assert len(list(read_list("odd.parquet", out.getvalue()))) == 2000


def test_a_path_that_no_system_has_is_a_row():
    named, good = read_list("a.txt", b"/".join([b".."] * 10**6) + b"/x.mp4\n# " + b"y" * 10**6 + b"\nb.mp4\n")
    assert isinstance(named, BadRow)
    assert "3,000,005 characters" in named.why
    assert good == ListedFile("b.mp4")
