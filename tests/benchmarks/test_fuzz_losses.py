"""What is shown of a damaged file: seconds by the dataset and by FFmpeg, and how much of either is as it
was."""

import numpy as np
import pytest

from benchmarks.footage.mutants import Mutant
from benchmarks.footage.mutants.kinds import Base
from benchmarks.measure.fuzz_losses import Comparison, Shown
from benchmarks.measure.plain_decode import decode, shown_by_ffmpeg
from pipelines.media.picture import frames_hash
from tests.support.rendered_sources import plain, vp8

FRAME_S = 0.04


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """36 frames, a keyframe every 12."""
    path = tmp_path_factory.mktemp("sound") / "plain.mkv"
    return plain(path)


def hashes(rows: np.ndarray) -> list[int]:
    return [value + (1 << 63) for value in rows[:, 1].tolist()]


def compare(tmp_path, sound, damaged: bytes, source, clips=(), kind="single_bits"):
    (tmp_path / "bases").mkdir()
    path = tmp_path / "damaged.mkv"
    path.write_bytes(damaged)
    comparison = Comparison([Base("sound.mkv", sound.read_bytes())], tmp_path / "bases")
    return comparison.shown(Mutant(0, kind, "sound.mkv", "damaged", "mkv", damaged), path, source, clips)


def clip(rows, first: int, last: int):
    return {
        "num_frames": last - first,
        "frames_hash": frames_hash(hashes(rows)[first:last]),
        "start_s": first * FRAME_S,
        "end_s": last * FRAME_S,
    }


def test_ffmpeg_shows_every_picture_of_a_sound_file_and_flags_none(sound):
    rows = decode(str(sound))
    np.testing.assert_array_equal(rows[:, 0], np.arange(36) * 40_000)
    assert len(set(rows[:, 1].tolist())) == 36
    assert not rows[:, 2].any()
    np.testing.assert_array_equal(shown_by_ffmpeg(sound), rows)


def test_what_is_no_video_shows_nothing(tmp_path):
    (tmp_path / "text.mkv").write_text("no video")
    assert shown_by_ffmpeg(tmp_path / "text.mkv").shape == (0, 3)


def test_errors_are_passed_over_and_what_is_wrong_is_told_from_what_is_right(tmp_path):
    path = vp8(tmp_path / "whole.webm")
    whole, data = decode(str(path)), bytearray(path.read_bytes())
    at = len(data) * 2 // 5
    data[at : at + 20] = b"\x55" * 20
    path.write_bytes(bytes(data))
    rows = decode(str(path))
    right = np.isin(rows[:, 1], whole[:, 1])
    assert right[:12].all()
    assert right[-12:].all()
    assert 24 <= right.sum() < len(rows) <= len(whole)


def test_ours_is_what_the_dataset_says_is_there(tmp_path, sound):
    rows, data = decode(str(sound)), sound.read_bytes()
    source = {"status": "video", "duration_s": 36 * FRAME_S, "lost_s": 10 * FRAME_S}
    wrong = clip(rows, 20, 30) | {"frames_hash": "another"}
    shown = compare(tmp_path, sound, data, source, [clip(rows, 0, 12), wrong])
    assert shown.ours_s == pytest.approx(26 * FRAME_S)
    assert shown.ours_right_s == pytest.approx(12 * FRAME_S)
    assert shown.ffmpeg_s == shown.ffmpeg_right_s == pytest.approx(36 * FRAME_S)
    assert (shown.flagged_s, shown.share) == (0, pytest.approx(26 / 36))


@pytest.mark.parametrize(
    ("source", "frames"),
    [
        (None, 0),
        ({"status": "quarantined", "duration_s": 1.44}, 0),
        ({"status": "video", "duration_s": 1e9}, 36),
        ({"status": "video", "duration_s": 1e9, "lost_s": None}, 12),
    ],
)
def test_what_is_quarantined_is_not_there_and_wild_times_make_nothing_longer(tmp_path, sound, source, frames):
    rows = decode(str(sound))
    shown = compare(tmp_path, sound, sound.read_bytes(), source, [clip(rows, 12, 24)] if frames else [])
    assert shown.ours_s == pytest.approx(frames * FRAME_S)


def test_only_damage_is_compared(tmp_path, sound):
    assert compare(tmp_path, sound, sound.read_bytes(), None, kind="playlist") is None


def test_shares_are_of_sums():
    both = Shown(1.0, 0.5, 2.0, 1.0, 0.25) + Shown(1.0, 0.5, 0.0, 0.0, 0.0)
    assert (both.share, both.share_of_right, both.flagged_s) == (1.0, 1.0, 0.25)
    assert Shown().share == 1.0
    assert Shown(ours_s=1.0).share == float("inf")
