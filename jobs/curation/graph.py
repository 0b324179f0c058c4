"""The Ray Data graph of curation: streams of rows, with a barrier between them.

    sources ──identify──▶ units ──measure──▶ clips with scores  (barrier: copies and the recipe decide over
    all clips) clips, a batch per source ──look again (actors)──▶ DOVER's score, where its weights are given
    kept clips, a batch per source ──caption (actors)──▶ text   (barrier: captions may decide once more)
    captioned clips ──match (actors)──▶ text_match, where a CLIP is configured planned shards ──cut and
    write──▶ where each clip lies      (barrier: packing needs every kept clip of a bucket)

In and out: URIs, spans and rows, as JSON, so that a block has the same type whatever is null in it; never
frames or video. Frames live and die inside one operator. Errors are rows: an operator raises nothing for a
bad file. CPU shares are fractional and memory is set, so that two cores make progress and a large machine is
not overrun. Workers report what they are at: an item that kills them is given up, and a stage in which
nothing moves says what it waits for.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict
from typing import Any

from jobs.cluster.ray_data import (
    PackedRow,
    clamp_task_memory,
    iterate_results,
    label_errors,
    pack,
    to_ray_dataset,
    unpack,
)
from jobs.cluster.worker_progress import ProgressReporter, ProgressSnapshot, StallReports, start_tracker
from jobs.curation.analysis import Analysis, SourceAnalyzer
from jobs.curation.captions import CaptionWorker
from jobs.curation.config import CurateConfig
from jobs.curation.dover_scores import SecondLook
from jobs.curation.fingerprints import Fingerprints
from jobs.curation.matching import MatchWorker
from jobs.curation.shard_writer import ShardWriter
from pipelines.records import Quarantined, Source

_MIB = 1024**2
_IDENTIFY_BYTES, _MEASURE_BYTES, _MODEL_BYTES, _WRITE_BYTES = (
    512 * _MIB,
    1536 * _MIB,
    1536 * _MIB,
    1024 * _MIB,
)


class Graph:
    """The streams, for one dataset and one config. Ray must be connected when a stream is consumed.

    Args:
        say: for a line to the person at the console, when nothing moves.
        moved: gets what moves; see `watched`.
    """

    def __init__(
        self,
        dataset: str,
        cfg: CurateConfig,
        prints: Fingerprints,
        say: Callable[[str], None] = print,
        moved: Callable[[ProgressSnapshot], None] = lambda pulse: None,
    ):
        self._args = (dataset, cfg, prints)
        self._say, self._moved = say, moved
        self._desk: Any = None

    def _watch(self) -> ProgressReporter:
        if self._desk is None:
            self._desk = start_tracker()
        return ProgressReporter(self._desk)

    def analyse(self, sources: Sequence[Source]) -> Generator[Analysis, None, None]:
        """Sources → an analysis for each unit of their videos, as they are finished, in any order."""
        args = (*self._args, self._watch())
        rows = to_ray_dataset([asdict(source) for source in sources])
        rows = rows.flat_map(
            lambda row: identify(args, row), num_cpus=1, memory=clamp_task_memory(_IDENTIFY_BYTES)
        )
        rows = rows.repartition(target_num_rows_per_block=1)  # the units of one video are tasks of their own
        return self._measured(args, rows)

    def measure(self, parts: Sequence[Analysis]) -> Generator[Analysis, None, None]:
        """Units of videos → an analysis for each, as they are finished, in any order."""
        return self._measured((*self._args, self._watch()), to_ray_dataset([asdict(part) for part in parts]))

    def _measured(self, args: "Args", rows: Any) -> Generator[Analysis, None, None]:
        memory = clamp_task_memory(_MEASURE_BYTES)
        rows = rows.map(lambda row: measure(args, row), num_cpus=1, memory=memory)
        return (analysis(value) for value in self._values("videos", rows, memory))

    def caption(self, batches: Sequence[dict[str, Any]]) -> Generator[list[dict[str, Any]], None, None]:
        """Batches of kept clips → caption rows, a list per batch, in any order."""
        dataset, cfg, prints = self._args
        return self._actors("captions", batches, CaptionWorker, (dataset, cfg, prints.captions))

    def match(self, batches: Sequence[dict[str, Any]]) -> Generator[list[dict[str, Any]], None, None]:
        """Batches of captioned clips → rows with `text_match`, a list per batch, in any order."""
        dataset, cfg, prints = self._args
        return self._actors("matching captions", batches, MatchWorker, (dataset, cfg, prints.match))

    def score_dover(self, batches: Sequence[dict[str, Any]]) -> Generator[list[dict[str, Any]], None, None]:
        """Batches of clips of a source → rows with `technical`, a list per batch, in any order."""
        dataset, cfg, prints = self._args
        return self._actors("DOVER", batches, SecondLook, (dataset, cfg, prints.dover))

    def _actors(
        self, what: str, batches: Sequence[dict[str, Any]], worker: type, args: tuple[Any, ...]
    ) -> Generator[list[dict[str, Any]], None, None]:
        """Each batch through one of at most `captioner.actors` workers, each of which has its model
        loaded."""
        from ray.data import ActorPoolStrategy

        memory = clamp_task_memory(_MODEL_BYTES)
        rows = to_ray_dataset(batches).map(
            _Actor,
            fn_constructor_args=(worker, args, self._watch()),
            compute=ActorPoolStrategy(size=min(self._args[1].captioner.actors, len(batches))),
            num_cpus=1,
            memory=memory,
        )
        return (value["rows"] for value in self._values(what, rows, memory))

    def write(self, plans: Sequence[dict[str, Any]]) -> Generator[dict[str, Any], None, None]:
        """Planned shards → where their clips lie, as they are written, in any order."""
        args = (*self._args, self._watch())
        memory = clamp_task_memory(_WRITE_BYTES)
        rows = to_ray_dataset(plans).map(lambda row: write(args, row), num_cpus=1, memory=memory)
        return self._values("clips", rows, memory)

    def _values(self, what: str, rows: Any, memory: int) -> Generator[dict[str, Any], None, None]:
        reports = StallReports(self._say, self._args[1].ray.stall_s, self._moved)
        return iterate_results(rows, self._desk, f"curate: {what}", memory, reports)


class _Actor:
    def __init__(self, worker: type, args: tuple[Any, ...], watch: ProgressReporter):
        import ray

        # An actor that Ray starts again keeps its id; its neighbours in the pool have others.
        with watch.working_on("starting", f"{worker.__name__} {ray.get_runtime_context().get_actor_id()}"):
            self._worker = worker(*args, watch)

    def __call__(self, row: PackedRow) -> PackedRow:
        return with_worker(self._worker, row)


# The steps of the streams, of one packed row each. Who is at work on a row is told to the watch.
Args = tuple[str, CurateConfig, Fingerprints, ProgressReporter]


def identify(args: Args, row: PackedRow) -> list[PackedRow]:
    """A source → a part for each unit of its video, or one if there is nothing to measure."""
    analyst, source = SourceAnalyzer(*args), Source(**unpack(row))
    with label_errors(source.uri):
        return [pack(asdict(part)) for part in analyst.split_units(analyst.identify(source))]


def measure(args: Args, row: PackedRow) -> PackedRow:
    """A part → the same, measured."""
    found = analysis(unpack(row))
    with label_errors(
        f"{found.source_uri}, frames {found.unit[0]} to {found.unit[1]}" if found.unit else found.source_uri
    ):
        return pack(asdict(SourceAnalyzer(*args).measure(found)))


def with_worker(worker: Callable[[dict[str, Any]], dict[str, Any]], row: PackedRow) -> PackedRow:
    """A batch → what a worker makes of it."""
    batch = unpack(row)
    with label_errors(f"{type(worker).__name__}, {_about(batch)}"):
        return pack(worker(batch))


def write(args: Args, row: PackedRow) -> PackedRow:
    """The plan of a shard → where its clips lie."""
    plan = unpack(row)
    with label_errors(f"shard {plan['unit']} of {plan['bucket']}, {_about(plan)}"):
        return pack(ShardWriter(*args)(plan))


def _about(batch: dict[str, Any]) -> str:
    """Which clips, as far as a line goes."""
    clips = [clip["clip_id"] for clip in batch["clips"]]
    return f"clip {clips[0]}" if len(clips) == 1 else f"{len(clips)} clips from {clips[0]} on"


def analysis(value: dict[str, Any]) -> Analysis:
    """The one in an unpacked row."""
    bad, listed = value.pop("quarantined"), value.pop("as_listed")
    return Analysis(
        **value,
        quarantined=Quarantined(**bad) if bad else None,
        as_listed=(listed[0], listed[1]) if listed else None,
    )
