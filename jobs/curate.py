"""`rushes curate`: footage → dataset. Finds shots, scores and decides, captions, cuts, and commits one manifest.

In: footage and a dataset (new, or one to add to). Out: the next manifest of the dataset, or none if nothing changed.
What was finished before, by this run or any other with the same settings, is not done again.
"""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

from jobs.cluster import connect
from jobs.curation.config import CurateConfig
from jobs.progress import progress
from jobs.run_folder import Run, new_run_folder
from pipelines.footage import check_footage, find_footage
from pipelines.recipe import load_recipe
from pipelines.store import open_store

_READERS = 8  # threads that look up finished work; they wait for storage, not for a core


def check(cfg: CurateConfig) -> None:
    """The footage is there, the dataset's URI is one, recipe and captioner are known."""
    from recaption.base import check_captioner

    check_footage(cfg.footage)
    open_store(cfg.dataset)
    load_recipe(cfg.recipe, cfg.clips.min_s)
    check_captioner(cfg.captioner)


def run_folder(cfg: CurateConfig) -> Path:
    return new_run_folder(cfg.dataset, "curate")


def run(cfg: CurateConfig, run: Run) -> dict[str, Any]:
    """Curate. Returns the run's metrics, which are also in metrics.json beside ledger.json.

    Raises:
        LedgerError: something was lost or counted twice.
    """
    started = monotonic()
    with ExitStack() as stack:
        curation = _Curation(cfg, run, stack)
        analyses = curation.analyse()
        result = curation.finish(analyses)
    metrics = result | curation.did | {"seconds": round(monotonic() - started, 2)}
    run.write_json("ledger.json", curation.ledger)
    run.write_json("metrics.json", metrics)
    _summary(cfg, run, curation.ledger, metrics)
    return metrics


class _Curation:
    """One run: what it was asked, what it did, and Ray, which starts only if there is something to do."""

    def __init__(self, cfg: CurateConfig, run: Run, stack: ExitStack):
        from jobs.curation.fingerprints import fingerprints
        from jobs.curation.graph import Graph
        from pipelines.stages import Stage

        self.cfg, self.run, self._stack = cfg, run, stack
        self.store = open_store(cfg.dataset)
        self.prints = fingerprints(cfg)
        self.recipe = load_recipe(cfg.recipe, cfg.clips.min_s)
        self.footage = find_footage(cfg.footage, cfg.limit)
        self.graph = Graph(self.store.uri, cfg, self.prints)
        self.captions = Stage(self.store, "captions", self.prints.captions)
        self.cut_failures = Stage(self.store, "cut", self.prints.cut)
        self.did = {
            "videos_hashed": 0,
            "videos_decoded": 0,
            "clips_captioned": 0,
            "clips_encoded": 0,
            "shards_written": 0,
        }
        self.ledger: dict[str, int] = {}
        self._ray = False

    def analyse(self) -> list[Any]:
        """Everything about every source, from finished stages or made now."""
        from jobs.curation.analysis import Analyst

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
                for analysis in self.graph.analyse(pending):
                    analyses.append(analysis)
                    self.did["videos_hashed"] += analysis.hashed
                    self.did["videos_decoded"] += analysis.decoded
                    bar.advance(1)
        return analyses

    def finish(self, analyses: Sequence[Any]) -> dict[str, Any]:
        """Decide, caption, cut and commit; once more on top of the other's manifest if another run was first."""
        from pipelines.manifest import LostRaceError

        while True:
            try:
                return self._finish_once(analyses)
            except LostRaceError as error:
                self.run.say(f"{error}; going on from there")

    def _finish_once(self, analyses: Sequence[Any]) -> dict[str, Any]:
        from jobs.curation.assemble import add_captions, assemble, decide, packables, packed, place
        from jobs.curation.commit import commit, read_base, shards_of
        from pipelines.pack import plan_shards

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
        shards = shards_of(assembly, known, written)
        signed = {"captioner": self.cfg.captioner.name, "fingerprint": self.prints.captions}
        number = commit(self.store, base, assembly, shards, self.recipe, signed)
        hours = sum(clip["duration_s"] for clip in assembly.kept()) / 3600
        return {"manifest": number, "changed": number != base, "shards": len(shards), "hours": round(hours, 6)}

    def _caption(self, clips: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        from jobs.curation.captions import BATCH_CLIPS

        by_source: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for clip in clips:
            by_source[clip["source_uri"]].append(clip)
        batches = [
            {"source_uri": uri, "clips": group[k : k + BATCH_CLIPS]}
            for uri, group in sorted(by_source.items())
            for k in range(0, len(group), BATCH_CLIPS)
        ]
        made: dict[str, dict[str, Any]] = {}
        if batches:
            self._need_ray()
            with progress("curate: captions", total=len(clips), unit="clips") as bar:
                for rows in self.graph.caption(batches):
                    made |= {row["clip_id"]: row for row in rows}
                    bar.advance(len(rows))
        self.did["clips_captioned"] += len(made)
        return made

    def _known_failures(self) -> dict[str, dict[str, Any]]:
        return {row["clip_id"]: row for row in self.cut_failures.rows()}

    def _write(self, plans: Sequence[Any], kept: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        clips = {clip["clip_id"]: clip for clip in kept}
        orders = [
            {"unit": plan.unit, "bucket": plan.bucket, "clips": [clips[clip_id] for clip_id in plan.clip_ids]}
            for plan in plans
        ]
        written: dict[str, dict[str, Any]] = {}
        if orders:
            self._need_ray()
            with progress("curate: clips", total=sum(len(order["clips"]) for order in orders), unit="clips") as bar:
                for done in self.graph.write(orders):
                    written |= {row["clip_id"]: row for row in done["rows"]}
                    self.did["clips_encoded"] += done["encoded"]
                    bar.advance(len(done["rows"]))
        self.did["shards_written"] += len(orders)
        return written

    def _need_ray(self) -> None:
        if not self._ray:
            self._stack.enter_context(connect(self.cfg.ray))
            self._ray = True


def _failures(rows: dict[str, dict[str, Any]], clips: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    wanted = {clip["clip_id"] for clip in clips}
    return {clip_id: row for clip_id, row in rows.items() if clip_id in wanted and row["reason"]}


def _summary(cfg: CurateConfig, run: Run, ledger: dict[str, int], metrics: dict[str, Any]) -> None:
    run.say(
        f"sources {ledger['sources']} = videos {ledger['videos']} + duplicates {ledger['duplicates']} + "
        f"ignored {ledger['ignored']} + quarantined {ledger['sources_quarantined']}"
    )
    run.say(
        f"clips {ledger['clips']} = kept {ledger['clips_kept']} + rejected {ledger['clips_rejected']} + "
        f"quarantined {ledger['clips_quarantined']}"
    )
    run.say(
        f"decoded {metrics['videos_decoded']} videos, captioned {metrics['clips_captioned']} clips, "
        f"encoded {metrics['clips_encoded']} clips in {metrics['seconds']:.1f} s"
    )
    news = (
        f"manifest {metrics['manifest']}" if metrics["changed"] else f"nothing new since manifest {metrics['manifest']}"
    )
    run.say(f"dataset {cfg.dataset}: {news}, {metrics['shards']} shards, {metrics['hours'] * 3600:.1f} s of clips")
    run.say(f"see it with: rushes inspect dataset={cfg.dataset}")
