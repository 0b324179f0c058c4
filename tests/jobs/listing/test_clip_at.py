"""A file's name and a time mean a clip, or one line says what lies there instead."""

import json

import pytest

from jobs.cli.main import DONE, WRONG_USAGE, main
from tests.jobs.listing.table_rows import bad, clip, content_of, make, video

WALK, MARCH, SEA, GONE, EMPTY = (
    *("/footage/walk.mp4", "/footage/march/walk.mp4", "/footage/sea [1].mp4"),
    *("/footage/gone.mp4", "/footage/empty.mp4"),
)
CLIPS = [
    clip("1a", WALK, 0, 4, start_kind="edge", end_kind="dissolve"),
    clip("2a", WALK, 5, 8, "too_short", start_kind="dissolve"),
    clip("3a", WALK, 8, 9, end_kind="hard"),
    clip("4a", WALK, 10, 12.5, end_kind="edge"),
    clip("5a", MARCH, 0, 4, start_kind="edge", end_kind="edge"),
    clip("6a", SEA, 2, 4),
    clip("7a", SEA, 8, 9),
]
SOURCES = [
    *(video(uri, 12.5) for uri in (WALK, MARCH, SEA)),
    video(EMPTY, 1.0),
    {
        "uri": "/copies/same.mp4",
        "status": "duplicate",
        "video_id": content_of(MARCH),
        "why": f"same bytes as {MARCH}",
    },
    {"uri": GONE, "status": "quarantined", "why": "missing"},
    {"uri": "/footage/notes.txt", "status": "ignored", "why": "not media"},
]
GAPS = [
    bad(MARCH, "undecodable", start_s=4.0, end_s=None),
    bad(WALK, "truncated", start_s=9.2, end_s=9.8),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> str:
    return make(
        tmp_path_factory.mktemp("dataset"),
        CLIPS,
        SOURCES,
        [bad(GONE, "missing"), bad(SEA, "crashed", "8a" * 16), *GAPS],
    )


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["source=footage/walk.mp4", "at_s=0"], "1a"),
        (["source=footage/walk.mp4", "at_s=3.99"], "1a"),
        (["source=footage/walk.mp4", "at_s=5"], "2a"),
        (["source=footage/walk.mp4", "at_s=8"], "3a"),
        (["source=march/walk.mp4"], "5a"),
        (["source=march/*", "at_s=1"], "5a"),
        (["source=same.mp4", "at_s=1"], "5a"),
        (["source=sea [1].mp4", "at_s=2"], "6a"),
        (["clip=4a"], "4a"),
    ],
)
def test_a_clip_is_found_by_a_name_and_a_time(dataset, asked, found, capsys):
    assert main(["passport", f"dataset={dataset}", "format=json", *asked]) == DONE
    assert json.loads(capsys.readouterr().out)["identity"]["clip_id"] == found * 16


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            ["source=footage/walk.mp4", "at_s=4.5"],
            "walk.mp4 at 4.5 s is in no clip: in a transition (a dissolve) between 1a1a1a1a (0.00–4.00 s, "
            "kept) and 2a2a2a2a (5.00–8.00 s, rejected: too short)",
        ),
        (
            ["source=footage/walk.mp4", "at_s=9.5"],
            "walk.mp4 at 9.5 s is in no clip: lost to damage (truncated: as it was) between 3a3a3a3a "
            "(8.00–9.00 s, kept) and",
        ),
        (
            ["source=march/walk.mp4", "at_s=5"],
            "walk.mp4 at 5 s is in no clip: lost to damage (undecodable: as it was); its last clip is "
            "5a5a5a5a",
        ),
        (
            ["source=footage/walk.mp4", "at_s=9.1"],
            "walk.mp4 at 9.1 s is in no clip: left out as part of a transition between 3a3a3a3a (8.00–9.00 "
            "s, kept) and",
        ),
        (
            ["source=footage/walk.mp4", "at_s=12.5"],
            "is in no clip: behind the video's end; its last clip is 4a4a4a4a (10.00–12.50 s, kept)",
        ),
        (["source=footage/walk.mp4", "at_s=-1"], "before the video begins; its first clip is 1a1a1a1a"),
        (
            ["source=sea*", "at_s=5"],
            "lost (cut: crashed: as it was) between 6a6a6a6a (2.00–4.00 s, kept)",
        ),
        (
            ["source=walk.mp4", "at_s=1"],
            f"source=walk.mp4: 2 sources are called so ({MARCH}, {WALK}); give more of the path",
        ),
        (["source=footage/walk.mp4"], "walk.mp4 has 4 clips (1a1a1a1a (0.00–4.00 s, kept), "),
        (["source=wlak.mp4"], "is called so; did you mean 'walk.mp4'?"),
        (["source=empty.mp4"], "empty.mp4 has no clips"),
        (
            ["source=gone.mp4"],
            f"source=gone.mp4 has no clips: {GONE} is in quarantine: cut: missing: as it was",
        ),
        (["source=notes.txt"], "source=notes.txt has no clips: /footage/notes.txt was ignored: not media"),
        (["clip=1a", "source=walk.mp4"], "both are given"),
        (["clip=1a", "at_s=3"], "at_s is a time in a source"),
        ([], "passport needs clip=<id> or source=<file> at_s=<seconds>, and neither is given"),
    ],
)
def test_what_means_no_clip_is_one_line(dataset, asked, said, capsys):
    assert main(["passport", f"dataset={dataset}", *asked]) == WRONG_USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
