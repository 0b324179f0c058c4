"""Deciding: the outcome depends on the clips, the recipe and what effects answer; not on order, nor on what
earlier runs kept."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.curation.clip_records import (
    LOCATION_COLUMNS,
    TEXT_COLUMNS,
    Candidate,
    ClipLocation,
    candidate_from_index,
)
from jobs.curation.decide import ShardPlacement, decide
from pipelines.dataset.schema import INDEX
from pipelines.dedup.pairs import Pair
from pipelines.errors import Reason
from pipelines.recipes.recipe import Recipe, Rule
from pipelines.scores.config import ScoreConfig

MOVING = Recipe("moving", (Rule("motion_mean", min=0.05),))
MATCHED = Recipe("matched", (*MOVING.rules, Rule("text_match", min=0.2)))
COPIES = [Pair("a", "b", "perceptual", 0.98)]
LASTING, PASSING = Reason.UNDECODABLE.value, Reason.MISSING.value


def measured(clip_id, area=100, motion=0.1):
    row = dict.fromkeys(INDEX.names) | {
        "clip_id": clip_id, "video_id": "v", "source_uri": "s.mp4", "start_pts": 0, "frames_hash": clip_id,
        "num_frames": 75,
        "width": area, "height": 1, "safe_width": area, "safe_height": 1, "start_s": 0.0, "end_s": 3.0,
        "duration_s": 3.0,
        "sharpness": 1.0, "motion_mean": motion, "score_gaps": [],
    }  # fmt: skip
    return {name: value for name, value in row.items() if name not in (*TEXT_COLUMNS, *LOCATION_COLUMNS)}


def candidate(clip_id, area=100, motion=0.1, **how):
    return Candidate(measured(clip_id, area, motion), **how)


class Answers:
    """Effects that know their answers: captions and matches by clip, and what goes wrong; they count how
    often they are asked."""

    def __init__(self, matches=(), no_caption=(), no_cut=(), per_shard=2):
        self.matches, self.no_caption, self.no_cut = dict(matches), dict(no_caption), dict(no_cut)
        self.per_shard = per_shard
        self.captioned, self.matched, self.written = [], [], []

    def caption(self, clips):
        self.captioned += [clip.clip_id for clip in clips]
        return {
            clip.clip_id: self._row(clip.clip_id, self.no_caption, caption_short=f"{clip.clip_id}.")
            for clip in clips
        }

    def match(self, clips, captions):
        assert all(captions[clip.clip_id]["caption_short"] for clip in clips)
        self.matched += [clip.clip_id for clip in clips]
        return {clip.clip_id: {"text_match": self.matches.get(clip.clip_id, 1.0)} for clip in clips}

    def write(self, clips):
        """Shards named by what is in them, of clips in the order of their ids."""
        ids = sorted(clip.clip_id for clip in clips)
        written = {}
        for k in range(0, len(ids), self.per_shard):
            shelf = [clip_id for clip_id in ids[k : k + self.per_shard] if clip_id not in self.no_cut]
            for clip_id in ids[k : k + self.per_shard]:
                where = dict.fromkeys(LOCATION_COLUMNS) | {
                    "shard": "-".join(shelf) if clip_id in shelf else None,
                    "bucket": "b",
                }
                written[clip_id] = self._row(clip_id, self.no_cut, **where)
        self.written.append(tuple(ids))
        return ShardPlacement(frozenset(), written)

    @staticmethod
    def _row(clip_id, failures, **values):
        reason = failures.get(clip_id)
        return {"clip_id": clip_id, "reason": reason, "message": reason and "why", **values}


def outcome(clips, recipe=MOVING, pairs=(), answers=None, failures=None):
    return decide(clips, recipe, pairs, answers or Answers(), failures or {}, ScoreConfig())


def reasons(made):
    return {clip.decided.clip_id: list(clip.decided.reasons) for clip in made.clips}


def test_of_copies_the_best_that_passes_is_kept_and_named():
    made = outcome([candidate("a", area=50), candidate("b", area=100)], pairs=COPIES)
    assert reasons(made) == {"a": ["duplicate"], "b": []}
    row = made.clips[0].row()
    assert (row["status"], row["duplicate_of"], row["duplicate_kind"]) == ("rejected", "b", "perceptual")
    made = outcome([candidate("a", area=50), candidate("b", area=100, motion=0.0)], pairs=COPIES)
    assert reasons(made) == {"a": [], "b": ["static"]}


def test_a_clip_that_fell_for_its_caption_makes_room_for_its_copy():
    clips = [candidate("a", area=50), candidate("b", area=100)]
    assert reasons(outcome(clips, MATCHED, COPIES)) == {"a": ["duplicate"], "b": []}
    answers = Answers(matches={"b": 0.1})
    assert reasons(outcome(clips, MATCHED, COPIES, answers)) == {"a": [], "b": ["mismatched"]}
    assert answers.captioned == ["b", "a"], "each once"


def test_text_belongs_to_clips_that_are_kept_or_fell_for_it_and_to_no_others():
    clips = [candidate("a"), candidate("b", motion=0.0), candidate("c")]
    rows = {
        row["clip_id"]: row
        for row in (clip.row() for clip in outcome(clips, MATCHED, (), Answers({"a": 0.3, "c": 0.1})).clips)
    }
    assert {name: row["caption_short"] for name, row in rows.items()} == {"a": "a.", "b": None, "c": "c."}
    assert {name: row["text_match"] for name, row in rows.items()} == {"a": 0.3, "b": None, "c": 0.1}
    assert [gap["score"] for gap in rows["b"]["score_gaps"]] == ["text_match"]
    assert "scores.clip_model" in rows["b"]["score_gaps"][0]["why"]
    assert not rows["a"]["score_gaps"]


@pytest.mark.parametrize("stage", ["captions", "cut"])
def test_what_always_fails_leaves_and_what_is_hindered_stays_rejected(stage):
    bad = {"a": LASTING, "b": PASSING}
    answers = Answers(no_caption=bad) if stage == "captions" else Answers(no_cut=bad)
    made = outcome([candidate(name) for name in "abc"], answers=answers)
    assert reasons(made) == {"b": ["unavailable"], "c": []}
    assert {(one.clip_id, one.stage, one.reason) for one in made.quarantined} == {
        ("a", stage, LASTING),
        ("b", stage, PASSING),
    }
    assert made.num_quarantined_only == 1
    assert [clip.stored.get("shard") for clip in made.clips if clip.kept] == ["c"]


def test_a_clip_that_can_not_be_cut_makes_room_for_its_copy():
    clips = [candidate("a", area=50), candidate("b", area=100)]
    for reason, left in ((LASTING, {"a": []}), (PASSING, {"a": [], "b": ["unavailable"]})):
        assert reasons(outcome(clips, pairs=COPIES, answers=Answers(no_cut={"b": reason}))) == left


def test_captions_that_the_dataset_has_of_footage_that_this_run_does_not_name_are_kept():
    row = dict.fromkeys(INDEX.names) | measured("a") | {"caption_short": "old", "shard": "s", "bucket": "b"}
    answers = Answers()
    made = outcome([candidate_from_index(row), candidate("b")], answers=answers)
    assert answers.captioned == ["b"]
    assert {clip.row()["caption_short"] for clip in made.clips} == {"old", "b."}


WHYS = st.sampled_from([LASTING, PASSING])


@st.composite
def cases(draw):
    names = [f"{k:02d}" for k in range(draw(st.integers(1, 8)))]
    some = st.dictionaries(st.sampled_from(names), WHYS, max_size=3)
    clips = [candidate(name, draw(st.integers(1, 4)), draw(st.sampled_from([0.0, 0.1]))) for name in names]
    pairs = draw(
        st.sets(st.tuples(st.sampled_from(names), st.sampled_from(names)).filter(lambda p: p[0] < p[1]))
    )
    answers = {
        "matches": draw(st.dictionaries(st.sampled_from(names), st.sampled_from([0.1, 0.3]))),
        "no_caption": draw(some), "no_cut": draw(some), "per_shard": draw(st.integers(1, 3)),
    }  # fmt: skip
    return clips, [Pair(a, b, "perceptual", 0.98) for a, b in sorted(pairs)], answers


def told(made):
    """Everything that a manifest would say, without an order."""
    rows = sorted(repr(sorted(clip.row().items(), key=lambda item: item[0])) for clip in made.clips)
    return rows, sorted(map(repr, made.quarantined)), made.num_quarantined_only


@settings(deadline=None, max_examples=300)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_clips_and_pairs_changes_nothing(case, random):
    clips, pairs, answers = case
    expected = told(outcome(clips, MATCHED, pairs, Answers(**answers)))
    random.shuffle(clips)
    random.shuffle(pairs)
    assert told(outcome(clips, MATCHED, pairs, Answers(**answers))) == expected


@settings(deadline=None, max_examples=300)
@given(cases(), st.data())
def test_what_earlier_runs_kept_and_where_it_lay_changes_no_decision(case, data):
    clips, pairs, answers = case
    expected = outcome(clips, MATCHED, pairs, Answers(**answers))
    lying = [
        replace(clip, stored=ClipLocation(dict.fromkeys(LOCATION_COLUMNS) | {"shard": "old"}, "b"))
        if data.draw(st.booleans())
        else clip
        for clip in clips
    ]
    assert told(outcome(lying, MATCHED, pairs, Answers(**answers))) == told(expected)


@settings(deadline=None, max_examples=300)
@given(cases())
def test_a_run_that_knows_from_the_start_what_can_not_be_cut_comes_to_the_same(case):
    clips, pairs, answers = case
    learnt = outcome(clips, MATCHED, pairs, Answers(**answers))
    bad = {
        one.clip_id: {"reason": one.reason, "message": one.message}
        for one in learnt.quarantined
        if one.stage == "cut" and one.reason == LASTING
    }
    known = outcome(clips, MATCHED, pairs, Answers(**answers), failures=bad)
    assert told(known) == told(learnt)


@settings(deadline=None, max_examples=300)
@given(cases())
def test_nothing_is_captioned_or_matched_twice_and_every_clip_is_accounted_for(case):
    clips, pairs, answers = case
    asked = Answers(**answers)
    made = outcome(clips, MATCHED, pairs, asked)
    assert len(asked.captioned) == len(set(asked.captioned))
    assert len(asked.matched) == len(set(asked.matched))
    left = {clip.decided.clip_id for clip in made.clips}
    out = {one.clip_id for one in made.quarantined} - left
    assert left | out == {clip.clip_id for clip in clips}
    assert made.num_quarantined_only == len(out)
    for clip in made.clips:
        assert clip.kept == bool(clip.stored), "kept clips lie in a shard, and no others"
        copy = clip.decided.copy
        assert copy is None or copy.kept_clip_id in left | out
