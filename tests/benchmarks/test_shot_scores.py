"""Purity, coverage and recall are what the benchmark says they are."""

import pytest

from benchmarks.footage.composites import Composite, Event, Join, Look, Part, Truth, truth_of
from benchmarks.footage.takes import Take
from benchmarks.measure.shot_scores import Tally

# A hard cut before frame 100, a dissolve of frames 200 … 219, a flash that is no cut.
TRUTH = Truth(
    shots=[(0, 100), (100, 200), (220, 320)],
    transitions=[Event("hard", 100, 100), Event("dissolve", 200, 220)],
    distractors=[Event("flash", 150, 153)],
)


def tally(*clips):
    counted = Tally()
    counted.add(clips, TRUTH, least=25)
    return counted


def test_the_truth_itself_is_perfect():
    perfect = tally((0, 100), (100, 200), (220, 320))
    assert (perfect.purity, perfect.coverage, perfect.spurious) == (1.0, 1.0, 0)
    assert [perfect.recall(kind) for kind in ("hard", "dissolve", "flash")] == [1.0, 1.0, 0.0]


def test_two_frames_of_a_gradual_transition_are_forgiven_and_no_more():
    assert tally((0, 100), (100, 202), (218, 320)).purity == 1.0
    assert tally((0, 100), (100, 203), (220, 320)).purity == pytest.approx(2 / 3)
    assert tally((0, 101), (101, 200), (220, 320)).purity == pytest.approx(2 / 3)


def test_a_missed_cut_spoils_both_shots():
    missed = tally((0, 200), (220, 320))
    assert (missed.purity, missed.coverage) == (0.5, pytest.approx(1 / 3))
    assert missed.recall("hard") == 0.0


def test_what_a_flash_cuts_off_counts_only_if_it_lasts_a_second():
    cut = tally((0, 100), (100, 151), (151, 160), (160, 200), (220, 320))
    assert cut.recall("flash") == 1.0
    assert cut.purity == 1.0
    assert cut.coverage == pytest.approx(291 / 300)


def test_a_cut_where_nothing_is_is_counted():
    assert tally((0, 100), (100, 120), (120, 200), (220, 320)).spurious == 1


def test_the_truth_of_a_composite_places_its_parts_one_after_the_other():
    def part(frames, distractor=None):
        take = Take(path=None, first=0, last=50)
        return Part(take, frames, 0, False, 1.0, (0.5, 0.5), "static", (0.0, 0.0), distractor, 0)

    parts = [part(50), part(60, Event("whip", 20, 30)), part(70), part(40)]
    joins = [Join("hard"), Join("dissolve", 10), Join("fade", 5, 2, 8)]
    truth = truth_of(Composite(Look(25, "h264", 1.0, 0.0, ""), parts, joins))
    assert truth.shots == [(0, 50), (50, 110), (120, 190), (205, 245)]
    assert truth.transitions == [Event("hard", 50, 50), Event("dissolve", 110, 120), Event("fade", 190, 205)]
    assert truth.distractors == [Event("whip", 70, 80)]
