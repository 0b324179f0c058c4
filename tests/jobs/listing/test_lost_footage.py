"""What became of a dataset's footage is counted right and said in words, on the console and by `rushes
inspect`."""

import json
import os

import pytest

from jobs.cli.main import DONE, main
from jobs.inspect import describe
from jobs.listing.account import account_of, lost_line, quarantine_line
from jobs.listing.dataset_text import as_text
from pipelines.dataset.reader import open_dataset
from tests.jobs.listing.table_rows import bad, clip, content_of, make, video

A, B = "/footage/a.mp4", "/footage/b.mp4"
CLIPS = [
    clip("1", A, 0, 60),
    clip("2", A, 60, 61.5, "too_short"),
    clip("3", A, 62, 90, "dark", "static"),
    clip("4", B, 0, 1, "too_short"),
    clip("5", B, 1, 7201, bucket="16x9_720_60s"),
]
SOURCES = [
    video(A, 90.5, lost_s=0.5),
    video(B, 7201),
    {"uri": "/footage/c.mp4", "status": "duplicate", "video_id": content_of(A), "duration_s": 90.5},
    {"uri": "/footage/d.mp4", "status": "quarantined", "why": "truncated"},
    {"uri": "/footage/notes.txt", "status": "ignored"},
]
QUARANTINE = [
    bad(A, "undecodable", start_s=61.5, end_s=62.0),
    bad("/footage/d.mp4", "truncated"),
    bad(B, "timed_out", "9" * 32),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> str:
    return make(tmp_path_factory.mktemp("dataset"), CLIPS, SOURCES, QUARANTINE)


def test_the_console_says_why_and_how_much_was_lost(dataset):
    account = account_of(open_dataset(dataset))
    assert lost_line(account) == (
        "3 rejected: 2 too short, 1 dark, 1 static (some for several reasons); 30.5 s of 2 h 01 min lost"
    )
    assert quarantine_line(account) == (
        "in quarantine: 1 source (1 truncated), 1 clip (1 timed out), 1 stretch of a video (1 undecodable)"
    )
    assert account.between_s == pytest.approx(90.5 + 7201 - 60 - 1.5 - 28 - 1 - 7200)


def test_where_nothing_was_lost_nothing_is_said(tmp_path):
    account = account_of(open_dataset(make(tmp_path, [clip("1", A, 0, 60)], [video(A, 60)])))
    assert (lost_line(account), quarantine_line(account)) == (None, None)
    assert "rejected" not in as_text(describe(str(tmp_path))).replace("0 rejected", "").replace(
        "  rejected ", ""
    )


def test_a_dataset_without_clips_is_told_of_too(tmp_path):
    told = as_text(describe(make(tmp_path, [], SOURCES[3:], [bad("/footage/d.mp4", "missing")])))
    assert "clips         0 = 0 kept + 0 rejected" in told
    assert "quarantine    1 source: 1 missing" in told


def test_inspect_tells_reasons_recipe_and_footage_in_units_of_their_size(dataset, capsys):
    assert main(["inspect", f"dataset={dataset}"]) == DONE
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        "sources 5 = 2 videos + 1 duplicate + 1 ignored + 1 quarantined",
        "footage 2 h 01 min in 2 videos",
        "kept 2 h 01 min 100%",
        "rejected 30.5 s 0%",
        "damaged 0.50 s 0% and lost",
        "too short 2 clips 2.5 s",
        "quarantine 1 source: 1 truncated; 1 clip: 1 timed out; 1 stretch of a video: 1 undecodable",
        "d.mp4: cut: truncated: as it was",
        "2 ≤ duration_s",
        "16 ≤ luma_mean ≤ 240",
        "16x9_720_60s 1 clip 2 h 00 min in 0 shards, 0 bytes",
    ):
        assert line in lines, line


def test_of_a_large_quarantine_some_rows_are_told_and_none_is_a_command_to_the_terminal(tmp_path):
    rows = [bad(f"/footage/{k}\x1b[31m.mp4", "truncated") for k in range(100)]
    told = as_text(
        describe(make(tmp_path, [], [{"uri": r["source_uri"], "status": "quarantined"} for r in rows], rows))
    )
    assert told.count(".mp4: cut: truncated: as it was") == 10
    assert "… and 90 more, in the quarantine table" in told
    assert "\x1b" not in told


def test_inspect_tells_which_manifest_it_read_and_which_was_before(dataset, tmp_path, capsys):
    written_s = 1_700_000_000  # 2023-11-14 22:13:20 UTC
    make(tmp_path, CLIPS, SOURCES)
    make(tmp_path, CLIPS[:1], SOURCES, number=2)
    os.utime(tmp_path / "manifests" / "000002.json", (written_s, written_s))
    assert "2, written 2023-11-14 22:13 UTC, after 1" in as_text(describe(str(tmp_path)))
    (tmp_path / "manifests" / "000001.json").unlink()
    assert "2, written 2023-11-14 22:13 UTC, after 1, which was cleaned away" in as_text(
        describe(str(tmp_path))
    )
    assert ", the first one" in as_text(describe(dataset))


def test_inspect_for_programs_is_json_and_nothing_else(dataset, capsys):
    assert main(["inspect", f"dataset={dataset}", "format=json"]) == DONE
    told = json.loads(capsys.readouterr().out)
    assert told["reject_reasons"] == {"too_short": 2, "dark": 1, "static": 1}
    assert told["reject_reasons_s"] == {"too_short": 2.5, "dark": 28.0, "static": 28.0}
    assert told["quarantine_reasons"] == {
        "sources": {"truncated": 1},
        "clips": {"timed_out": 1},
        "stretches": {"undecodable": 1},
    }
    assert told["manifest"]["number"] == 1
    assert told["hours"] == pytest.approx(7260 / 3600)


def test_stretches_that_are_not_shown_are_counted_among_the_rest(tmp_path):
    rows = [bad(A, "undecodable") | {"start_s": float(k), "end_s": k + 0.5} for k in range(12)]
    told = as_text(describe(make(tmp_path, [], [video(A, 90.5) | {"lost_s": 6.0}], rows)))
    assert "12 stretches of videos: 12 undecodable" in told
    assert "… and 2 more, in the quarantine table" in told
