"""Measuring tells how far it is, within a video too; interrupted, it keeps what is measured, and the next run
does only the rest."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from jobs.cli import progress as progress_module
from jobs.cli.main import INTERRUPTED
from jobs.cli.progress import progress
from jobs.cluster.worker_progress import (
    MeasuredFootage,
    OpenItem,
    ProgressReporter,
    ProgressSnapshot,
    ProgressTracker,
)
from jobs.curation.analysis import SourceAnalyzer
from jobs.curation.config import CurateConfig
from jobs.curation.fingerprints import fingerprints
from jobs.curation.measure_progress import MeasureProgress
from pipelines.footage.listing import find_footage
from pipelines.sandbox import child
from tests.support.footage import film, pan, write

UNIT_S, UNITS = 2, 16
OPTIONS = (
    "recipe=permissive",
    f"unit_s={UNIT_S}",
    "scores.nsfw=false",
    "scores.text=false",
    "scores.tags=false",
)


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """One video of 32 s with four shots."""
    folder = tmp_path_factory.mktemp("long")
    write(folder / "long.mp4", film(*(pan(seed, 25 * UNIT_S * UNITS // 4, 48, 64, 0.3) for seed in range(4))))
    return folder


def measured(dataset):
    """Units of which everything is committed."""
    stages = [
        {path.name for path in stage.rglob("*.parquet")}
        for stage in (dataset / "stages").glob("*")
        if stage.name in ("signals", "quality")
    ]
    return set.intersection(*stages) if len(stages) == 2 else set()


@pytest.mark.parametrize("ray", [(), ("ray.num_cpus=2",)], ids=["here", "on a Ray of its own"])
def test_an_interrupted_run_keeps_the_units_it_measured_and_the_next_decodes_only_the_rest(
    footage, tmp_path, ray
):
    dataset = tmp_path / "dataset"
    command = [
        sys.executable,
        "-m",
        "jobs.cli.main",
        "curate",
        f"footage={footage}",
        f"dataset={dataset}",
        *OPTIONS,
        *ray,
    ]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    run = subprocess.Popen(
        command,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while len(measured(dataset)) < 3:
        assert run.poll() is None, run.communicate()
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does it
    _, said = run.communicate(timeout=120)
    assert run.returncode == INTERRUPTED, said
    (line,) = [line for line in said.splitlines() if line.startswith("interrupted")]
    told = re.fullmatch(
        r"interrupted; (\d+) of 32 s of footage are measured and kept: run the same command to go on", line
    )
    kept = measured(dataset)
    assert 3 <= len(kept) < UNITS
    assert told, line
    assert int(told[1]) <= UNIT_S * len(kept)
    again = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=300, check=False)
    assert again.returncode == 0, again.stderr
    (metrics,) = dataset.glob("runs/*/metrics.json")
    did = json.loads(metrics.read_text())
    assert did["seconds_decoded"] == pytest.approx(UNIT_S * (UNITS - len(kept)))
    assert did["videos_hashed"] == 0


class Listener(ProgressTracker):
    """A desk that remembers how far its items were said to be."""

    def __init__(self):
        super().__init__()
        self.heard = []

    def update(self, stage, item, far_s):
        super().update(stage, item, far_s)
        self.heard.append((stage, far_s, self.snapshot().measured))


def test_within_a_unit_it_is_told_how_far_it_is_and_what_was_measured_before_is_not_counted(tmp_path):
    (tmp_path / "footage").mkdir()
    write(tmp_path / "footage" / "a.mp4", pan(1, 500, 144, 192, 0.2), options={"preset": "ultrafast"})
    cfg = CurateConfig(footage=str(tmp_path / "footage"), dataset=str(tmp_path / "dataset"), precision="fp32")
    (source,) = find_footage(cfg.footage).sources
    desk = Listener()
    analyst = SourceAnalyzer(cfg.dataset, cfg, fingerprints(cfg), ProgressReporter(desk))
    (unit,) = analyst.split_units(analyst.identify(source))
    assert desk.snapshot().measured == MeasuredFootage(num_sources=1, total_s=20.0, done_s=0.0)
    analyst.measure(unit)
    assert {stage for stage, _, _ in desk.heard} == {"measuring"}
    assert any(0 < far_s < 20 for _, far_s, _ in desk.heard)
    assert all(far == MeasuredFootage(1, 20.0, 0.0) for _, _, far in desk.heard)
    assert desk.snapshot() == ProgressSnapshot(
        desk.snapshot().moves, (), MeasuredFootage(num_sources=1, total_s=20.0, done_s=20.0)
    )
    desk = ProgressTracker()
    analyst = SourceAnalyzer(cfg.dataset, cfg, fingerprints(cfg), ProgressReporter(desk))
    unit.clips, unit.finished, unit.decoded_s = [], False, 0.0
    assert analyst.measure(unit).clips
    assert desk.snapshot().measured == MeasuredFootage(num_sources=0, total_s=-20.0, done_s=0.0)
    child.stop()


def test_the_bar_counts_seconds_of_footage_and_says_what_is_worked_on_before_there_are_any(
    monkeypatch, capsys
):
    now_s = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now_s[0])
    hashing = OpenItem("hashing", "/films/a.mkv", "10.0.0.7", 1, time.time())
    first, second = (
        OpenItem("measuring", f"/films/a.mkv, frames {k}", "10.0.0.7", 2, 5.0, measured_s=f)
        for k, f in ((0, 6.0), (1, 4.04))
    )
    pulses = (
        (3.0, ProgressSnapshot(1, (hashing,))),
        (6.0, ProgressSnapshot(2, (first,), MeasuredFootage(1, 60.0))),
        (9.0, ProgressSnapshot(3, (first, second), MeasuredFootage(2, 120.0))),
        (
            12.0,
            ProgressSnapshot(4, (first,), MeasuredFootage(2, 120.0)),
        ),  # one has ended, and is not counted yet
        (15.0, ProgressSnapshot(5, (second,), MeasuredFootage(2, 120.0, 60.0))),
    )
    with progress("curate: footage", total=0, unit="s") as bar:
        measuring = MeasureProgress(bar, 2)
        for at_s, pulse in pulses:
            now_s[0] = at_s
            measuring.on_progress("here", pulse)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "curate: footage: 0/0 s, starting, 0 of 2 sources read, hashing a.mkv for 0 s",
        "curate: footage: 6/60 s, 10%, 1/s, 1 of 2 sources read",
        "curate: footage: 10/120 s, 8%, 1.33/s, 82 s left, 2 of 2 sources read",
        "curate: footage: 10/120 s, 8%, 0.667/s, 3 min left, 2 of 2 sources read",
        "curate: footage: 64/120 s, 53%, 6.44/s, 9 s left, 2 of 2 sources read",
        "curate: footage: 64/120 s, 53%, 6.44/s, 15.0 s, 2 of 2 sources read",
    ]
    assert measuring.summary() == "60 of 120 s of footage are measured and kept"


def test_lines_become_rare_as_a_job_goes_on(monkeypatch, capsys):
    now_s = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now_s[0])
    with progress("train", total=36_000, unit="steps") as bar:
        for _ in range(36_000 - 1):
            now_s[0] += 0.1
            bar.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("train: 20/36000 steps")
    assert len(lines) < 100


def test_a_far_that_travels_is_the_same():
    assert MeasuredFootage(**asdict(MeasuredFootage(1, 2.0, 3.0))) + MeasuredFootage(
        1, 1.0, 1.0
    ) == MeasuredFootage(2, 3.0, 4.0)
