"""Bars are found to the pixel, whatever black they are and whatever is written in them; a dark scene is no
bar."""

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.scores import bars
from pipelines.scores.base import ClipMeasurements, NativeFrame, Rectangle
from pipelines.scores.config import ScoreConfig
from tests.support.footage import texture, write

HEIGHT, WIDTH = 180, 320
WHOLE = Rectangle(0, 0, WIDTH, HEIGHT)


def barred(left=0, top=0, right=0, bottom=0, black=0, seed=1, gain=1.0, noise=0.0):
    """A texture with bars of these widths; uint8 (180, 320, 3)."""
    rng = np.random.default_rng(seed)
    frame = np.full((HEIGHT, WIDTH, 3), float(black))
    height, width = HEIGHT - top - bottom, WIDTH - left - right
    frame[top : top + height, left : left + width] = (
        black + 8 + texture(seed, height, width) * gain * (247 - black) / 255
    )
    frame += rng.normal(0, noise, (HEIGHT, WIDTH, 1))
    return np.clip(frame, 0, 255).astype(np.uint8)


def rows_of(*frames):
    look = bars.METER.load(ScoreConfig(), "fp32")
    rows = [
        {"pts": k} | look(NativeFrame(av.VideoFrame.from_ndarray(f, format="rgb24")))
        for k, f in enumerate(frames)
    ]
    return {"bars": pa.Table.from_pylist(rows, schema=bars.METER.schema)}


def safe(*frames):
    height, width = frames[0].shape[:2]
    return bars.safe_rectangle(rows_of(*frames), width, height)


def between(left, top, right, bottom):
    return Rectangle(left, top, WIDTH - left - right, HEIGHT - top - bottom)


_NARROW = st.integers(0, 40).map(lambda width: 0 if width < 3 else width)


@settings(max_examples=40, deadline=None)
@given(
    widths=st.tuples(_NARROW, _NARROW, _NARROW, _NARROW),
    black=st.sampled_from((0, 3, 16, 24)),
    noise=st.sampled_from((0.0, 0.7, 1.5)),
    seed=st.integers(0, 99),
)
def test_bars_of_any_width_and_black_are_found_to_the_pixel(widths, black, noise, seed):
    found = safe(barred(*widths, black=black, noise=noise, seed=seed))
    true = between(*widths)
    for axis in ("x", "y"):
        assert getattr(found, axis) == pytest.approx(getattr(true, axis), abs=1)
    for side in ("width", "height"):
        assert getattr(found, side) == pytest.approx(getattr(true, side), abs=2)


def test_bars_that_scaling_softened_end_within_two_pixels():
    for factor in (1.3, 2.0, 2.7):
        frame = cv2.resize(barred(0, 24, 0, 20), None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        found = safe(frame)
        assert found.y == pytest.approx(24 * factor, abs=2)
        assert found.y + found.height == pytest.approx((HEIGHT - 20) * factor, abs=2)


@pytest.mark.parametrize(
    ("codec", "suffix", "options"),
    [
        ("libx264", "mp4", {"crf": "36"}),
        ("mpeg2video", "mpg", {"qmin": "12", "qmax": "12"}),
        ("libx265", "mp4", {"crf": "36", "preset": "ultrafast", "x265-params": "log-level=none:pools=none"}),
    ],
)
def test_what_compression_lets_ring_in_a_bar_is_no_picture(tmp_path, codec, suffix, options):
    frames = np.stack([barred(30, 0, 31, 0)] * 4)
    path = write(tmp_path / f"rings.{suffix}", frames, codec=codec, options=options)
    with av.open(str(path)) as container:
        found = safe(*(picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)))
    assert (found.y, found.height) == (0, HEIGHT)
    assert found.x == pytest.approx(30, abs=2)
    assert found.x + found.width == pytest.approx(WIDTH - 31, abs=2)


@pytest.mark.parametrize("gain", [0.06, 0.15, 0.4])
def test_a_night_scene_between_bars_keeps_its_edges(gain):
    assert safe(*(barred(0, 22, 0, 22, gain=gain, seed=k) for k in range(3))) == between(0, 22, 0, 22)


def test_a_scene_that_darkens_towards_its_edges_has_no_bars():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    vignette = np.clip(1.3 - np.hypot((x - WIDTH / 2) / (WIDTH / 2), (y - HEIGHT / 2) / (HEIGHT / 2)), 0, 1)
    dusk = np.clip((y - 60) / 120, 0, 1)
    for light in (vignette, dusk):
        assert safe((texture(3, HEIGHT, WIDTH) * light[..., None]).astype(np.uint8)) == WHOLE


def test_a_skyline_against_the_night_is_no_edge():
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rng = np.random.default_rng(5)
    for x in range(0, WIDTH, 16):
        roof = int(rng.integers(50, 150))
        frame[roof:, x : x + 16] = texture(x, HEIGHT - roof, 16) // 2 + 60
    assert safe(frame) == WHOLE


def test_a_title_on_black_is_no_picture_between_bars():
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    cv2.putText(frame, "THE END", (70, 100), cv2.FONT_HERSHEY_DUPLEX, 1.2, (255, 255, 255), 2, cv2.LINE_AA)
    assert safe(frame) == WHOLE


def test_a_subtitle_and_a_logo_in_a_bar_leave_it_a_bar():
    frames = [barred(0, 36, 0, 36, seed=k) for k in range(3)]
    for frame in frames[1:]:
        cv2.putText(
            frame, "nobody knew", (60, 168), cv2.FONT_HERSHEY_DUPLEX, 0.7, (240, 240, 240), 1, cv2.LINE_AA
        )
        cv2.putText(frame, "TV1", (270, 22), cv2.FONT_HERSHEY_DUPLEX, 0.5, (200, 200, 255), 1, cv2.LINE_AA)
    assert safe(*frames) == safe(*frames[1:]) == between(0, 36, 0, 36)


def test_frames_that_say_nothing_change_nothing():
    black, plain = np.zeros((HEIGHT, WIDTH, 3), np.uint8), barred(20, 0, 20, 0)
    dark_side = plain.copy()
    dark_side[:, :150] = 0  # somebody stands before the lens
    for frames in ((black, plain), (plain, black), (dark_side, plain), (plain, dark_side, black)):
        assert safe(*frames) == between(20, 0, 20, 0)


def test_a_bar_is_there_in_every_frame():
    assert safe(barred(0, 20, 0, 20), barred()) == WHOLE
    assert safe(barred(0, 30, 0, 30), barred(0, 30, 0, 0, seed=2)) == between(0, 30, 0, 0)


def test_a_dark_wall_whose_light_changes_is_no_bar():
    frames = [barred(), barred(seed=2)]
    for frame, luma in zip(frames, (9, 3), strict=True):
        frame[:, :60] = luma
    assert safe(frames[0]) == safe(frames[1]) == between(60, 0, 0, 0)  # one frame can't tell
    assert safe(*frames) == WHOLE


def test_a_black_clip_and_an_unmeasured_one_are_whole():
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert safe(black, black) == WHOLE
    assert bars.safe_rectangle({}, WIDTH, HEIGHT) == WHOLE
    assert bars.safe_rectangle(rows_of(), WIDTH, HEIGHT) == WHOLE


def test_odd_and_tiny_frames_are_looked_at():
    for height, width in ((1, 1), (2, 3), (17, 31), (5, 400)):
        whole = Rectangle(0, 0, width, height)
        assert safe(np.full((height, width, 3), 90, np.uint8)) == whole
        assert safe(np.zeros((height, width, 3), np.uint8)) == whole


def test_the_share_is_the_safe_rectangles_area():
    def share(rows, safe):
        return bars.SCORES["safe_share"].compute(
            ClipMeasurements({}, rows, WIDTH, HEIGHT, safe, 1.0, ScoreConfig(), np.ones(1))
        )

    assert share(rows_of(barred()), Rectangle(0, 45, WIDTH, 90)) == 0.5
    assert share({}, WHOLE) is None
