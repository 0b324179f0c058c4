"""The Ray Data graph of curation: streams of rows, with a barrier between them.

    sources ──identify──▶ units ──measure──▶ clips with scores  (barrier: copies and the recipe decide over all clips)
    clips, a batch per source ──look again (actors)──▶ DOVER's score, where its weights are given
    kept clips, a batch per source ──caption (actors)──▶ text   (barrier: captions may decide once more)
    captioned clips ──match (actors)──▶ text_match, where a CLIP is configured
    planned shards ──cut and write──▶ where each clip lies      (barrier: packing needs every kept clip of a bucket)

In and out: URIs, spans and rows, as JSON, so that a block has the same type whatever is null in it; never frames or
video. Frames live and die inside one operator. Errors are rows: an operator raises nothing for a bad file. CPU shares
are fractional and memory is set, so that two cores make progress and a large machine is not overrun.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from jobs.curation.analysis import Analysis, Analyst
from jobs.curation.captions import CaptionWorker
from jobs.curation.config import CurateConfig
from jobs.curation.cutting import ShardWriter
from jobs.curation.fingerprints import Fingerprints
from jobs.curation.matching import MatchWorker
from jobs.curation.second_look import SecondLook
from pipelines.records import Quarantined, Source

_MIB = 1024**2
_MAX_BLOCKS = 4096  # a block per item, so that progress and retries are per item; Ray slows down beyond some thousands

Row = dict[str, str]


class Graph:
    """The streams, for one dataset and one config. Ray must be connected when a stream is consumed."""

    def __init__(self, dataset: str, cfg: CurateConfig, prints: Fingerprints):
        self._args = (dataset, cfg, prints)

    def analyse(self, sources: Sequence[Source]) -> Iterator[Analysis]:
        """Sources → an analysis for each unit of their videos, as they are finished, in any order."""
        args = self._args
        rows = _items([asdict(source) for source in sources])
        rows = rows.flat_map(lambda row: _identify(args, row), num_cpus=1, memory=512 * _MIB)
        rows = rows.repartition(target_num_rows_per_block=1)  # the units of one video are tasks of their own
        rows = rows.map(lambda row: _measure(args, row), num_cpus=1, memory=1536 * _MIB)
        return (_analysis(value) for value in _values(rows))

    def caption(self, batches: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        """Batches of kept clips → caption rows, a list per batch, in any order."""
        dataset, cfg, prints = self._args
        return self._actors(batches, CaptionWorker, (dataset, cfg, prints.captions), cfg.captioner.actors)

    def match(self, batches: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        """Batches of captioned clips → rows with `text_match`, a list per batch, in any order."""
        dataset, cfg, prints = self._args
        return self._actors(batches, MatchWorker, (dataset, cfg, prints.match), cfg.captioner.actors)

    def look_again(self, batches: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        """Batches of clips of a source → rows with `technical`, a list per batch, in any order."""
        dataset, cfg, prints = self._args
        return self._actors(batches, SecondLook, (dataset, cfg, prints.dover), cfg.captioner.actors)

    def _actors(
        self, batches: Sequence[dict[str, Any]], worker: type, args: tuple[Any, ...], most: int
    ) -> Iterator[list[dict[str, Any]]]:
        """Each batch through one of at most so many workers, each of which has its model loaded."""
        from ray.data import ActorPoolStrategy

        rows = _items(batches).map(
            _Actor,
            fn_constructor_args=(worker, args),
            compute=ActorPoolStrategy(size=min(most, len(batches))),
            num_cpus=1,
            memory=1536 * _MIB,
        )
        return (value["rows"] for value in _values(rows))

    def write(self, plans: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Planned shards → where their clips lie, as they are written, in any order."""
        args = self._args
        rows = _items(plans).map(lambda row: _pack(ShardWriter(*args)(_unpack(row))), num_cpus=1, memory=1024 * _MIB)
        return _values(rows)


class _Actor:
    def __init__(self, worker: type, args: tuple[Any, ...]):
        self._worker = worker(*args)

    def __call__(self, row: Row) -> Row:
        return _pack(self._worker(_unpack(row)))


def _identify(args: tuple[str, CurateConfig, Fingerprints], row: Row) -> list[Row]:
    analyst = Analyst(*args)
    return [_pack(asdict(part)) for part in analyst.units(analyst.identify(Source(**_unpack(row))))]


def _measure(args: tuple[str, CurateConfig, Fingerprints], row: Row) -> Row:
    return _pack(asdict(Analyst(*args).measure(_analysis(_unpack(row)))))


def _analysis(value: dict[str, Any]) -> Analysis:
    bad = value.pop("quarantined")
    return Analysis(**value, quarantined=Quarantined(**bad) if bad else None)


def _items(values: Sequence[dict[str, Any]]) -> Any:
    import ray.data

    # Its detectors take the shared object store, which each worker maps, for memory that the worker uses.
    ray.data.DataContext.get_current().issue_detectors_config.detectors = []
    _keep_console()
    return ray.data.from_items([_pack(value) for value in values], override_num_blocks=min(len(values), _MAX_BLOCKS))


def _keep_console() -> None:
    """The console is for what a person reads. What Ray Data says stays in its own log, and failures are raised."""
    logger = logging.getLogger("ray.data")
    for handler in [handler for handler in logger.handlers if isinstance(handler, logging.StreamHandler)]:
        logger.removeHandler(handler)


def _values(rows: Any) -> Iterator[dict[str, Any]]:
    return (_unpack(row) for row in rows.iter_rows())


def _pack(value: dict[str, Any]) -> Row:
    return {"json": json.dumps(value)}


def _unpack(row: Row) -> dict[str, Any]:
    return json.loads(row["json"])
