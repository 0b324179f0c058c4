"""What the benchmark of duplicates calls a copy follows from what is shown and when."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from benchmarks.footage.duplicate_footage import GOOD, Shown
from benchmarks.measure.score_duplicates import truth

ORIGINAL = Shown("s", "original", "s", 0.0, 4.0, np.empty((0, 2, 2, 3), np.uint8), Fraction(25), GOOD, "s")


def test_copies_show_the_same_scene_at_the_same_time():
    later = replace(ORIGINAL, name="s_1", kind="time", start_s=1.5)
    ends = replace(ORIGINAL, name="s_2", kind="time", start_s=3.0, end_s=8.0)
    assert truth(ORIGINAL, later) == truth(later, ORIGINAL) == "copy"
    assert truth(later, replace(later, name="s_3", kind="crop")) == "copies"
    assert truth(ORIGINAL, ends) == "grazing"


def test_look_alikes_are_others():
    assert truth(ORIGINAL, replace(ORIGINAL, name="s_later", kind="later", start_s=4.0, end_s=8.0)) == "other"
    assert (
        truth(ORIGINAL, replace(ORIGINAL, name="s_x", kind="other_take", scene="s_x", footage="s_x"))
        == "other"
    )


def test_another_caption_on_the_same_footage_is_neither():
    captioned = replace(ORIGINAL, name="s_c", kind="other_caption", scene="s_c")
    assert truth(ORIGINAL, captioned) == "captions"
    assert truth(replace(captioned, start_s=5.0, end_s=9.0), ORIGINAL) == "other"
