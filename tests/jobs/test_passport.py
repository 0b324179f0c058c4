"""`rushes passport` finds the clip before it begins, and says in one line what is wrong with an id."""

import json

import pytest

from jobs import passport
from jobs.cli.main import DONE, WRONG_USAGE, main
from pipelines.dataset.manifest import Manifest, publish
from pipelines.dataset.schema import INDEX, QUARANTINE, SCHEMA_VERSION, table
from pipelines.storage.open_store import open_store
from pipelines.storage.parquet import parquet_bytes
from tests.jobs.reporting.synthetic import RECIPE, rows


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> str:
    """Twenty clips in two files of the index, and one that is quarantined."""
    uri = str(tmp_path_factory.mktemp("dataset"))
    store = open_store(uri)
    clips = [{"score_models": [], "score_gaps": []} | _without_nulls(row) for row in rows(20, 1)]
    index = {"index/a.parquet": clips[:8], "index/b.parquet": clips[8:]}
    for key, some in index.items():
        store.put_new(key, parquet_bytes(table(some, INDEX)))
    bad = {
        "source_uri": "bad.mp4",
        "stage": "cut",
        "reason": "crashed",
        "message": "gone",
        "clip_id": "f" * 24,
    }
    store.put_new("quarantine/a.parquet", parquet_bytes(table([bad], QUARANTINE)))
    recipe = {"name": "test", "hash": RECIPE.hash, "rules": RECIPE.as_rows()}
    publish(
        store,
        0,
        Manifest(
            SCHEMA_VERSION, (), tuple(index), (), (), ("quarantine/a.parquet",), recipe, {}, settings={}
        ),
    )
    return uri


def _without_nulls(row: dict) -> dict:
    return {name: value for name, value in row.items() if value is not None}


@pytest.mark.parametrize("number", [3, 17])
def test_a_clip_is_found_by_the_beginning_of_its_id_in_any_file_of_the_index(dataset, number, capsys):
    whole = f"{number:024x}"
    given = {3: "0" * 23 + "3", 17: whole}[number]
    assert main(["passport", f"dataset={dataset}", f"clip={given}", "format=json"]) == DONE
    assert json.loads(capsys.readouterr().out)["identity"]["clip_id"] == whole


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        ("abc", "clip=abc: no clip of "),
        ("000", "clip=000: 20 clips have an id that begins so"),
        ("fff", "clip=fff is quarantined: cut: crashed: gone"),
    ],
)
def test_a_wrong_id_is_wrong_usage(dataset, clip, said, capsys, monkeypatch):
    monkeypatch.setattr(passport, "run", None)  # it is found out before
    assert main(["passport", f"dataset={dataset}", f"clip={clip}"]) == WRONG_USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"rushes: {said}")
