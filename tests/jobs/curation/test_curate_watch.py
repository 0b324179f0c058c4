"""A worker that dies takes no footage with it: who kills workers again and again is found, alone; what stands
still says so."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from jobs.cluster.config import RayConfig
from jobs.cluster.connect import connect
from jobs.cluster.worker_progress import (
    MAX_WORKER_DEATHS,
    OpenItem,
    ProgressReporter,
    ProgressSnapshot,
    ProgressTracker,
    StallReports,
    WorkerLostError,
    report_stalls,
    stall_message,
    start_tracker,
)
from jobs.curation.analysis import Analysis
from jobs.curation.config import CurateConfig
from jobs.curation.fingerprints import fingerprints
from jobs.curation.graph import Graph
from jobs.curation.measure_progress import merge_units
from pipelines.footage.listing import find_footage
from tests.support.footage import pan, write


@pytest.fixture(scope="module", autouse=True)
def ray():
    with connect(RayConfig(num_cpus=2)):
        yield


def killed_while_at(desk, name: str, stop: threading.Event, most: int) -> list[int]:
    """Kills workers, so many at most, that are at work on an item with this in its name; their processes, as
    it goes on."""
    import ray

    killed: list[int] = []

    def watch():
        while not stop.is_set():
            for at in ray.get(desk.snapshot.remote()).open:
                if (
                    name in at.item
                    and at.stage == "measuring"
                    and at.pid not in killed
                    and len(killed) < most
                ):
                    os.kill(at.pid, signal.SIGKILL)
                    killed.append(at.pid)
            time.sleep(0.01)

    threading.Thread(target=watch, daemon=True).start()
    return killed


@pytest.mark.parametrize("deadly", [True, False])
def test_who_kills_its_workers_is_quarantined_alone_and_who_merely_lost_one_is_not(tmp_path, deadly):
    footage = tmp_path / "footage"
    footage.mkdir()
    write(footage / "a.mp4", pan(1, 30, 48, 64))
    write(footage / "poison.mp4", np.tile(pan(3, 60, 48, 64), (1, 8, 8, 1)), options={"preset": "ultrafast"})
    write(footage / "z.mp4", pan(2, 30, 48, 64))
    cfg = CurateConfig(footage=str(footage), dataset=str(tmp_path / "dataset"), precision="fp32")
    graph = Graph(cfg.dataset, cfg, fingerprints(cfg))
    stop = threading.Event()
    stream = graph.analyse(find_footage(cfg.footage).sources)
    killed = killed_while_at(graph._desk, "poison.mp4", stop, most=2 * MAX_WORKER_DEATHS if deadly else 1)
    try:
        parts = list(stream)
        found: dict[str, Analysis] = {
            analysis.source_uri.rpartition("/")[2]: analysis for analysis in merge_units(parts)
        }
    finally:
        stop.set()
    assert [len(found[name].clips) for name in ("a.mp4", "z.mp4")] == [1, 1]
    if deadly:
        assert len(killed) == MAX_WORKER_DEATHS
        assert found["poison.mp4"].quarantined.reason == "crashed"
        assert f"{MAX_WORKER_DEATHS} worker processes died" in found["poison.mp4"].quarantined.message
    else:
        assert len(killed) == 1
        assert found["poison.mp4"].quarantined is None
        assert found["poison.mp4"].clips


def test_an_item_that_ends_and_begins_again_has_killed_nobody():
    desk = ProgressTracker()
    for _ in range(9):
        assert desk.begin("cutting", "a", "node", 1) == 0
        desk.end("cutting", "a")
    assert desk.begin("cutting", "b", "node", 1) == 0
    assert desk.begin("captioning", "b", "node", 2) == 0
    assert [desk.begin("cutting", "b", "node", pid) for pid in (3, 4)] == [1, 2]


def test_an_error_inside_ends_the_work_and_a_deadly_item_is_not_begun():
    watch = ProgressReporter(start_tracker())
    for _ in range(2 * MAX_WORKER_DEATHS):
        with pytest.raises(ZeroDivisionError), watch.working_on("cutting", "a"):
            raise ZeroDivisionError
    import ray

    for _ in range(MAX_WORKER_DEATHS + 1):
        ray.get(watch.desk.begin.remote("cutting", "b", "node", 1))
    said = f"{MAX_WORKER_DEATHS} worker processes died while cutting it"
    with pytest.raises(WorkerLostError, match=said), watch.working_on("cutting", "b"):
        pytest.fail("it was begun")
    assert ray.get(watch.desk.snapshot.remote()).open == ()


def test_what_stands_still_names_what_it_waits_for():
    lines: list[str] = []
    watch = ProgressReporter(start_tracker())
    with (
        watch.working_on("measuring", "long.mp4"),
        report_stalls(watch.desk, "curate: videos", "1 CPU", StallReports(lines.append, 1)),
    ):
        deadline = time.monotonic() + 30
        while not lines and time.monotonic() < deadline:
            time.sleep(0.1)
    assert lines[0].startswith("curate: videos: no progress for")
    assert f"at work: measuring long.mp4 for 1 s (process {os.getpid()} on " in lines[0].replace(
        "for 2 s", "for 1 s"
    )
    del lines[:]
    with report_stalls(
        watch.desk, "curate: clips", "1 CPU and 1.0 GiB of memory", StallReports(lines.append, 1)
    ):
        deadline = time.monotonic() + 30
        while not lines and time.monotonic() < deadline:
            time.sleep(0.1)
    assert (
        "nothing is at work: a task needs 1 CPU and 1.0 GiB of memory; free are 2 of 2 CPUs and" in lines[0]
    )


def test_of_many_the_oldest_are_named():
    at_work = tuple(OpenItem("cutting", f"clip {k}", "10.0.0.7", k, since_s=100.0 + k) for k in range(8))
    line = stall_message("curate: clips", 90, ProgressSnapshot(12, at_work), "", now_s=200)
    assert line.startswith(
        "curate: clips: no progress for 90 s; at work: cutting clip 0 for 100 s (process 0 on 10.0.0.7);"
    )
    assert line.endswith("cutting clip 4 for 96 s (process 4 on 10.0.0.7); and 3 more")
    assert stall_message("curate: clips", 90, None, "Ray does not answer", 0).endswith(
        "for 90 s; Ray does not answer"
    )
