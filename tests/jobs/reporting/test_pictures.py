"""Pictures of the page: those that reading each clip by itself would show, each source gone through once; a
bad clip has none, alone."""

import numpy as np
import pytest

from jobs.curation.config import CurateConfig
from jobs.reporting.drawing import pictures as module
from jobs.reporting.drawing.pictures import Pictures, picture_width
from pipelines.dataset.reader import Dataset
from pipelines.footage.allowed_footage import allowed_footage
from pipelines.measure import sandboxed
from pipelines.media.decode import decode_frames, frames_at, frames_in_passes
from pipelines.media.read_clock import read_clock
from pipelines.storage.open_store import open_store
from tests.support.footage import pan, write

HEIGHT, WIDTH, FPS = 48, 64, 25
WANTED = ((1, 24), (3, 16))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Six seconds with a keyframe every two."""
    options = {"x264-params": "keyint=50:min-keyint=50:scenecut=0:bframes=2"}
    return write(
        tmp_path_factory.mktemp("rushes") / "a.mp4", pan(1, 150, HEIGHT, WIDTH), FPS, options=options
    )


def rejected(source, first, last):
    """The row of a clip that is frames first … last − 1 of a source."""
    clock = read_clock(source)
    row = {
        "clip_id": f"{first:024x}",
        "video_id": "v",
        "source_uri": str(source),
        "width": WIDTH,
        "height": HEIGHT,
    }
    row |= {"start_pts": int(clock.pts[first]), "start_s": first / FPS, "end_s": last / FPS}
    return row | {"status": "rejected"}


def kept(store, name, data):
    """The row of a clip that is all there is in its shard."""
    store.put_new(f"shards/b/{name}.tar", data)
    row = {
        "clip_id": name,
        "source_uri": "/gone.mp4",
        "width": WIDTH,
        "height": HEIGHT,
        "start_s": 0.0,
        "end_s": 6.0,
    }
    return row | {"status": "kept", "bucket": "b", "shard": name, "offset": 0, "size": len(data)}


def made(tmp_path, source, rows):
    store = open_store(str(tmp_path))
    sizes = {str(source): source.stat().st_size if source.exists() else 0}
    cfg = CurateConfig(footage="", dataset=str(tmp_path))
    pictures = Pictures(Dataset(store, 1, None), cfg, sizes, allowed_footage(str(source.parent)))
    asked = [pictures.get(row, *size) for row in rows for size in WANTED]
    assert asked == [None] * len(asked)
    pictures.decode_requested()
    return {row["clip_id"]: [pictures.get(row, *size) for size in WANTED] for row in rows}


def assert_shown(frames, file, begin_s, length_s):
    for got, (num, height) in zip(frames, WANTED, strict=True):
        times_s = begin_s + sandboxed.interval_midpoints(length_s, num)
        np.testing.assert_array_equal(
            got,
            decode_frames(file, times_s, height, picture_width({"width": WIDTH, "height": HEIGHT}, height)),
        )


def test_each_clip_shows_what_reading_it_alone_shows(tmp_path, source):
    spans = [(0, 10), (12, 40), (45, 55), (101, 150)]
    rows = [rejected(source, *span) for span in reversed(spans)]
    clip = kept(open_store(str(tmp_path)), "k", source.read_bytes())
    shown = made(tmp_path, source, [*rows, clip])
    for row, (first, last) in zip(rows, reversed(spans), strict=True):
        assert_shown(shown[row["clip_id"]], source, first / FPS, (last - first) / FPS)
    assert_shown(shown["k"], source.read_bytes(), 0.0, 6.0)


def test_no_frame_is_decoded_twice_and_what_a_keyframe_lets_pass_over_is_not_decoded(source, monkeypatch):
    from pipelines.media import decode

    clock, decoded = read_clock(source), []
    between = decode.pictures_between

    def noted(source, clock, start_pts, end_pts):
        decoded.append((clock.index_of(clock.keyframe_before(start_pts)), clock.index_of(end_pts)))
        return between(source, clock, start_pts, end_pts)

    monkeypatch.setattr(decode, "pictures_between", noted)
    indices = [3, 30, 49, 52, 140, 149]
    frames = dict(frames_in_passes(source, clock, indices))
    assert decoded == [(0, 50), (50, 53), (100, 150)]
    assert list(frames) == indices
    np.testing.assert_array_equal(np.stack(list(frames.values())), frames_at(source, clock, indices))


def test_a_clip_that_does_not_decode_has_no_picture_and_takes_none_from_its_neighbours(
    tmp_path, source, caplog
):
    data = bytearray(source.read_bytes())
    end = data.index(b"mdat") + 60
    torn = source.with_name("torn.mp4")
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    torn.write_bytes(data)
    rows = [rejected(torn, 0, 10), rejected(torn, 60, 90), rejected(torn, 110, 150)]
    store = open_store(str(tmp_path))
    bad, good = kept(store, "bad", bytes(source.read_bytes()[:end])), kept(store, "good", source.read_bytes())
    shown = made(tmp_path, torn, [*rows, bad, good])
    without = {clip_id for clip_id, frames in shown.items() if any(frame is None for frame in frames)}
    assert without == {rows[1]["clip_id"], "bad"}
    assert {
        message.split()[4] for message in caplog.messages if message.startswith("no picture of clip")
    } == without


def test_footage_that_is_gone_or_changed_has_no_pictures(tmp_path, source, caplog):
    row = rejected(source, 0, 10)
    gone = row | {"source_uri": str(source.with_name("gone.mp4"))}
    assert made(tmp_path, source.with_name("gone.mp4"), [gone])[row["clip_id"]] == [None, None]
    pictures = Pictures(
        Dataset(open_store(str(tmp_path)), 1, None),
        CurateConfig(footage="", dataset="d"),
        {str(source): 7},
        allowed_footage(str(source)),
    )
    pictures.get(row, 1, 24)
    pictures.decode_requested()
    assert pictures.get(row, 1, 24) is None
    assert "the file has changed since it was curated" in caplog.text


def test_whatever_a_child_that_was_taken_over_gives_back_is_pictures_or_nothing(
    tmp_path, source, monkeypatch, caplog
):
    for answer in (np.zeros(7, np.uint8), np.zeros((2, 2)), np.array(["x"])):
        monkeypatch.setattr(module.child, "call", lambda *args, answer=answer, **how: answer)
        clip = kept(open_store(str(tmp_path)), f"k{answer.size}", b"")
        assert made(tmp_path, source, [clip])[clip["clip_id"]] == [None, None]
    assert "something else than pictures" in caplog.text
