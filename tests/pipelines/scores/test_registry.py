"""A new score is one file: the one in the docs works as it stands; and the docs name every score that there
is."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from pipelines.measure.config import SignalConfig
from pipelines.measure.measure import Measurements, measure
from pipelines.media.decode import iterate_pictures
from pipelines.media.read_clock import read_clock
from pipelines.records import Span
from pipelines.scores import registry
from pipelines.scores.config import ScoreConfig
from pipelines.shots.config import ShotConfig
from tests.support.footage import write

DOCS = (Path(__file__).resolve().parents[3] / "docs" / "scores.md").read_text()


@pytest.fixture
def skin(tmp_path, monkeypatch):
    """The file that the docs show, as its line in the registry would have it."""
    code = DOCS.split("```python\n")[1].split("```")[0]
    (tmp_path / "skin.py").write_text(code)
    spec = importlib.util.spec_from_file_location("skin", tmp_path / "skin.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(registry.METERS, "skin", module.METER)
    monkeypatch.setattr(registry, "SCORES", registry.SCORES | module.SCORES)


def clock_span(clock):
    return Span(int(clock.pts[0]), clock.end_pts, clock.time_base)


@pytest.mark.parametrize(("colour", "share"), [((220, 150, 120), 0.5), ((60, 60, 220), 0.0)])
def test_the_score_in_the_docs_measures(skin, tmp_path, colour, share):
    frames = np.zeros((10, 64, 96, 3), np.uint8)
    frames[:, :, :48] = colour
    path = write(tmp_path / "v.mp4", frames)
    clock, cfg = read_clock(path), ScoreConfig()
    pictures = enumerate(iterate_pictures(path, int(clock.pts[0]), clock.end_pts, clock))
    shots = ShotConfig(detector="content")
    tables = measure(
        pictures, clock, (0, 10), Measurements(SignalConfig(), shots, cfg, ("signals", "skin"), "fp32")
    )
    scores = registry.score_clip(tables.pop("signals"), tables, 96, 64, clock_span(clock), cfg)
    assert scores["skin"] == pytest.approx(share, abs=0.03)
    assert {"source": "skin", "model": "rule of Kovac et al. 2003, v1"} in scores["score_models"]


def test_the_docs_name_every_score_and_every_reason():
    table = DOCS.split("## What there is")[1].split("\n## ")[0]
    for name, score in registry.SCORES.items():
        assert f"`{name}`" in table, name
        assert score.unit.split(",")[0] in table or not score.is_number, f"{name}: {score.unit}"
    for reason in registry.REASONS:
        assert f"`{reason}`" in table, reason


def test_a_clip_without_a_native_frame_says_so(tmp_path):
    path = write(tmp_path / "v.mp4", np.zeros((10, 64, 96, 3), np.uint8))
    clock, cfg = read_clock(path), ScoreConfig(text=False)
    pictures = enumerate(iterate_pictures(path, int(clock.pts[0]), clock.end_pts, clock))
    shots = ShotConfig(detector="content")
    tables = measure(
        pictures, clock, (0, 10), Measurements(SignalConfig(), shots, cfg, ("signals", "quality"), "fp32")
    )
    scores = registry.score_clip(
        tables["signals"], {"quality": tables["quality"].slice(0, 0)}, 96, 64, clock_span(clock), cfg
    )
    why = {gap["score"]: gap["why"] for gap in scores["score_gaps"]}
    assert "native frame" in why["sharpness"]
    assert "scores.text=true" in why["text_area"]
