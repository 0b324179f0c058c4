"""Text is found where it was written, is read, and is not seen in texture; its networks survive a fork."""

import os
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest

from pipelines.measure.config import SignalConfig
from pipelines.measure.measure import Measurements, preload
from pipelines.sandbox.answers import Limits
from pipelines.sandbox.child import call
from pipelines.scores import text
from pipelines.scores.base import ClipMeasurements, Rectangle
from pipelines.scores.config import ScoreConfig
from pipelines.scores.registry import METERS, load_meters, missing
from pipelines.shots.config import ShotConfig
from tests.support.footage import real_clips, texture

LIMITS = Limits(deadline_s=60, memory_bytes=2 * 1024**3)
BOX_KEYS = {"x", "y", "width", "height", "text", "confidence"}


class Frame:
    """What a meter sees of a frame, from pixels."""

    def __init__(self, rgb):
        self.rgb = rgb
        self.gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


@pytest.fixture(scope="module")
def look():
    return load_meters(ScoreConfig(), ("text",), "fp32")["text"]


def captioned(line, at, scale=1.5, picture=None):
    """A picture with a line on it, and the bounds of its ink: x, y, width, height."""
    picture = texture(1, 360, 640) if picture is None else picture.copy()
    ink = np.zeros(picture.shape[:2], np.uint8)
    cv2.putText(ink, line, at, cv2.FONT_HERSHEY_DUPLEX, scale, 255, 3, cv2.LINE_AA)
    edge = cv2.dilate(ink, np.ones((5, 5), np.uint8))
    picture[edge > 0] = 0
    picture[ink > 127] = 255
    return picture, cv2.boundingRect(edge)


def clip_of(*rows):
    table = pa.Table.from_pylist([{"pts": k} | row for k, row in enumerate(rows)], schema=text.METER.schema)
    return ClipMeasurements(
        {}, {"text": table}, 640, 360, Rectangle(0, 0, 640, 360), 1.0, ScoreConfig(), np.ones(1)
    )


def test_a_caption_is_read_where_it_stands(look):
    picture, (x, y, width, height) = captioned("Rushes at dawn", (60, 300))
    row = look(Frame(picture))
    assert [box["text"].replace(" ", "") for box in row["boxes"]] == ["Rushesatdawn"]
    (box,) = row["boxes"]
    assert set(box) == BOX_KEYS
    for found, true in ((box["x"], x), (box["y"], y), (box["width"], width), (box["height"], height)):
        assert abs(found - true) <= 0.35 * height
    assert row["area"] == pytest.approx(width * height / picture[..., 0].size, abs=0.02)


def test_the_same_caption_in_a_larger_frame_has_the_same_share(look):
    picture, _ = captioned("Rushes at dawn", (60, 300))
    large = cv2.resize(picture, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    small, big = look(Frame(picture)), look(Frame(large))
    assert big["area"] == pytest.approx(small["area"], abs=0.01)
    assert big["boxes"][0]["width"] == pytest.approx(3 * small["boxes"][0]["width"], rel=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_texture_is_no_text(look, seed):
    noise = np.random.default_rng(seed).integers(0, 256, (200, 320, 3), np.uint8)
    for picture in (texture(seed, 240, 424), noise, np.zeros((64, 64, 3), np.uint8)):
        assert look(Frame(picture)) == {"area": 0.0, "boxes": []}


def test_a_wheel_is_no_letter(look):
    picture = np.full((240, 424, 3), 30, np.uint8)
    cv2.circle(picture, (210, 120), 70, (250, 250, 250), 14, cv2.LINE_AA)
    assert look(Frame(picture))["boxes"] == []


def test_a_frame_smaller_than_the_networks_like_is_looked_at(look):
    assert look(Frame(np.zeros((2, 2, 3), np.uint8)))["area"] == 0.0
    assert look(Frame(np.zeros((16, 900, 3), np.uint8)))["area"] == 0.0


def test_lines_come_in_the_order_in_which_they_are_read(look):
    picture, _ = captioned("below", (40, 320), 1.2)
    picture, _ = captioned("right", (420, 92), 1.2, picture)
    picture, _ = captioned("left", (40, 100), 1.2, picture)
    assert [box["text"] for box in look(Frame(picture))["boxes"]] == ["left", "right", "below"]


def test_a_clip_has_the_mean_area_and_every_line_once():
    def row(area, *lines):
        boxes = [{"x": 0, "y": 0, "width": 9, "height": 9, "text": line, "confidence": 1.0} for line in lines]
        return {"area": area, "boxes": boxes}

    clip = clip_of(row(0.1, "GOAL", "1:0"), row(0.0), row(0.2, "GOAL", "2:0", "89'"))
    scores = {name: score.compute(clip) for name, score in text.SCORES.items()}
    assert scores["text_area"] == pytest.approx(0.1)
    assert scores["text_count"] == pytest.approx(5 / 3)
    assert scores["text"] == "GOAL\n1:0\n2:0\n89'"
    assert [box["text"] for box in scores["text_boxes"]] == ["GOAL", "2:0", "89'"]


def test_no_text_is_an_answer_and_no_frame_is_none():
    nothing = {
        name: score.compute(clip_of({"area": 0.0, "boxes": []})) for name, score in text.SCORES.items()
    }
    assert nothing == {"text_area": 0.0, "text_count": 0.0, "text_boxes": [], "text": ""}
    assert {score.compute(clip_of()) for score in text.SCORES.values()} == {None}


def test_switched_off_it_says_which_key_to_set():
    assert missing("text_area", ScoreConfig(text=False)) == "switched off; set scores.text=true"
    assert missing("text", ScoreConfig()) is None


def test_its_columns_follow_the_weights():
    settings = text.METER.settings(ScoreConfig(), "fp32")
    assert len(settings) == 5
    assert all(len(part) == 64 for part in settings[3:])
    assert not text.SCORES["text"].is_label


def look_in_a_fork():
    """Rows of a frame by both networks, and how many threads this process has, and the one it was forked
    from."""
    path = real_clips()["carphone_pristine.mp4"]
    with av.open(str(path)) as container:
        rgb = next(container.decode(video=0)).to_ndarray(format="rgb24")
    rows = {
        name: look(Frame(rgb)) for name, look in load_meters(ScoreConfig(), ("text", "nsfw"), "fp32").items()
    }
    return {"rows": rows, "threads": [threads_of(os.getppid()), threads_of(os.getpid())]}


def threads_of(process):
    """Without the one in which Arrow's allocator tidies up, which is prepared for forks."""
    names = [path.read_text().strip() for path in Path(f"/proc/{process}/task").glob("*/comm")]
    return len([name for name in names if name != "jemalloc_bg_thd"])


def test_networks_loaded_before_a_fork_work_in_it_and_start_no_thread(confined_without):
    confined_without("landlock", "namespaces")  # it has to look at /proc
    loads = preload(
        Measurements(SignalConfig(), ShotConfig(detector="content"), ScoreConfig(), ("text", "nsfw"), "fp32")
    )
    forked = [call(look_in_a_fork, limits=LIMITS, preload=loads) for _ in range(2)]
    assert forked[0]["threads"] == [1, 1]
    assert forked[0] == forked[1]
    assert forked[0]["rows"] == look_in_a_fork()["rows"]
    assert set(METERS["nsfw"].schema.names) == {"pts", "nsfw", "what"}
