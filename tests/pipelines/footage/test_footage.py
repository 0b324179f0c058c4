"""What counts as footage: by name or by content; everything else is ignored and counted."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.footage.listing import check_footage, find_footage

_MP4 = b"\x00\x00\x00\x18ftypisom" + b"\x00" * 64


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.mp4").write_bytes(_MP4)
    (tmp_path / "a.MOV").write_bytes(b"whatever it claims")
    (tmp_path / "IMG_0001").write_bytes(_MP4)
    (tmp_path / "notes.txt").write_text("shot on a sunny day")
    (tmp_path / "thumb.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    return tmp_path


def test_a_folder_is_taken_by_name_and_by_content_and_the_rest_is_ignored(folder):
    found = find_footage(str(folder))
    assert [source.uri.removeprefix(f"{folder}/") for source in found.sources] == [
        "IMG_0001",
        "a.MOV",
        "deep/b.mp4",
    ]
    assert sorted(item.uri.removeprefix(f"{folder}/") for item in found.ignored) == ["notes.txt", "thumb.jpg"]
    assert all("not media" in item.why for item in found.ignored)


def test_a_limit_takes_the_first_by_uri(folder):
    assert [source.uri for source in find_footage(str(folder), limit=2).sources] == [
        source.uri for source in find_footage(str(folder)).sources
    ][:2]


def test_a_glob_takes_what_it_matches(folder):
    assert len(find_footage(f"{folder}/**/*.mp4").sources) == 1


@pytest.mark.parametrize("kind", ["txt", "csv", "parquet"])
def test_a_list_names_footage_relative_to_itself_and_says_what_it_knows(folder, kind):
    path = folder / f"list.{kind}"
    rows = {"uri": ["deep/b.mp4", "gone.mp4"], "text": ["a harbour", ""], "license": ["CC0", ""]}
    if kind == "txt":
        path.write_text("# two\ndeep/b.mp4\ngone.mp4\n")
    elif kind == "csv":
        path.write_text("uri,text,license\ndeep/b.mp4,a harbour,CC0\ngone.mp4,,\n")
    else:
        pq.write_table(pa.table(rows), path)
    found = find_footage(str(path))
    (source,) = found.sources
    assert source.uri == str(folder / "deep" / "b.mp4")
    assert (source.text, source.license) == ((None, None) if kind == "txt" else ("a harbour", "CC0"))
    (missing,) = found.missing
    assert (missing.source_uri, missing.reason) == (str(folder / "gone.mp4"), "missing")


def test_a_list_without_uris_says_what_it_has(tmp_path):
    (tmp_path / "list.csv").write_text("url,text\na,b\n")
    with pytest.raises(
        ValueError,
        match=r"no column 'uri', only 'url', 'text'; did you mean 'url' to be it\? Then give uri_column=url",
    ):
        find_footage(str(tmp_path / "list.csv"))


def test_footage_that_is_not_there_is_an_error_with_the_near_miss(folder):
    with pytest.raises(FileNotFoundError, match=r"nothing is there; did you mean '.*deep'\?"):
        check_footage(str(folder / "deeep"))
    with pytest.raises(ValueError, match="scheme 'ftp' is not known"):
        check_footage("ftp://host/a")


def test_a_name_that_is_no_text_is_quarantined_and_spelled_out(folder):
    (folder / "caf\udce9.mp4").write_bytes(_MP4)
    found = find_footage(str(folder))
    assert len(found.sources) == 3
    assert [(row.source_uri, row.reason) for row in found.missing] == [
        (f"{folder}/caf\\xe9.mp4", "unreadable")
    ]


def test_a_file_that_a_list_names_twice_is_one_source_or_one_that_is_missing(folder, tmp_path):
    there = find_footage(str(folder)).sources[0].uri
    (tmp_path / "list.txt").write_text(f"{there}\n{there}\n{tmp_path}/gone.mp4\n{tmp_path}/gone.mp4\n")
    found = find_footage(str(tmp_path / "list.txt"))
    assert [source.uri for source in found.sources] == [there]
    assert [gone.source_uri for gone in found.missing] == [f"{tmp_path}/gone.mp4"]
