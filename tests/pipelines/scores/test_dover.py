"""DOVER is shown the frames and fragments it was made for, and its technical output is the score."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import MediaError, Reason
from pipelines.media.config import FootageConfig
from pipelines.media.decode import frames_at
from pipelines.media.read_clock import read_clock
from pipelines.sandbox import child
from pipelines.sandbox.answers import Limits
from pipelines.scores import dover
from pipelines.scores.config import ScoreConfig
from pipelines.scores.registry import check, get_score, missing
from tests.support.footage import texture, write
from tests.support.tiny_models import dover_weights, tiny_dover

LIMITS = Limits(60, 2 * 1024**3)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_dover(tmp_path_factory.mktemp("dover") / "tiny.onnx")


def test_windows_are_every_second_frame_from_the_middle_of_equal_parts():
    aesthetic, first, second, third = dover.view_frame_indices(600)
    assert first.tolist() == list(range(68, 132, 2))  # 200 frames less 64, half of the rest before
    assert (second - first == 200).all()
    assert (third - second == 200).all()
    assert (np.diff(aesthetic) >= 18).all()
    assert aesthetic[0] == 8  # the middle of 18 frames less 2
    assert len(dover.view_frame_indices(600, windows=4)) == 5


@given(num_frames=st.integers(1, 5000), windows=st.integers(1, 6))
def test_only_frames_of_the_clip_are_picked_and_a_short_one_is_begun_again(num_frames, windows):
    plan = dover.view_frame_indices(num_frames, windows)
    assert plan.shape == (1 + windows, dover.FRAMES)
    assert plan.min() >= 0
    assert plan.max() < num_frames
    assert (np.diff(plan[0]) >= 0).all() or num_frames < 3
    assert ((np.diff(plan[1:], axis=1) - 2) % num_frames == 0).all()


@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (360, 640), (224, 224), (1000, 225)])
def test_fragments_are_pixels_as_they_are_from_the_middle_of_each_cell(height, width):
    rows, columns = np.mgrid[:height, :width]
    frame = np.stack([rows // 8, columns // 8, (rows + columns) % 256], axis=-1).astype(np.uint8)
    shown = dover.fragments(frame)
    assert shown.shape == (224, 224, 3)
    for i in range(7):
        for j in range(7):
            top, left = height // 7 * i + (height // 7 - 32) // 2, width // 7 * j + (width // 7 - 32) // 2
            cell = shown[32 * i : 32 * i + 32, 32 * j : 32 * j + 32]
            assert (cell == frame[top : top + 32, left : left + 32]).all()


def test_a_small_frame_is_enlarged_until_fragments_cover_it():
    small = texture(1, 112, 200)
    shown = dover.fragments(small)
    assert shown.shape == (224, 224, 3)
    assert np.abs(shown[-32:, -32:].mean((0, 1)) - small[-17:, -22:-4].mean((0, 1))).max() < 12


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Frames that can be told apart, with B-frames and few keyframes."""
    frames = np.stack([texture(k % 9, 256, 256) // 2 + k for k in range(90)])
    return write(tmp_path_factory.mktemp("video") / "clip.mp4", frames, options={"g": "40", "bf": "2"})


def test_views_of_a_clip_come_out_of_the_child_and_hold_its_frames(video):
    clock = read_clock(video, FootageConfig())
    start, num_frames = 10, 70
    shown = child.call(dover.views, video, clock, int(clock.pts[start]), num_frames, 2, limits=LIMITS)
    plan = dover.view_frame_indices(num_frames, 2)
    assert shown.shape == (3, 32, 224, 224, 3)
    for view, position in ((0, 0), (0, 31), (1, 0), (1, 7), (2, 31)):
        (frame,) = frames_at(video, clock, [start + int(plan[view, position])])
        expected = dover.fragments(frame) if view else dover.resized(frame)
        assert (shown[view, position] == expected).all(), (view, position)


def test_a_clip_whose_frames_are_not_there_is_truncated():
    plan = dover.view_frame_indices(40)
    frames = ((int(k), texture(0, 240, 240)) for k in np.unique(plan)[:-2])
    with pytest.raises(MediaError, match="2 frames") as raised:
        dover.assemble_views(frames, plan)
    assert raised.value.reason is Reason.TRUNCATED


def test_the_score_is_the_technical_output_of_normalised_views(path):
    shown = np.random.default_rng(3).integers(0, 256, (4, 32, 224, 224, 3), np.uint8)
    network = dover.Dover(path)
    weights = dover_weights()
    pixels = (shown[1:] - np.array([123.675, 116.28, 103.53])) / np.array([58.395, 57.12, 57.375])
    weighted = pixels * weights["places"][0, :, 0].transpose(1, 2, 0) * weights["times"].reshape(32, 1, 1, 1)
    assert network.windows == 3
    assert network.score(shown) == pytest.approx(weighted.mean(), abs=1e-6)
    assert network.score(shown) == network.score(shown)


def test_it_takes_as_many_windows_as_the_file_was_written_for(path, tmp_path):
    assert dover.Dover(tiny_dover(tmp_path / "four.onnx", windows=4)).windows == 4
    free = dover.Dover(tiny_dover(tmp_path / "free.onnx", windows=None))
    assert free.windows == dover.WINDOWS
    shown = np.random.default_rng(4).integers(0, 256, (4, 32, 224, 224, 3), np.uint8)
    assert free.score(shown) == pytest.approx(dover.Dover(path).score(shown), abs=1e-7)


def test_another_network_is_refused(tmp_path):
    with pytest.raises(ValueError, match="gives 1 outputs, DOVER takes aes_view and tech_view and gives 2"):
        dover.Dover(tiny_dover(tmp_path / "half.onnx", outputs=1))


def test_without_its_file_the_score_is_null_and_a_wrong_file_is_refused(path, tmp_path):
    assert get_score("technical").compute is None
    assert missing("technical", ScoreConfig()) == "needs DOVER: set scores.dover to its ONNX file"
    assert missing("technical", ScoreConfig(dover=str(path))) is None
    check(ScoreConfig(dover=str(path)))
    with pytest.raises(ValueError, match="there is no such file"):
        check(ScoreConfig(dover="/nowhere.onnx"))
    (tmp_path / "dover.pth").touch()
    with pytest.raises(ValueError, match=r"convert_to_onnx\.py"):
        check(ScoreConfig(dover=str(tmp_path / "dover.pth")))


def test_the_settings_are_the_weights(path, tmp_path):
    other = tiny_dover(tmp_path / "other.onnx", windows=4)
    same, moved = (
        dover.settings(ScoreConfig(dover=str(p))) for p in (path, tiny_dover(tmp_path / "moved.onnx"))
    )
    assert same == moved != dover.settings(ScoreConfig(dover=str(other)))
