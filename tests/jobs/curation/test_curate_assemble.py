"""What a run found and what the dataset had become one set of rows: nothing twice, nothing from bytes that
are gone."""

from jobs.curation.analysis import Analysis
from jobs.curation.assemble import BaseManifest, assemble
from jobs.curation.clip_records import DecidedClip, PlacedClip
from jobs.curation.decide import Outcome, in_complete_shards
from pipelines.footage.listing import Footage
from pipelines.records import Ignored, Missing, Quarantined, Source


def clip(video, number=0):
    return {"clip_id": f"{video}{number}", "video_id": video, "start_pts": number}


def found(uri, video, bad=None):
    return Analysis(uri, video, 2.0, [] if bad else [clip(video), clip(video, 1)], bad)


def run(analyses, base=None, ignored=(), missing=()):
    sources = tuple(Source(analysis.source_uri, 1, "e") for analysis in analyses)
    return assemble(Footage(sources, tuple(ignored), tuple(missing)), analyses, base or BaseManifest())


def base_of(assembly):
    """What the next run would read: the index with its other columns empty."""
    stored = {"shard": None, "bucket": "b", "offset": None}
    return BaseManifest(
        assembly.sources, assembly.quarantine, [{**clip.measured, **stored} for clip in assembly.candidates]
    )


def status(assembly):
    return {row["uri"]: row["status"] for row in assembly.sources}


def clips(assembly):
    return sorted((clip.clip_id, clip.source_uri) for clip in assembly.candidates)


def test_the_first_source_by_uri_stands_for_a_video_and_the_others_are_duplicates():
    assembly = run([found("b", "v"), found("a", "v")])
    assert status(assembly) == {"a": "video", "b": "duplicate"}
    assert clips(assembly) == [("v0", "a"), ("v1", "a")]


def test_a_copy_that_comes_later_changes_nothing():
    first = run([found("b", "v")])
    then = run([found("a", "v")], base_of(first))
    assert status(then) == {"a": "duplicate", "b": "video"}
    assert clips(then) == clips(first)


def test_new_footage_is_added_and_what_was_there_stays():
    bad = Quarantined("x", "probe", "truncated", "half", "w")
    first = run([found("a", "v"), found("x", "w", bad)], ignored=[Ignored("notes.txt", 5, "not media")])
    then = run([found("c", "u")], base_of(first))
    assert status(then) == {"a": "video", "c": "video", "notes.txt": "ignored", "x": "quarantined"}
    assert clips(then) == [("u0", "c"), ("u1", "c"), ("v0", "a"), ("v1", "a")]
    assert [row["source_uri"] for row in then.quarantine] == ["x"]


def test_clips_of_bytes_that_were_replaced_are_gone():
    first = run([found("a", "old"), found("b", "v")])
    then = run([found("a", "new")], base_of(first))
    assert clips(then) == [("new0", "a"), ("new1", "a"), ("v0", "b"), ("v1", "b")]


def test_a_copy_stands_in_for_a_source_that_was_replaced():
    first = run([found("a", "v"), found("b", "v")])
    then = run([found("a", "new"), found("b", "v")], base_of(first))
    assert status(then) == {"a": "video", "b": "video"}
    assert clips(then) == [("new0", "a"), ("new1", "a"), ("v0", "b"), ("v1", "b")]


def test_a_copy_stands_in_for_a_source_that_is_gone():
    first = run([found("a", "v"), found("b", "v")])
    gone = Missing("a", "plan", "missing", "No such file", text="a harbour")
    then = run([found("b", "v")], base_of(first), missing=[gone])
    assert status(then) == {"a": "quarantined", "b": "video"}
    assert clips(then) == [("v0", "b"), ("v1", "b")]
    assert next(row["source_text"] for row in then.sources if row["uri"] == "a") == "a harbour"
    assert list(then.quarantine) == [
        {
            "source_uri": "a",
            "stage": "plan",
            "reason": "missing",
            "message": "No such file",
            "video_id": None,
            "clip_id": None,
            "start_s": None,
            "end_s": None,
        }
    ]


def test_of_written_clips_only_those_of_shards_that_lost_none_stay():
    written = {"a": {"shard": "1"}, "b": {"shard": "1"}, "c": {"shard": "2"}}
    assert in_complete_shards(written, {"a", "b", "c", "d"}) == written
    assert in_complete_shards(written, {"b", "c"}) == {"c": {"shard": "2"}}


def test_what_is_quarantined_once_is_not_quarantined_after_it_was_mended():
    bad = Quarantined("a", "probe", "truncated", "half", "w")
    then = run([found("a", "v")], base_of(run([found("a", "w", bad)])))
    assert status(then) == {"a": "video"}
    assert not then.quarantine


def test_the_ledger_counts_this_runs_sources():
    missing = [Missing("gone", "plan", "missing", "No such file")]
    assembly = run([found("a", "v"), found("b", "v")], ignored=[Ignored("n", 1, "w")], missing=missing)
    rejected = tuple(PlacedClip(DecidedClip(clip, ("static",), "b")) for clip in assembly.candidates)
    assembly.ledger(Outcome(rejected, {}, (), 0)).check()
    assert assembly.run == {
        "sources": 4,
        "video": 1,
        "duplicate": 1,
        "ignored": 1,
        "quarantined": 1,
        "clips": 2,
    }
