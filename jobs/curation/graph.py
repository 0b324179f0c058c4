"""The Ray Data graph of curation: streams of rows, with a barrier between them.

    sources ──identify──▶ units ──measure──▶ clips with scores  (barrier: copies and the recipe decide over all clips)
    clips, a batch per source ──look again (actors)──▶ DOVER's score, where its weights are given
    kept clips, a batch per source ──caption (actors)──▶ text   (barrier: captions may decide once more)
    captioned clips ──match (actors)──▶ text_match, where a CLIP is configured
    planned shards ──cut and write──▶ where each clip lies      (barrier: packing needs every kept clip of a bucket)

In and out: URIs, spans and rows, as JSON, so that a block has the same type whatever is null in it; never frames or
video. Frames live and die inside one operator. Errors are rows: an operator raises nothing for a bad file. CPU shares
are fractional and memory is set, so that two cores make progress and a large machine is not overrun. Workers report what they
are at: an item that kills them is given up, and a stage in which nothing moves says what it waits for.
"""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from jobs.curation.analysis import Analysis, Analyst
from jobs.curation.captions import CaptionWorker
from jobs.curation.config import CurateConfig
from jobs.curation.cutting import ShardWriter
from jobs.curation.fingerprints import Fingerprints
from jobs.curation.matching import MatchWorker
from jobs.curation.second_look import SecondLook
from jobs.curation.watch import Watch, open_desk, watched
from pipelines.records import Quarantined, Source

_MIB = 1024**2
_MAX_BLOCKS = 4096  # a block per item, so that progress and retries are per item; Ray slows down beyond some thousands

Row = dict[str, str]
_LARGEST_SHARE = (
    0.9  # of the memory of the largest node, that a task may ask for: on a small machine it must be placed, too
)
_IDENTIFY_BYTES, _MEASURE_BYTES, _MODEL_BYTES, _WRITE_BYTES = 512 * _MIB, 1536 * _MIB, 1536 * _MIB, 1024 * _MIB


class Graph:
    """The streams, for one dataset and one config. Ray must be connected when a stream is consumed.

    Args:
        say: for a line to the person at the console, when nothing moves.
    """

    def __init__(self, dataset: str, cfg: CurateConfig, prints: Fingerprints, say: Callable[[str], None] = print):
        self._args = (dataset, cfg, prints)
        self._say = say
        self._desk: Any = None

    def _watch(self) -> Watch:
        if self._desk is None:
            self._desk = open_desk()
        return Watch(self._desk)

    def analyse(self, sources: Sequence[Source]) -> Iterator[Analysis]:
        """Sources → an analysis for each unit of their videos, as they are finished, in any order."""
        args = (*self._args, self._watch())
        memory = _fitting(_MEASURE_BYTES)
        rows = _items([asdict(source) for source in sources])
        rows = rows.flat_map(lambda row: _identify(args, row), num_cpus=1, memory=_fitting(_IDENTIFY_BYTES))
        rows = rows.repartition(target_num_rows_per_block=1)  # the units of one video are tasks of their own
        rows = rows.map(lambda row: _measure(args, row), num_cpus=1, memory=memory)
        return (_analysis(value) for value in self._values("videos", rows, memory))

    def caption(self, batches: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        """Batches of kept clips → caption rows, a list per batch, in any order."""
        dataset, cfg, prints = self._args
        return self._actors("captions", batches, CaptionWorker, (dataset, cfg, prints.captions))

    def match(self, batches: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        """Batches of captioned clips → rows with `text_match`, a list per batch, in any order."""
        dataset, cfg, prints = self._args
        return self._actors("matching captions", batches, MatchWorker, (dataset, cfg, prints.match))

    def look_again(self, batches: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        """Batches of clips of a source → rows with `technical`, a list per batch, in any order."""
        dataset, cfg, prints = self._args
        return self._actors("DOVER", batches, SecondLook, (dataset, cfg, prints.dover))

    def _actors(
        self, what: str, batches: Sequence[dict[str, Any]], worker: type, args: tuple[Any, ...]
    ) -> Iterator[list[dict[str, Any]]]:
        """Each batch through one of at most `captioner.actors` workers, each of which has its model loaded."""
        from ray.data import ActorPoolStrategy

        memory = _fitting(_MODEL_BYTES)
        rows = _items(batches).map(
            _Actor,
            fn_constructor_args=(worker, args, self._watch()),
            compute=ActorPoolStrategy(size=min(self._args[1].captioner.actors, len(batches))),
            num_cpus=1,
            memory=memory,
        )
        return (value["rows"] for value in self._values(what, rows, memory))

    def write(self, plans: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Planned shards → where their clips lie, as they are written, in any order."""
        args = (*self._args, self._watch())
        memory = _fitting(_WRITE_BYTES)
        rows = _items(plans).map(lambda row: _pack(ShardWriter(*args)(_unpack(row))), num_cpus=1, memory=memory)
        return self._values("clips", rows, memory)

    def _values(self, what: str, rows: Any, memory: int) -> Iterator[dict[str, Any]]:
        needs = f"1 CPU and {memory / 1024**3:.1f} GiB of memory"
        with watched(self._desk, f"curate: {what}", needs, self._say, self._args[1].ray.stall_s):
            for row in rows.iter_rows():
                yield _unpack(row)


class _Actor:
    def __init__(self, worker: type, args: tuple[Any, ...], watch: Watch):
        import ray

        # An actor that Ray starts again keeps its id; its neighbours in the pool have others.
        with watch.over("starting", f"{worker.__name__} {ray.get_runtime_context().get_actor_id()}"):
            self._worker = worker(*args, watch)

    def __call__(self, row: Row) -> Row:
        return _pack(self._worker(_unpack(row)))


def _fitting(want: int) -> int:
    """As many bytes as a task wants, or nearly all of the largest node: Ray never starts one that asks for more."""
    import ray

    largest = max((node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"]), default=0)
    return min(want, int(_LARGEST_SHARE * largest)) if largest else want


def _identify(args: tuple[str, CurateConfig, Fingerprints, Watch], row: Row) -> list[Row]:
    analyst = Analyst(*args)
    return [_pack(asdict(part)) for part in analyst.units(analyst.identify(Source(**_unpack(row))))]


def _measure(args: tuple[str, CurateConfig, Fingerprints, Watch], row: Row) -> Row:
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


def _pack(value: dict[str, Any]) -> Row:
    return {"json": json.dumps(value)}


def _unpack(row: Row) -> dict[str, Any]:
    return json.loads(row["json"])
