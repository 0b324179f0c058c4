"""One run of curation, from footage to the committed manifest: which work is pending, in which order, on which Ray.

In: the config of a run. Out: its ledger, and counts of what had to be done. Ray starts only if something is to be done;
a run that finds everything finished reads rows, decides and stops.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from jobs.cluster import connect
from jobs.curation.analysis import Analysis, Analyst
from jobs.curation.assemble import Assembly, add_captions, assemble, decide, packables, packed, place
from jobs.curation.captions import BATCH_CLIPS
from jobs.curation.commit import commit, read_base, shards_of
from jobs.curation.config import CurateConfig
from jobs.curation.fingerprints import fingerprints
from jobs.curation.gather import whole
from jobs.curation.graph import Graph
from jobs.progress import Bar, progress
from jobs.run_folder import Run
from pipelines.errors import Reason
from pipelines.footage import find_footage
from pipelines.manifest import LostRaceError
from pipelines.pack import Plan, plan_shards
from pipelines.recipe import load_recipe
from pipelines.stages import Stage
from pipelines.store import open_store

logger = logging.getLogger(__name__)
_READERS = 8  # threads that look up finished work; they wait for storage, not for a core

Row = dict[str, Any]


class Curation:
    """One run. `did` counts what had to be done, `ledger` accounts for everything once `finish` returns.

    Args:
        cfg: of the run.
        run: where it speaks.
        stack: keeps Ray connected for as long as it is open.
    """

    def __init__(self, cfg: CurateConfig, run: Run, stack: ExitStack):
        self.cfg, self.run, self._stack = cfg, run, stack
        self.store = open_store(cfg.dataset)
        self.prints = fingerprints(cfg)
        self.recipe = load_recipe(cfg.recipe)
        self.footage = find_footage(cfg.footage, cfg.limit)
        self.graph = Graph(self.store.uri, cfg, self.prints)
        self.captions = Stage(self.store, "captions", self.prints.captions)
        self.cut_failures = Stage(self.store, "cut", self.prints.cut)
        self.did = {
            "videos_hashed": 0,
            "videos_decoded": 0,
            "clips_captioned": 0,
            "clips_cut": 0,
            "shards_written": 0,
        }
        self.ledger: dict[str, int] = {}
        self._ray = False

    def analyse(self) -> list[Analysis]:
        """Everything about every source, from finished stages or made now."""
        analyst = Analyst(self.store.uri, self.cfg, self.prints)
        with ThreadPoolExecutor(_READERS) as readers:
            found = list(readers.map(analyst.finished, self.footage.sources))
        pending = [source for source, known in zip(self.footage.sources, found, strict=True) if known is None]
        analyses = [known for known in found if known is not None]
        self.run.say(
            f"{len(self.footage.sources)} sources, {len(self.footage.ignored)} files ignored; "
            f"{len(analyses)} sources are known, {len(pending)} to decode"
        )
        if pending:
            self._need_ray()
            with progress("curate: videos", total=len(pending), unit="videos") as bar:
                for analysis in whole(self._noted(self.graph.analyse(pending), bar)):
                    analyses.append(analysis)
                    self.did["videos_hashed"] += analysis.hashed
                    self.did["videos_decoded"] += analysis.decoded_s > 0
                    bar.advance(1)
        return analyses

    def _noted(self, parts: Iterable[Analysis], bar: Bar) -> Iterator[Analysis]:
        """The parts as they come, with what was decoded beside the bar: one long video is many parts."""
        decoded_s = 0.0
        for part in parts:
            decoded_s += part.decoded_s
            bar.update(bar.done, note=f"{decoded_s / 60:.1f} min decoded")
            yield part

    def finish(self, analyses: Sequence[Analysis]) -> Row:
        """Decide, caption, cut and commit; once more on top of the other's manifest if another run was first."""
        while True:
            try:
                return self._finish_once(analyses)
            except LostRaceError as error:
                self.run.say(f"{error}; going on from there")

    def _finish_once(self, analyses: Sequence[Analysis]) -> Row:
        base, rows, known = read_base(self.store)
        assembly = assemble(self.footage, analyses, rows)
        decide(assembly.clips, self.recipe)
        captions = {row["clip_id"]: row for row in self.captions.rows()}
        captions |= self._caption(add_captions(assembly.clips, captions))
        add_captions(assembly.clips, captions)
        assembly.drop(_failures(captions, assembly.kept()), "captions")
        assembly.drop(_failures(self._known_failures(), assembly.kept()), "cut")
        staying, plans = plan_shards(packables(assembly.kept(), self.prints), packed(rows), self.cfg.shards)
        written = self._write(plans, assembly.kept())
        assembly.drop(_failures(written, assembly.kept()), "cut")
        place(assembly.clips, staying, written)
        ledger = assembly.ledger()
        ledger.check()
        self.ledger = ledger.as_dict()
        self._report_quarantine(assembly)
        shards = shards_of(assembly, known, written)
        signed = {"captioner": self.cfg.captioner.name, "fingerprint": self.prints.captions}
        number = commit(self.store, base, assembly, shards, self.recipe, signed)
        hours = sum(clip["duration_s"] for clip in assembly.kept()) / 3600
        copied = sum(clip["cut_method"] == "copy" for clip in assembly.kept())
        return {
            "manifest": number,
            "changed": number != base,
            "shards": len(shards),
            "hours": round(hours, 6),
            "clips_copied": copied,
            "clips_encoded": len(assembly.kept()) - copied,
        }

    def _report_quarantine(self, assembly: Assembly) -> None:
        for row in assembly.quarantine:
            logger.warning("quarantined %(source_uri)s (clip %(clip_id)s) in %(stage)s: %(reason)s: %(message)s", row)
        ours = sum(row["reason"] == Reason.INTERNAL for row in assembly.quarantine)
        if ours:
            log = self.run.folder / "log"
            self.run.say(
                f"{ours} sources or clips failed by a fault of ours (see {log}); the next run tries them again"
            )

    def _caption(self, clips: Sequence[Row]) -> dict[str, Row]:
        by_source: dict[str, list[Row]] = defaultdict(list)
        for clip in clips:
            by_source[clip["source_uri"]].append(clip)
        batches = [
            {"source_uri": uri, "clips": group[k : k + BATCH_CLIPS]}
            for uri, group in sorted(by_source.items())
            for k in range(0, len(group), BATCH_CLIPS)
        ]
        made: dict[str, Row] = {}
        if batches:
            self._need_ray()
            with progress("curate: captions", total=len(clips), unit="clips") as bar:
                for rows in self.graph.caption(batches):
                    made |= {row["clip_id"]: row for row in rows}
                    bar.advance(len(rows))
        self.did["clips_captioned"] += len(made)
        return made

    def _known_failures(self) -> dict[str, Row]:
        return {row["clip_id"]: row for row in self.cut_failures.rows()}

    def _write(self, plans: Sequence[Plan], kept: Sequence[Row]) -> dict[str, Row]:
        clips = {clip["clip_id"]: clip for clip in kept}
        orders = [
            {"unit": plan.unit, "bucket": plan.bucket, "clips": [clips[clip_id] for clip_id in plan.clip_ids]}
            for plan in plans
        ]
        written: dict[str, Row] = {}
        if orders:
            self._need_ray()
            with progress("curate: clips", total=sum(len(order["clips"]) for order in orders), unit="clips") as bar:
                for done in self.graph.write(orders):
                    written |= {row["clip_id"]: row for row in done["rows"]}
                    self.did["clips_cut"] += done["cut"]
                    bar.advance(len(done["rows"]))
        self.did["shards_written"] += len(orders)
        return written

    def _need_ray(self) -> None:
        if not self._ray:
            self._stack.enter_context(connect(self.cfg.ray))
            self._ray = True


def _failures(rows: Mapping[str, Row], clips: Sequence[Row]) -> dict[str, Row]:
    wanted = {clip["clip_id"] for clip in clips}
    return {clip_id: row for clip_id, row in rows.items() if clip_id in wanted and row["reason"]}
