"""What a run found and what the dataset had become one set of rows: nothing twice, nothing from bytes that are gone."""

from jobs.curation.analysis import Analysis
from jobs.curation.assemble import Base, add_text, assemble, decide, of_whole_shards
from pipelines.dedup.pairs import Pair
from pipelines.footage.listing import Footage
from pipelines.recipes.recipe import Recipe, Rule
from pipelines.records import Ignored, Missing, Quarantined, Source
from pipelines.scores.config import ScoreConfig


def clip(video, number=0):
    return {"clip_id": f"{video}{number}", "video_id": video, "start_pts": number}


def found(uri, video, bad=None):
    return Analysis(uri, video, 2.0, [] if bad else [clip(video), clip(video, 1)], bad)


def run(analyses, base=None, ignored=(), missing=()):
    sources = tuple(Source(analysis.source_uri, 1, "e") for analysis in analyses)
    return assemble(Footage(sources, tuple(ignored), tuple(missing)), analyses, base or Base())


def base_of(assembly):
    """What the next run would read: the index with its other columns empty."""
    stored = {"shard": None, "bucket": "b", "offset": None}
    return Base(assembly.sources, assembly.quarantine, [clip | stored for clip in assembly.clips])


def status(assembly):
    return {row["uri"]: row["status"] for row in assembly.sources}


def clips(assembly):
    return sorted((row["clip_id"], row["source_uri"]) for row in assembly.clips)


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
    assert then.quarantine == [
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
    assert of_whole_shards(written, {"a", "b", "c", "d"}) == written
    assert of_whole_shards(written, {"b", "c"}) == {"c": {"shard": "2"}}


def test_what_is_quarantined_once_is_not_quarantined_after_it_was_mended():
    bad = Quarantined("a", "probe", "truncated", "half", "w")
    then = run([found("a", "v")], base_of(run([found("a", "w", bad)])))
    assert status(then) == {"a": "video"}
    assert then.quarantine == []


def test_the_ledger_counts_this_runs_sources():
    missing = [Missing("gone", "plan", "missing", "No such file")]
    assembly = run([found("a", "v"), found("b", "v")], ignored=[Ignored("n", 1, "w")], missing=missing)
    for row in assembly.clips:
        row["status"] = "rejected"
    assembly.ledger().check()
    assert assembly.run == {"sources": 4, "video": 1, "duplicate": 1, "ignored": 1, "quarantined": 1, "clips": 2}


def scored(clip_id, area=100, motion=0.1):
    return {
        "clip_id": clip_id,
        **{
            "width": area,
            "height": 1,
            "safe_width": area,
            "safe_height": 1,
            "start_s": 0.0,
            "end_s": 3.0,
            "duration_s": 3.0,
            "sharpness": 1.0,
        },
        **{"motion_mean": motion, "text_match": None, "score_gaps": [], "frames_hash": clip_id, "num_frames": 75},
    }


MOVING = Recipe("moving", (Rule("motion_mean", min=0.05),))
COPIES = [Pair("a", "b", "perceptual", 0.98)]


def decided(clips, recipe, pairs=(), failed=None):
    decide(clips, recipe, pairs, failed or {})
    return {clip["clip_id"]: clip["reject_reasons"] for clip in clips}


def test_of_copies_the_best_that_passes_is_kept_and_named():
    clips = [scored("a", area=50), scored("b", area=100)]
    assert decided(clips, MOVING, COPIES) == {"a": ["duplicate"], "b": []}
    assert (clips[0]["duplicate_of"], clips[0]["duplicate_kind"]) == ("b", "perceptual")
    assert decided([scored("a", area=50), scored("b", area=100, motion=0.0)], MOVING, COPIES) == {
        "a": [],
        "b": ["static"],
    }


def test_a_clip_that_fell_for_its_caption_makes_room_for_its_copy():
    clips = [scored("a", area=50), scored("b", area=100)]
    matched = Recipe("matched", (*MOVING.rules, Rule("text_match", min=0.2)))
    assert decided(clips, matched, COPIES) == {"a": ["duplicate"], "b": []}  # what is not captioned yet is not asked
    assert decided(clips, matched, COPIES, {"b": ["mismatched"]}) == {"a": [], "b": ["mismatched"]}


def test_text_belongs_to_clips_that_are_kept_or_fell_for_it_and_to_no_others():
    clips = [scored("a"), scored("b", motion=0.0), scored("c")]
    decide(clips, MOVING, [], {"c": ["mismatched"]})
    captions = {name: {"caption_short": f"{name}.", "caption_dense": "", "caption_model": "m"} for name in "abc"}
    add_text(clips, captions, {"a": {"text_match": 0.3}, "c": {"text_match": 0.1}}, {"c"}, ScoreConfig())
    assert [clip["caption_short"] for clip in clips] == ["a.", None, "c."]
    assert [clip["text_match"] for clip in clips] == [0.3, None, 0.1]
    assert [[gap["score"] for gap in clip["score_gaps"]] for clip in clips] == [[], ["text_match"], []]
    assert "scores.clip_model" in clips[1]["score_gaps"][0]["why"]
