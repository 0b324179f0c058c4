"""`rushes clips` lists what is asked for, cleanly, and says in one line what is asked for wrongly."""

import csv
import io
import json
import subprocess
import sys

import pytest

from jobs.cli.main import DONE, WRONG_USAGE, main
from pipelines.dataset.reader import open_dataset
from tests.jobs.cli.test_main import heavy_modules_after


def listed(capsys, dataset, *asked):
    """What `format=json` tells."""
    assert main(["clips", f"dataset={dataset}", "format=json", *asked]) == DONE
    told = capsys.readouterr()
    assert told.err == ""
    return json.loads(told.out)


def test_a_table_shows_every_clip_with_what_tells_it_best(mixed, capsys):
    assert main(["clips", f"dataset={mixed}"]) == DONE
    head, *lines, summary = capsys.readouterr().out.splitlines()
    assert head.split("  ")[0] == "clip"
    rows = open_dataset(str(mixed)).index().table().to_pylist()
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert line.startswith(row["clip_id"][:8])
        assert row["source_uri"].rpartition("footage/")[2] in line
        assert f"{row['start_s']:.2f}–{row['end_s']:.2f}" in line
        assert (row["caption_short"] or row["reject_reasons"][0].replace("_", " ")) in line
    assert summary == f"{len(rows)} clips, {sum(row['duration_s'] for row in rows):.1f} s"


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        (["status=rejected"], lambda row: row["status"] == "rejected"),
        (["reason=static"], lambda row: "static" in row["reject_reasons"]),
        (["source=march/walk.mp4"], lambda row: "march/walk" in row["source_uri"]),
        (
            ["source=*walk*", "status=kept"],
            lambda row: "walk" in row["source_uri"] and row["status"] == "kept",
        ),
        (["source=harbour.copy.mp4"], lambda row: "harbour" in row["source_uri"]),
        (["bucket=4x3_0_1s"], lambda row: row["bucket"] == "4x3_0_1s"),
        (["bucket=*_0s"], lambda row: row["bucket"].endswith("_0s")),
        (["reason=dark"], lambda row: False),
    ],
)
def test_filters_mean_what_they_say(mixed, capsys, asked, meant):
    wanted = [row["clip_id"] for row in open_dataset(str(mixed)).index().table().to_pylist() if meant(row)]
    assert [row["clip_id"] for row in listed(capsys, mixed, *asked)] == wanted


def test_clips_are_sorted_both_ways_with_what_is_not_known_at_the_end(mixed, capsys):
    for sort in ("sharpness", "-sharpness", "-caption_short", "start_s"):
        name = sort.removeprefix("-")
        got = [row[name] for row in listed(capsys, mixed, f"sort={sort}", f"columns={name}")]
        known = [value for value in got if value is not None]
        assert known == sorted(known, reverse=sort.startswith("-"))
        assert got[len(known) :] == [None] * (len(got) - len(known))


def test_columns_are_those_asked_for_in_their_order_and_nulls_are_said(mixed, capsys):
    rows = listed(capsys, mixed, "columns=motion_*, clip,caption_short,reject_reasons", "status=rejected")
    assert list(rows[0]) == [
        "motion_mean",
        "motion_p95",
        "motion_peak",
        "clip",
        "caption_short",
        "reject_reasons",
    ]
    assert all(row["caption_short"] is None and row["reject_reasons"] for row in rows)
    everything = listed(capsys, mixed, "columns=*", "limit=1")
    whole = open_dataset(str(mixed)).index().table().to_pylist()[:1]
    assert everything == json.loads(json.dumps(whole))


def test_csv_is_read_by_any_reader(mixed, capsys):
    assert main(["clips", f"dataset={mixed}", "format=csv"]) == DONE
    told = capsys.readouterr()
    assert told.err == ""
    got = list(csv.DictReader(io.StringIO(told.out)))
    for row, wanted in zip(got, open_dataset(str(mixed)).index().table().to_pylist(), strict=True):
        assert (row["clip_id"], row["source_uri"]) == (wanted["clip_id"], wanted["source_uri"])
        assert float(row["start_s"]) == wanted["start_s"]
        assert json.loads(row["reject_reasons"]) == wanted["reject_reasons"]
        assert row["caption_short"] == (wanted["caption_short"] or "")


def test_a_long_table_ends_early_and_says_so(mixed, capsys):
    assert main(["clips", f"dataset={mixed}", "limit=2", "columns=clip"]) == DONE
    lines = capsys.readouterr().out.splitlines()
    whole = len(open_dataset(str(mixed)).index().table())
    assert len(lines) == 4
    assert lines[-1].startswith(f"2 shown of {whole} clips, ")
    assert lines[-1].endswith(f"; limit={whole} shows all")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["columns=clip,motoin_mean"], "no column is called 'motoin_mean'; did you mean 'motion_mean'?"),
        (["sort=-sharpnes"], "sort=-sharpnes: sharpnes is no column of the index; did you mean 'sharpness'?"),
        (["sort=tags"], "sort=tags: tags has no order: it is a list"),
        (["status=keptt"], "status=keptt is not known; did you mean 'kept'?"),
        (["reason=to_short"], "reason=to_short is not known; did you mean 'too_short'?"),
        (["bucket=4x3_0_1"], "bucket=4x3_0_1: no clip is in it; did you mean '4x3_0_1s'?"),
        (["source=harbour.mp4"], "is called so; did you mean 'harbour.copy.mp4'?"),
        (["source=broken.mp4"], "broken.mp4 is in quarantine: probe: truncated: "),
        (["format=yaml"], "format=yaml is not known; it is one of table, csv, json"),
        (["limit=0"], "limit=0 is too small: at least 1"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(mixed, asked, said, capsys):
    assert main(["clips", f"dataset={mixed}", *asked]) == WRONG_USAGE
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert said in line


@pytest.mark.parametrize("asked", [["clips"], ["inspect"], ["passport", "source=static.mp4"]])
def test_looking_at_a_dataset_starts_neither_ray_nor_any_network(mixed, asked):
    imported, _ = heavy_modules_after(asked[0], f"dataset={mixed}", *asked[1:])
    assert not {"torch", "ray", "transformers", "deepspeed", "av", "decord"} & set(imported)


@pytest.mark.parametrize("asked", [["clips", "format=json", "columns=*"], ["clips"], ["inspect"]])
def test_a_reader_that_has_seen_enough_is_no_failure(mixed, asked):
    """`rushes clips … | head`"""
    job, *rest = asked
    command = [sys.executable, "-m", "jobs.cli.main", job, f"dataset={mixed}", *rest]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == DONE
