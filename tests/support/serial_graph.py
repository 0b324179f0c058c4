"""The Ray graph of curation without Ray: the same streams, one item after another, in this process."""

from collections.abc import Iterator, Sequence
from typing import Any

from jobs.curation.analysis import Analysis, SourceAnalyzer
from jobs.curation.captions import CaptionWorker
from jobs.curation.config import CurateConfig
from jobs.curation.fingerprints import Fingerprints
from jobs.curation.shard_writer import ShardWriter
from pipelines.records import Source


class SerialGraph:
    """In place of `jobs.curation.graph.Graph`."""

    def __init__(self, dataset: str, cfg: CurateConfig, prints: Fingerprints):
        self._args = (dataset, cfg, prints)

    def analyse(self, sources: Sequence[Source]) -> Iterator[Analysis]:
        analyst = SourceAnalyzer(*self._args)
        for source in sources:
            for part in analyst.split_units(analyst.identify(source)):
                yield analyst.measure(part)

    def caption(self, batches: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        dataset, cfg, prints = self._args
        worker = CaptionWorker(dataset, cfg, prints.captions)
        for batch in batches:
            yield worker(batch)["rows"]

    def write(self, plans: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        writer = ShardWriter(*self._args)
        for plan in plans:
            yield writer(plan)
