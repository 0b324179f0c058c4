"""Funnel, gaps, copies and the clips around a cut-off, from an index."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.reporting.copies import copies_view
from jobs.reporting.cutoffs import apart, cutoffs, nearest
from jobs.reporting.drawing.thumbs import Thumb
from jobs.reporting.funnel import funnel
from jobs.reporting.gallery import as_text
from jobs.reporting.gaps import UNKNOWN_REASON, gaps, models
from jobs.reporting.scores import scores_view
from pipelines.scores.registry import SCORES
from tests.jobs.reporting.synthetic import RECIPE, clips_of, page_of, rows


class Glances:
    """Thumbs without pictures."""

    def get(self, row):
        return Thumb(row["clip_id"], "", "", row["status"], "", None)


@settings(deadline=None)
@given(
    st.lists(st.floats(-10, 10).map(lambda v: round(v, 1)) | st.just(float("nan")), max_size=40),
    st.floats(-10, 10).map(lambda v: round(v, 1)),
    st.sampled_from(["min", "max"]),
)
def test_the_nearest_clips_of_a_bound_lie_on_the_side_that_the_rule_puts_them(values, bound, side):
    values = np.array(values, float)
    below, above = nearest(values, side, bound, each=3)
    refused = ~(values >= bound) if side == "min" else ~(values <= bound)
    beyond = below if side == "min" else above
    assert all(refused[k] == (k in beyond) for k in (*below, *above))
    assert values[below].tolist() == sorted(values[below].tolist())
    assert values[above].tolist() == sorted(values[above].tolist())
    for chosen, left in ((below, values < bound), (above, values > bound)):
        others = np.setdiff1d(np.flatnonzero(left), chosen)
        assert len(chosen) <= 3
        if len(others):
            assert len(chosen) == 3
            assert abs(values[others] - bound).min() >= abs(values[chosen] - bound).max()


def test_a_value_next_to_a_bound_is_written_with_the_digits_that_tell_them_apart():
    assert [apart(v, 2.0) for v in (1.5, 2.0, 1.99987, 1.9999999999, 2.004)] == [
        "1.5",
        "2",
        "1.9999",
        "1.9999999999",
        "2.004",
    ]


def test_each_bound_of_the_recipe_shows_the_clips_around_it():
    clips = clips_of(rows(300, 1))
    found = cutoffs(clips, RECIPE, Glances())
    assert {score: [c.side for c in around] for score, around in found.items()} == {
        "duration_s": ["min", "max"],
        "luma_mean": ["min", "max"],
        "motion_mean": ["min"],
        "sharpness": ["min"],
        "text_match": ["min"],
    }
    for around in found.values():
        for cutoff in around:
            assert (len(cutoff.below), len(cutoff.above)) == (4, 4)
            refused = cutoff.below if cutoff.side == "min" else cutoff.above
            assert all(near.thumb.status == "rejected" for near in refused)


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_the_funnel_loses_every_clip_once(seed):
    found = rows(80, seed)
    lost = [{"clip_id": "f" * 24, "reason": "crashed"}, {"clip_id": None, "reason": "unreadable"}]
    sources = [
        {"status": "video", "duration_s": 30.0 * 80 + 100},
        {"status": "quarantined", "duration_s": None},
        {"status": "ignored", "duration_s": None},
    ]
    stages = funnel(clips_of(found), sources, lost)
    assert [stage.name for stage in stages] == ["sources", "videos", "clips", "kept"]
    for stage in stages:
        assert abs(sum(part.share for part in stage.parts) - 100) < 0.1
    counted = {part.name: int(part.amount) for part in stages[2].parts}
    assert sum(counted.values()) == 81
    assert counted.get("kept", 0) == sum(row["status"] == "kept" for row in found)
    assert counted.get("copies of a better clip", 0) == sum(
        row["reject_reasons"] == ["duplicate"] for row in found
    )
    assert counted.get("several reasons", 0) == sum(len(row["reject_reasons"]) > 1 for row in found)
    assert counted["quarantined: crashed"] == 1
    assert "quarantined: unreadable" in {part.name for part in stages[0].parts}


def test_what_is_null_says_why_for_how_many_clips():
    found = rows(200, 2)
    without = [row for row in found if row["sharpness"] is None]
    without[0]["score_gaps"] = None
    for row in found:
        row["score_models"] = [{"source": SCORES["sharpness"].source, "model": "quality v1"}]
    found[0]["score_models"] = [{"source": SCORES["sharpness"].source, "model": "quality v0"}]
    clips = clips_of(found)
    assert gaps(clips) == {"sharpness": [("too short", len(without) - 1)]}
    assert models(clips) == {SCORES["sharpness"].source: [("quality v1", 199), ("quality v0", 1)]}
    view = scores_view(clips, RECIPE)
    card = next(card for card in view.bounded if card.key == "sharpness")
    assert card.gaps == [("too short", len(without) - 1), (UNKNOWN_REASON, 1)]
    assert card.by == ["quality v1", "quality v0"]
    assert ("luma std", [(UNKNOWN_REASON, 200)]) in [(score.name, score.gaps) for score in view.unmeasured]


def test_copies_stand_beside_the_best_one_the_most_similar_first():
    found = rows(400, 6)
    copies = [row for row in found if row["duplicate_of"]]
    best = copies[0]["duplicate_of"]
    copies[3].update(duplicate_kind="exact", duplicate_similarity=1.0)
    view = copies_view(clips_of(found), Glances())
    (group,) = view.groups
    assert (group.best_id, group.best.status, group.all_copies) == (best, "kept", len(copies))
    assert (group.copies[0].thumb.clip_id, group.copies[0].kind) == (copies[3]["clip_id"], "exact")
    assert view.kinds == [("perceptual", len(copies) - 1), ("exact", 1)]


def test_values_of_any_kind_are_words():
    assert as_text(None) == "–"
    assert as_text(0.12345) == "0.123"
    assert as_text("<b>") == "<b>"
    assert as_text([]) == "none"
    assert as_text(list(range(15))).endswith("10; 11; and 3 more")
    assert as_text(["cat", "dog"]) == "cat; dog"
    assert (
        as_text([{"tag": "cat", "share": 0.5}, {"tag": "dog", "share": None}])
        == "tag cat, share 0.5; tag dog"
    )


def test_what_the_index_says_is_text_on_the_page():
    found = rows(40, 3)
    hostile = "<script>alert(1)</script>\" onload='x"
    for row in found:
        row["camera"] = hostile
        row["score_gaps"] = [{"score": name, "why": hostile} for name in ("sharpness", "luma_std")]
        row["score_models"] = [{"source": SCORES["luma_mean"].source, "model": hostile}]
    page = page_of(found)
    assert page.count("<script>") == 1
    assert hostile not in page
    assert page.count("&lt;script&gt;alert(1)") >= 4
