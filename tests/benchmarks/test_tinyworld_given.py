"""What is measured of given frames is what can be worked out by hand."""

import json

import numpy as np
import pytest

from benchmarks import tinyworld
from benchmarks.footage.tinyworld_footage import World
from benchmarks.footage.tinyworld_given import CONDITIONS, Condition, gap_db, psnr_db, step_ratio
from benchmarks.measure.tinyworld_sheet import Row, sheet


def ramp(levels):
    """A video whose frames are each of one level."""
    return np.array(levels, np.uint8)[:, None, None, None].repeat(4, 1).repeat(4, 2).repeat(3, 3)


def test_decibels_by_hand():
    assert psnr_db(ramp([10, 20]), ramp([10, 30])) == pytest.approx(10 * np.log10(255**2 / 50))
    with pytest.raises(ValueError, match="can't be compared"):
        psnr_db(ramp([10]), ramp([10, 20]))


def test_twice_the_error_is_six_decibels_and_only_given_frames_count():
    truth, reference, made = ramp([100] * 9), ramp([104] * 9), ramp([200] * 4 + [108] * 5)
    (tail,) = Condition(tail=5).ends(9)
    assert gap_db([truth], [reference], [made], tail) == pytest.approx(20 * np.log10(2))
    assert gap_db([truth], [reference], [reference], tail) == 0


def test_what_is_given_are_the_first_and_the_last_frames_at_their_times():
    truth = ramp(range(17))
    head, tail = CONDITIONS["both ends"].given(truth, 12)
    assert (head.frames_THWC[:, 0, 0, 0].tolist(), head.start_s) == ([0], 0.0)
    assert (tail.frames_THWC[:, 0, 0, 0].tolist(), tail.start_s) == ([12, 13, 14, 15, 16], 1.0)
    assert CONDITIONS["both ends"].seams(17) == [0, 11]
    assert CONDITIONS["first frame"].seams(17) == [0]
    assert CONDITIONS["last frames"].seams(17) == [11]


def test_an_even_motion_has_no_seam_and_a_jump_has_one():
    both = Condition(head=1, tail=5)
    even = ramp(range(0, 170, 10))
    assert step_ratio([even], both, 0) == step_ratio([even], both, 11) == 1
    jump = even.copy()
    jump[1:] += 20
    assert step_ratio([jump], both, 0) == 3
    assert step_ratio([jump], both, 11) == 1
    late = even.copy()
    late[12:] += 10
    assert step_ratio([late], both, 11) == 2
    assert step_ratio([jump], Condition(head=1), 0) == 3


def test_a_sheet_shows_every_second_frame_and_marks_those_given():
    frames = np.full((17, 64, 64, 3), 30, np.uint8)
    plain, marked = sheet([Row(("a red circle", "made"), frames)]), sheet([Row((), frames, [slice(0, 1)])])
    assert sheet([Row((), frames)] * 3).shape == (3 * plain.shape[0], *plain.shape[1:])
    assert (plain == 30).all(axis=2).sum() >= 9 * 128 * 128
    assert not (plain == (30, 110, 230)).all(axis=2).any()
    assert (marked == (30, 110, 230)).all(axis=2).any()


def test_a_folder_keeps_what_is_made_and_its_time(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(tinyworld.subprocess, "run", lambda command, check: ran.append(command[3]))
    monkeypatch.setattr(tinyworld, "write_footage", lambda *_: ran.append("footage"))
    make = lambda again="", clips=2: tinyworld.make(tmp_path, World(), 0, clips, again)  # noqa: E731
    first = make()
    assert ran == list(first) == ["footage", "curate", "train_vae", "encode", "train"]
    assert make() == first
    assert len(ran) == 5
    (tmp_path / "dit").mkdir()
    assert list(make(again="encode")) == list(first)
    assert ran[5:] == ["encode", "train"]
    assert not (tmp_path / "dit").exists()
    assert json.loads((tmp_path / "minutes.json").read_text())["minutes"].keys() == first.keys()
    with pytest.raises(ValueError, match="give another folder"):
        make(clips=3)
    with pytest.raises(ValueError, match="again=trian is not a stage; known: footage, curate"):
        make(again="trian")
