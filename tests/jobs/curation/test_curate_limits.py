"""A file that takes too much is one row: the run goes on, and its neighbours are whole."""

import os

import numpy as np
import pytest

from jobs.curation.analysis import SourceAnalyzer
from jobs.curation.config import CurateConfig
from jobs.curation.fingerprints import fingerprints
from jobs.curation.measure_progress import merge_units
from jobs.upkeep.clear_failures import forget_source
from pipelines.footage.listing import etag, find_footage
from pipelines.ids import video_id
from pipelines.measure import sandboxed
from pipelines.records import Source
from pipelines.sandbox import child
from pipelines.storage.open_store import open_store
from tests.support.footage import pan, write


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """A small film, and one whose every picture takes fifty megabytes."""
    folder = tmp_path_factory.mktemp("limits")
    write(folder / "a.mp4", pan(1, 30, 48, 64))
    write(folder / "b.mp4", np.tile(pan(3, 2, 48, 64), (1, 90, 120, 1)), options={"preset": "ultrafast"})
    write(folder / "c.mp4", pan(2, 30, 48, 64))
    yield folder
    child.stop()


def analyses(footage, dataset, **limits):
    cfg = CurateConfig(footage=str(footage), dataset=str(dataset), precision="fp32")
    for name, value in limits.items():
        setattr(cfg.limits, name, value)
    analyst = SourceAnalyzer(cfg.dataset, cfg, fingerprints(cfg))
    parts = (
        analyst.measure(unit)
        for source in find_footage(cfg.footage, None).sources
        for unit in analyst.split_units(analyst.identify(source))
    )
    return {found.source_uri[-5:]: found for found in merge_units(parts)}, analyst


def test_what_needs_more_memory_than_it_may_have_is_quarantined_and_its_neighbours_finish(footage, tmp_path):
    found, _ = analyses(footage, tmp_path, memory_bytes=256 * 1024**2)
    assert found["b.mp4"].quarantined.reason == "out_of_memory"
    assert not found["b.mp4"].clips
    assert [len(found[name].clips) for name in ("a.mp4", "c.mp4")] == [1, 1]


def test_with_enough_of_it_the_same_file_is_a_clip(footage, tmp_path):
    found, analyst = analyses(footage, tmp_path)
    assert [len(analysis.clips) for analysis in found.values()] == [1, 1, 1]
    again = [analyst.finished(source) for source in find_footage(str(footage), None).sources]
    assert [analysis.clips for analysis in again] == [analysis.clips for analysis in found.values()]
    assert not any(analysis.decoded_s for analysis in again)


def test_a_file_above_the_limit_is_refused_before_a_byte_of_it_is_read(footage, tmp_path):
    cfg = CurateConfig(footage=str(footage), dataset=str(tmp_path), precision="fp32")
    sizes = {source.uri: source.size_bytes for source in find_footage(cfg.footage, None).sources}
    cfg.footage_options.max_bytes = max(sizes.values()) - 1
    analyst = SourceAnalyzer(cfg.dataset, cfg, fingerprints(cfg))
    found = {source.uri[-5:]: analyst.identify(source) for source in find_footage(cfg.footage, None).sources}
    (large,) = (found[uri[-5:]] for uri, size in sizes.items() if size == max(sizes.values()))
    assert large.quarantined.reason == "too_large"
    assert large.quarantined.message.endswith(
        f"are more than footage_options.max_bytes={max(sizes.values()) - 1}"
    )
    assert [analysis.hashed for analysis in found.values()].count(False) == 1
    assert not large.hashed


def test_what_begins_like_no_video_is_refused_before_its_bytes_are_hashed(tmp_path):
    folder = tmp_path / "footage"
    folder.mkdir()
    (folder / "diary.mp4").write_text("dear diary, " * 1000)
    with (folder / "diary.mp4").open("rb+") as file:
        file.truncate(60 * 1024**3)  # to hash so much takes minutes
    write(folder / "z.mp4", pan(2, 30, 48, 64))
    found, analyst = analyses(folder, tmp_path / "dataset")
    diary = found["y.mp4"]
    bad = (diary.quarantined.stage, diary.quarantined.reason, diary.quarantined.message)
    assert bad == ("identify", "unreadable", "the content is text, not video")
    assert (diary.video_id, diary.quarantined.video_id, diary.hashed) == (None, None, False)
    assert found["z.mp4"].hashed
    known = {source.uri[-5:]: analyst.finished(source) for source in find_footage(str(folder), None).sources}
    assert known["y.mp4"].quarantined == diary.quarantined, "and not looked at again"
    assert known["z.mp4"].clips == found["z.mp4"].clips


def test_a_file_that_does_not_end_in_time_is_one_row(tmp_path, monkeypatch):
    monkeypatch.setattr(sandboxed, "_SLOW_BYTES_PER_S", 1e18)  # else what is large may take long
    cfg = CurateConfig(footage=str(tmp_path), dataset=str(tmp_path / "dataset"), precision="fp32")
    cfg.limits.deadline_s = 1.0
    hung, film = tmp_path / "hung.mp4", tmp_path / "film.mp4"
    hung.write_bytes(b"\0\0\0\x10ftypisom")
    os.truncate(hung, 60 * 1024**3)  # to hash so much takes minutes
    write(film, pan(1, 30, 48, 64))
    sources = [Source(str(path), path.stat().st_size, etag(path.stat())) for path in (hung, film)]
    analyst = SourceAnalyzer(cfg.dataset, cfg, fingerprints(cfg))
    stuck = analyst.identify(sources[0])
    assert (stuck.quarantined.stage, stuck.quarantined.reason, stuck.hashed) == (
        "identify",
        "timed_out",
        False,
    )
    cfg.limits.deadline_s = 60.0
    assert analyst.identify(sources[1]).video_id == video_id(film)

    # Once the disk is faster, `rushes requeue` forgets the row, and it is tried again.
    assert analyst.finished(sources[0]).quarantined == stuck.quarantined
    forget_source(sources[0], None, open_store(cfg.dataset), fingerprints(cfg))
    assert analyst.finished(sources[0]) is None


def test_who_is_known_is_not_read_again(footage, tmp_path, monkeypatch):
    cfg = CurateConfig(footage=str(footage), dataset=str(tmp_path), precision="fp32")
    analyst = SourceAnalyzer(cfg.dataset, cfg, fingerprints(cfg))
    (source, *_) = find_footage(cfg.footage, None).sources
    first = analyst.identify(source)
    monkeypatch.setattr(child, "call", None)  # what reads would call it
    again = analyst.identify(source)
    assert (first.hashed, again.hashed, again.video_id) == (True, False, first.video_id)
