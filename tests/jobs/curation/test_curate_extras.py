"""Without the extras everything works; what an extra measures is null and says so, and is measured once the
extra has come."""

import sys

import pytest

from jobs.cli.run_folder import Run
from pipelines.dataset.reader import open_dataset
from tests.conftest import run_job
from tests.support.footage import pan, write

QUICK = (
    "scores.text=false",
    "scores.tags=false",
    "shots.detector=content",
    "captioner=own_text",
    "recipe=permissive",
)


@pytest.fixture
def said(monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(Run, "say", lambda self, text: lines.append(text))
    return lines


def test_without_nudenet_nsfw_is_null_and_is_measured_once_it_is_there(tmp_path, monkeypatch, said):
    (tmp_path / "footage").mkdir()
    write(tmp_path / "footage" / "a.mp4", pan(1, 60, 48, 64), fps=25)
    given = (f"footage={tmp_path / 'footage'}", f"dataset={tmp_path / 'dataset'}", *QUICK)
    with monkeypatch.context() as absent:
        absent.setitem(sys.modules, "nudenet", None)  # as if it were not installed
        run_job("curate", *given)
        with pytest.raises(ValueError, match="pip install 'rushes"):
            run_job("curate", *given, "scores.nsfw=true")
        with pytest.raises(ValueError, match="nsfw: NudeNet"):
            run_job("select", given[1], "recipe.max.nsfw=0.5")
    (row,) = open_dataset(str(tmp_path / "dataset")).index().table().to_pylist()
    assert (row["status"], row["nsfw"]) == ("kept", None)
    assert {
        "score": "nsfw",
        "why": "NudeNet (AGPL-3.0) was not installed: pip install 'rushes[nsfw]'",
    } in row["score_gaps"]
    assert sum("nsfw is not measured" in line and "pip install 'rushes[nsfw]'" in line for line in said) == 1

    did = run_job("select", given[1])  # decides again, as it was measured
    assert not did["changed"]
    del said[:]
    did = run_job("curate", *given)
    assert (did["videos_decoded"], did["clips_captioned"], did["clips_cut"]) == (1, 0, 0)
    (row,) = open_dataset(str(tmp_path / "dataset")).index().table().to_pylist()
    assert 0 <= row["nsfw"] <= 1
    assert not any("nsfw is not measured" in line for line in said)

    with monkeypatch.context() as absent:  # what was measured can be decided by anywhere
        absent.setitem(sys.modules, "nudenet", None)
        run_job("select", given[1], "recipe.max.nsfw=0.99")
