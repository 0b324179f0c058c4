"""The law of work units: neither their length, nor how many workers measure them, nor in which order, changes
a shot."""

import os
import random
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from jobs.cluster.config import RayConfig
from jobs.cluster.connect import connect
from jobs.curation.analysis import SourceAnalyzer
from jobs.curation.config import CurateConfig
from jobs.curation.fingerprints import fingerprints
from jobs.curation.graph import Graph
from jobs.curation.measure_progress import merge_units
from pipelines.footage.listing import find_footage
from pipelines.sandbox import child
from tests.support.footage import film, pan, texture, write, zoom

HEIGHT, WIDTH = 64, 96


def dissolve(before: np.ndarray, after: np.ndarray, num_frames: int) -> np.ndarray:
    """The end of one shot over the beginning of the next."""
    share = np.linspace(0, 1, num_frames + 2)[1:-1, None, None, None]
    mixed = before[-num_frames:] * (1 - share) + after[:num_frames] * share
    return np.concatenate([before[:-num_frames], mixed.round().astype(np.uint8), after[num_frames:]])


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """17 s with cuts, a dissolve, a fade and a flash, coded so that seeking is hard: B-frames, open and
    uneven GOPs."""
    shots = [
        pan(1, 90, HEIGHT, WIDTH, 0.7),
        zoom(2, 60, HEIGHT, WIDTH),
        pan(3, 110, HEIGHT, WIDTH, -0.5, 0.3),
    ]
    faded = pan(4, 100, HEIGHT, WIDTH, 0.4)
    faded[-20:] = (faded[-20:] * np.linspace(1, 0, 20)[:, None, None, None]).astype(np.uint8)
    flash = np.repeat(texture(5, HEIGHT, WIDTH)[None], 70, axis=0)
    flash[30:32] = 250
    frames = film(dissolve(film(shots[0], shots[1]), shots[2], 18), faded, flash)
    options = {"x264-params": "keyint=48:min-keyint=5:open-gop=1:bframes=3:b-adapt=0", "crf": "20"}
    folder = tmp_path_factory.mktemp("units")
    write(folder / "a.mp4", frames, options=options)
    write(folder / "b.ts", frames[::-1][:150], codec="mpeg2video")
    return folder


def config(footage: Path, dataset: Path, unit_s: float) -> CurateConfig:
    return CurateConfig(footage=str(footage), dataset=str(dataset), unit_s=unit_s, precision="fp32")


def apart(cfg: CurateConfig, seed: int) -> dict[str, list[dict]]:
    """One worker, no Ray, units in a shuffled order."""
    analyst = SourceAnalyzer(cfg.dataset, cfg, fingerprints(cfg))
    sources = find_footage(cfg.footage, None).sources
    units = [unit for source in sources for unit in analyst.split_units(analyst.identify(source))]
    random.Random(seed).shuffle(units)
    return clips_of(map(analyst.measure, units))


def clips_of(parts) -> dict[str, list[dict]]:
    found = {analysis.source_uri: analysis for analysis in merge_units(parts)}
    assert not [analysis.quarantined for analysis in found.values() if analysis.quarantined]
    return {Path(uri).name: analysis.clips for uri, analysis in found.items()}


@pytest.fixture(scope="module")
def in_one_piece(footage, tmp_path_factory):
    clips = apart(config(footage, tmp_path_factory.mktemp("whole"), 60), 0)
    yield clips
    child.stop()


def test_the_footage_has_something_to_find(in_one_piece):
    kinds = [clip["start_kind"] for clip in in_one_piece["a.mp4"]]
    assert {"edge", "hard", "dissolve"} <= set(kinds)
    assert len(kinds) >= 4
    assert len({clip["frames_hash"] for clip in in_one_piece["a.mp4"]}) == len(kinds)


@pytest.mark.parametrize("unit_s", [3, 7])
def test_the_same_clips_and_scores_for_any_length_of_unit(footage, in_one_piece, tmp_path, unit_s):
    assert apart(config(footage, tmp_path, unit_s), seed=unit_s) == in_one_piece


def test_nothing_is_said_of_a_video_by_a_file_that_was_put_in_its_place(tmp_path):
    folder = tmp_path / "footage"
    folder.mkdir()
    write(folder / "a.mp4", pan(1, 30, HEIGHT, WIDTH))
    cfg = config(folder, tmp_path / "dataset", 60)
    analyst = SourceAnalyzer(cfg.dataset, cfg, fingerprints(cfg))
    (source,) = find_footage(cfg.footage).sources
    (unit,) = analyst.split_units(analyst.identify(source))
    as_it_was = (folder / "a.mp4").read_bytes()
    for name, frames in (("undecodable", None), ("other", pan(2, 30, HEIGHT, WIDTH))):
        if frames is None:
            (folder / "a.mp4").write_bytes(b"no video at all")
        else:
            write(folder / "a.mp4", frames)
        found = analyst.measure(deepcopy(unit))
        assert (name, found.quarantined.reason, found.clips) == (name, "missing", [])
        assert "has changed since it was listed" in found.quarantined.message
    (folder / "a.mp4").write_bytes(as_it_was)
    os.utime(folder / "a.mp4", ns=(0, int(source.etag.removeprefix("mtime-"))))
    assert len(analyst.measure(unit).clips) == 1, "and the video's own measurement is still to be made"


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_clips_and_scores_for_any_number_of_workers(footage, in_one_piece, tmp_path, workers):
    cfg = config(footage, tmp_path, unit_s=3)
    with connect(RayConfig(num_cpus=workers)):
        graph = Graph(str(tmp_path), cfg, fingerprints(cfg))
        assert clips_of(graph.analyse(find_footage(cfg.footage, None).sources)) == in_one_piece
