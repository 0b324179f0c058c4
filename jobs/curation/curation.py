"""One run of curation, from footage to the committed manifest: which work is pending, in which order, on
which Ray.

In: the config of a run. Out: its ledger, and counts of what had to be done. Ray starts only if much is to be
done; little is done here, and a run that finds everything finished reads rows, decides and stops.
"""

import logging
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.cli.fields import with_absolute_paths
from jobs.cli.formatting import format_count, format_duration
from jobs.cli.progress import progress
from jobs.cli.run_folder import Run
from jobs.cluster.in_process import is_small
from jobs.cluster.worker_progress import ProgressSnapshot
from jobs.curation.analysis import Analysis, SourceAnalyzer
from jobs.curation.assemble import Assembly, assemble
from jobs.curation.commit import ManifestContent, commit, read_base, shards_of
from jobs.curation.config import NO_SETTINGS, CurateConfig
from jobs.curation.decide import decide
from jobs.curation.effects import READERS, GraphSelector, RunContext, RunEffects, SourceResolver, of_clips
from jobs.curation.fingerprints import fingerprints
from jobs.curation.measure_progress import MeasureProgress, merge_units
from pipelines import fault_injection
from pipelines.dataset.manifest import LostRaceError, current_settings
from pipelines.dataset.schema import KEPT, Row, conform_to_schema, is_gap
from pipelines.dataset.stages import Stage
from pipelines.dedup.looks import LOOKS
from pipelines.dedup.pairs import find_pairs
from pipelines.errors import Reason
from pipelines.footage.allowed_footage import AllowedFootage
from pipelines.footage.listing import Footage
from pipelines.precision import AUTO
from pipelines.precision import decide as decide_precision
from pipelines.recipes.recipe import load_recipe
from pipelines.records import Source
from pipelines.storage.open_store import open_store

logger = logging.getLogger(__name__)

Metrics = dict[str, Any]


class Curation:
    """One run. `did` counts what had to be done, `ledger` accounts for everything once `finish` returns.

    Args:
        cfg: of the run.
        footage: what it is about; none, to decide again over what the dataset has.
        run: where it speaks.
        stack: keeps Ray connected for as long as it is open.
        given: footage that rows of the dataset may name besides.
    """

    def __init__(
        self, cfg: CurateConfig, footage: Footage, run: Run, stack: ExitStack, allowed: AllowedFootage
    ):
        fault_injection.register_driver()
        self.store = open_store(cfg.dataset)
        if (
            footage.sources or cfg.precision == AUTO
        ):  # else no network computes in it; and to ask what is fast takes seconds
            precision = decide_precision(
                cfg.precision, previous=current_settings(self.store).get("precision")
            )
            run.say(f"{run.job} {precision}")
            cfg = replace(cfg, precision=precision.name)
        cfg = with_absolute_paths(cfg)
        self.cfg, self.footage, self.run = cfg, footage, run
        self.prints = fingerprints(cfg)
        self._measuring: MeasureProgress | None = None
        self._context = RunContext(self.store, cfg, self.prints, run)
        self.streams = GraphSelector(self._context, stack, self._moved)
        self._opens = SourceResolver(self._context, footage, allowed)
        self.did: dict[str, float] = {
            "videos_hashed": 0,
            "videos_decoded": 0,
            "seconds_decoded": 0.0,
            "clips_captioned": 0,
            "clips_cut": 0,
            "shards_written": 0,
        }
        self.ledger: dict[str, int] = {}

    def analyse(self) -> list[Analysis]:
        """Everything about every source, from finished stages or made now."""
        analyst = SourceAnalyzer(self.store.uri, self.cfg, self.prints)
        with ThreadPoolExecutor(READERS) as readers:
            found = list(readers.map(analyst.finished, self.footage.sources))
        pending = [source for source, known in zip(self.footage.sources, found, strict=True) if known is None]
        analyses = [known for known in found if known is not None]
        self.run.say(
            f"{format_count(len(self.footage.sources), 'source')}, "
            f"{format_count(len(self.footage.ignored), 'file')} ignored; {len(analyses)} known, "
            f"{len(pending)} to look at"
        )
        if pending:
            # The largest first: the end of a run then waits for a small one.
            pending.sort(key=lambda source: (-source.size_bytes, source.uri))
            decoded: set[str | None] = set()  # two sources of one video may be looked at in the same moment
            with self._bar_of(pending), closing(self._parts(pending)) as parts:
                for analysis in merge_units(parts):
                    analyses.append(analysis)
                    self.did["videos_hashed"] += analysis.hashed
                    self.did["seconds_decoded"] += analysis.decoded_s
                    decoded |= {analysis.video_id} if analysis.decoded_s else set()
            self.did["videos_decoded"] += len(decoded)
        return analyses

    @contextmanager
    def _bar_of(self, pending: Sequence[Source]) -> Iterator[None]:
        """A block in which sources are measured, with a bar that tells how far that is.

        Raises:
            KeyboardInterrupt: with what is kept.
        """
        with progress("curate: footage", total=0, unit="s") as bar:
            measuring = self._measuring = MeasureProgress(bar, len(pending))
            try:
                yield
            except KeyboardInterrupt:
                raise KeyboardInterrupt(measuring.summary()) from None
            finally:
                self._measuring = None

    def _moved(self, where: str, pulse: ProgressSnapshot) -> None:
        if (measuring := self._measuring) is not None:
            measuring.on_progress(where, pulse)

    def _parts(self, pending: Sequence[Source]) -> Generator[Analysis, None, None]:
        """An analysis for each unit of the sources' videos. Few files are looked at here: then it is known
        how much is to do."""
        size_bytes = sum(source.size_bytes for source in pending)
        if self.streams.on_ray or not is_small(self.cfg.ray, len(pending), size_bytes=size_bytes):
            yield from self.streams.require_ray().analyse(pending)
            return
        todo = []
        for part in self.streams.here.identify(pending):
            if part.finished or part.unit is None:
                yield part
            else:
                todo.append(part)
        lengths = {part.source_uri: part.duration_s or 0.0 for part in todo}
        if todo:
            yield from self.streams.select(len(todo), sum(lengths.values())).measure(todo)

    def finish(self, analyses: Sequence[Analysis]) -> Metrics:
        """Decide, caption, cut and commit; once more on top of the other's manifest if another run was
        first."""
        while True:
            try:
                return self._finish_once(analyses)
            except LostRaceError as error:
                self.run.say(f"{error}; going on from there")

    def _finish_once(self, analyses: Sequence[Analysis]) -> Metrics:
        base = read_base(self.store)
        recipe = load_recipe(self.cfg.recipe, base.recipe)
        assembly = assemble(self.footage, analyses, base)
        looks = self._looks(analyses, assembly, base.looks)
        self._opens.sources = {row["uri"]: row for row in assembly.sources}
        work = RunEffects(self._context, self.streams, self._opens, base, looks, self.did)
        candidates = work.score_dover(assembly.candidates)
        pairs = find_pairs(looks, [clip.measured for clip in candidates], self.cfg.dedup)
        failures = {row["clip_id"]: row for row in Stage(self.store, "cut", self.prints.cut).rows()}
        outcome = decide(candidates, recipe, pairs, work, failures, self.cfg.scores)
        ledger = assembly.ledger(outcome)
        ledger.check()
        self.ledger = ledger.as_dict()
        quarantine = [*assembly.quarantine, *map(asdict, outcome.quarantined)]
        self._report_quarantine(quarantine)
        index = [clip.row() for clip in outcome.clips]
        content = ManifestContent(
            index=index,
            sources=assembly.sources,
            quarantine=quarantine,
            looks=of_clips(looks, [row["clip_id"] for row in index]),
            shards=shards_of(outcome, base.shards),
            recipe=recipe,
            captions={"captioner": self.cfg.captioner.name, "fingerprint": self.prints.captions},
            settings=settings_of(self.cfg),
        )
        number = commit(self.store, base.number, content)
        kept = [row for row in index if row["status"] == KEPT]
        copied = sum(row["cut_method"] == "copy" for row in kept)
        heard = Counter(str(row["cut_sound"]).split(":")[0] for row in kept if row["cut_sound"])
        return {
            "manifest": number,
            "changed": number != base.number,
            "shards": len(content.shards),
            "hours": round(sum(row["duration_s"] for row in kept) / 3600, 6),
            "precision": self.cfg.precision,
            "clips_copied": copied,
            "clips_encoded": len(kept) - copied,
            "sound": {what: heard[what] for what in sorted(heard)},
            "clips_duplicate": sum(row["duplicate_of"] is not None for row in index),
        }

    def _looks(self, analyses: Sequence[Analysis], assembly: Assembly, carried: pa.Table) -> pa.Table:
        """What the clips look like: of this run's videos from their stage, of others as the dataset has
        it."""
        stage = Stage(self.store, "looks", self.prints.clips)
        videos = sorted({found.identity for found in analyses if found.clips})
        with ThreadPoolExecutor(READERS) as readers:
            made = [rows for rows in readers.map(stage.lookup, videos) if isinstance(rows, pa.Table)]
        fresh = pa.concat_tables([LOOKS.empty_table(), *made])
        old = carried.filter(pc.invert(pc.is_in(carried["clip_id"], fresh["clip_id"].combine_chunks())))
        clip_ids = pa.array([clip.clip_id for clip in assembly.candidates], pa.string())
        looks = of_clips(pa.concat_tables([fresh, old]), clip_ids)
        unseen = clip_ids.filter(pc.invert(pc.is_in(clip_ids, looks["clip_id"].combine_chunks())))
        if not len(unseen):
            return looks
        # Clips of a dataset that an early version made, which noted of none what it looks like.
        return pa.concat_tables([looks, conform_to_schema(pa.table({"clip_id": unseen}), LOOKS)])

    def _report_quarantine(self, quarantine: Sequence[Row]) -> None:
        for row in quarantine:
            logger.warning(
                "quarantined %(source_uri)s (clip %(clip_id)s) in %(stage)s: %(reason)s: %(message)s", row
            )
        gaps = [row for row in quarantine if is_gap(row)]
        if gaps:
            known_s = sum(row["end_s"] - row["start_s"] for row in gaps if row["end_s"] is not None)
            torn = len({row["source_uri"] for row in gaps})
            self.run.say(
                f"damage: {format_duration(known_s)} of {format_count(torn, 'video')} lost, in "
                f"{format_count(len(gaps), 'place')}: see the quarantine"
            )
        ours = sum(row["reason"] == Reason.INTERNAL for row in quarantine)
        if ours:
            self.run.say(
                f"{ours} sources or clips failed by a fault of ours (see {self.run.log_uri}); the next run "
                "tries them again"
            )


def settings_of(cfg: CurateConfig) -> dict[str, Any]:
    """What of a configuration changes what is made: all but where it is, which part, how it is divided, and
    the recipe."""
    return {name: value for name, value in asdict(cfg).items() if name not in NO_SETTINGS}
