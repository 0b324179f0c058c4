"""What each stage of curation costs: processor seconds per hour of footage.

    python -m benchmarks.measure.curate_stages footage=… dataset=… [key=value …]

In: a configuration of `rushes curate`. Out: seconds by stage, and how long the footage is. The same work as a
run's, in one process: without Ray, and with what decodes called directly instead of in a killable child, so
that the processor's time can be taken around every function. What is taken around a function is its own,
without what it calls that has a name here.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import jobs.curate
from jobs.cli.compose import compose
from jobs.cli.registry import job_named
from jobs.cli.run_folder import Run, open_run
from jobs.curation.config import CurateConfig
from jobs.curation.curation import Curation
from pipelines.footage.allowed_footage import AllowedFootage
from pipelines.footage.listing import find_footage
from tests.support.serial_graph import SerialGraph

ONCE = "models and libraries, once per process"
REST = "the rest"
# Where a function is looked up when it is called, its name there, and the stage it belongs to.
FUNCTIONS = (
    ("jobs.curation.analysis", "read_video_id", "hash"),
    ("pipelines.measure.sandboxed", "read_header", "probe"),
    ("pipelines.media.decode", "iterate_pictures", "decode"),
    ("pipelines.measure.signals", "upright_small", "signals: small frames"),
    ("pipelines.measure.signals", "picture_hash", "signals: hash of each picture"),
    ("pipelines.measure.signals", "motion_between", "signals: optical flow"),
    ("pipelines.measure.signals", "measure", "signals: light and change"),
    ("pipelines.shots.observation", "evidence_columns", "shots: network"),
    ("jobs.curation.clip_rows", "clip_rows", "clips"),
    ("jobs.curation.clip_rows", "find_shots", "shots: decision"),
    ("jobs.curation.clip_rows", "score_clip", "scores of clips"),
    ("jobs.curation.clip_rows", "look_row", "looks of clips"),
    ("jobs.curation.curation", "find_pairs", "copies"),
    ("jobs.curation.curation", "assemble", "assemble and decide"),
    ("jobs.curation.decide.DecisionState", "_decided", "assemble and decide"),
    ("jobs.curation.curation", "commit", "commit"),
    ("pipelines.measure.sandboxed", "read_times", "index of every frame"),
    ("pipelines.measure.sandboxed", "pick_frames", "captions: frames"),
    ("jobs.curation.captions.CaptionWorker", "__init__", ONCE),
    ("jobs.curation.captions.CaptionWorker", "__call__", "captions: words"),
    ("pipelines.cutting.cut", "cut_clip", "cut"),
    ("jobs.curation.shard_writer.ShardWriter", "__call__", "write shards"),
    ("pipelines.dataset.stages.Stage", "commit", "stage files"),
    ("pipelines.dataset.stages.Stage", "lookup", "stage files"),
)


class StageClock:
    """Processor seconds by stage; what runs inside another stage is taken off that one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[str] = [REST]
        self._since_s = time.process_time()

    @contextmanager
    def over(self, stage: str) -> Iterator[None]:
        """For the time of a block, the processor works for a stage."""
        self._charge()
        self._open.append(stage)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def _charge(self) -> None:
        now_s = time.process_time()
        self.seconds[self._open[-1]] += now_s - self._since_s
        self._since_s = now_s

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time charged to a stage; of an iterator that it returns, too."""

        @functools.wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            with self.over(stage):
                result = function(*args, **kwargs)
            return self._each(stage, result) if isinstance(result, Iterator) else result

        return inner

    def _each(self, stage: str, values: Iterator[Any]) -> Iterator[Any]:
        end = object()
        while True:
            with self.over(stage):
                value = next(values, end)
            if value is end:
                return
            yield value


def profile(cfg: CurateConfig, run: Run) -> tuple[dict[str, float], float]:
    """Curate, and (processor seconds by stage, seconds of footage)."""
    clock = StageClock()
    cfg = replace(cfg, ray=replace(cfg.ray, num_cpus=1))  # asks for Ray, in whose place the streams are put
    with ExitStack() as stack:
        _instrument(clock, stack)
        curation = Curation(cfg, find_footage(cfg.footage, cfg.limit), run, stack, AllowedFootage(()))
        curation.streams.graph = SerialGraph(curation.store.uri, cfg, curation.prints)
        curation.streams.on_ray = True
        analyses = curation.analyse()
        curation.finish(analyses)
    with clock.over("done"):
        return dict(clock.seconds), sum(found.duration_s for found in analyses if found.duration_s)


def _instrument(clock: StageClock, stack: ExitStack) -> None:
    from pipelines.measure import measure
    from pipelines.sandbox import child

    def here(
        function: Callable[..., Any],
        *args: Any,
        limits: Any,
        preload: Callable[[], None] | None = None,
        on_progress: Any = None,
    ) -> Any:
        if preload is not None:
            with clock.over(ONCE):
                preload()
        return function(*args)

    def meters(*args: Any) -> dict[str, Callable[..., Any]]:
        with clock.over(ONCE):
            looks = load(*args)
        return {name: clock.timed(f"meter: {name}", look) for name, look in looks.items()}

    with clock.over(ONCE):
        importlib.import_module("av")
    load = measure.load_meters
    stack.enter_context(mock.patch.object(child, "call", here))
    stack.enter_context(mock.patch.object(measure, "load_meters", meters))
    for where, name, stage in FUNCTIONS:
        module, _, kind = where.rpartition(".") if where.rpartition(".")[2][0].isupper() else (where, "", "")
        owner = importlib.import_module(module)
        owner = getattr(owner, kind) if kind else owner
        stack.enter_context(mock.patch.object(owner, name, clock.timed(stage, getattr(owner, name))))


def main() -> None:
    """Takes what `rushes curate` takes; the last line is JSON, processor seconds per hour of footage by
    stage."""
    composed = compose(job_named("curate"), sys.argv[1:])
    jobs.curate.check(composed.cfg)
    run = open_run("curate", jobs.curate.run_folder(composed.cfg), composed.yaml)
    seconds, footage_s = profile(composed.cfg, run)
    print(json.dumps({stage: value * 3600 / footage_s for stage, value in seconds.items()}))


if __name__ == "__main__":
    main()
