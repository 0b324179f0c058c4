"""The streams of curation for small work, in this process: see `jobs.cluster.in_process`.

In and out: what the streams of `jobs.curation.graph` take and give, of which these are the same steps.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict
from typing import Any

from jobs.cluster import in_process
from jobs.cluster.ray_data import pack, unpack
from jobs.cluster.worker_progress import (
    ProgressReporter,
    ProgressSnapshot,
    ProgressTracker,
    StallReports,
    report_stalls,
)
from jobs.curation import graph
from jobs.curation.analysis import Analysis
from jobs.curation.captions import CaptionWorker
from jobs.curation.config import CurateConfig
from jobs.curation.dover_scores import SecondLook
from jobs.curation.fingerprints import Fingerprints
from jobs.curation.matching import MatchWorker
from pipelines.records import Source


class LocalGraph:
    """For one dataset and one config.

    Args:
        say, moved: see `jobs.curation.graph.Graph`.
    """

    def __init__(
        self,
        dataset: str,
        cfg: CurateConfig,
        prints: Fingerprints,
        say: Callable[[str], None] = print,
        moved: Callable[[ProgressSnapshot], None] = lambda pulse: None,
    ):
        self._desk = ProgressTracker()
        self._args = (dataset, cfg, prints, ProgressReporter(self._desk))
        self._say, self._moved = say, moved

    def identify(self, sources: Sequence[Source]) -> Generator[Analysis, None, None]:
        """Sources → what is known of them, or a part for each unit of their videos."""
        for parts in self._each("videos", graph.identify, [asdict(source) for source in sources]):
            yield from (graph.analysis(unpack(part)) for part in parts)

    def measure(self, parts: Sequence[Analysis]) -> Generator[Analysis, None, None]:
        """See `Graph.measure`."""
        for row in self._each("videos", graph.measure, [asdict(part) for part in parts]):
            yield graph.analysis(unpack(row))

    def caption(self, batches: Sequence[dict[str, Any]]) -> Generator[list[dict[str, Any]], None, None]:
        """See `Graph.caption`."""
        return self._one_after_another(CaptionWorker, self._args[2].captions, batches)

    def match(self, batches: Sequence[dict[str, Any]]) -> Generator[list[dict[str, Any]], None, None]:
        """See `Graph.match`."""
        return self._one_after_another(MatchWorker, self._args[2].match, batches)

    def score_dover(self, batches: Sequence[dict[str, Any]]) -> Generator[list[dict[str, Any]], None, None]:
        """See `Graph.score_dover`."""
        return self._one_after_another(SecondLook, self._args[2].dover, batches)

    def write(self, plans: Sequence[dict[str, Any]]) -> Generator[dict[str, Any], None, None]:
        """See `Graph.write`."""
        for row in self._each("clips", graph.write, plans):
            yield unpack(row)

    def _each(
        self, what: str, step: Callable[[graph.Args, Any], Any], values: Sequence[dict[str, Any]]
    ) -> Generator[Any, None, None]:
        reports = StallReports(self._say, self._args[1].ray.stall_s, self._moved)
        with report_stalls(self._desk, f"curate: {what}", "", reports):
            yield from in_process.map_in_threads(
                lambda row: step(self._args, row), [pack(value) for value in values]
            )

    def _one_after_another(
        self, worker: type, stage_fingerprint: str | None, batches: Sequence[dict[str, Any]]
    ) -> Generator[list[dict[str, Any]], None, None]:
        """By one worker, whose model is loaded once."""
        dataset, cfg, _, watch = self._args
        made = worker(dataset, cfg, stage_fingerprint, watch)
        for batch in batches:
            yield unpack(graph.with_worker(made, pack(batch)))["rows"]
