"""One run of curation, from footage to the committed manifest: which work is pending, in which order, on which Ray.

In: the config of a run. Out: its ledger, and counts of what had to be done. Ray starts only if something is to be done;
a run that finds everything finished reads rows, decides and stops.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.cluster import connect
from jobs.curation.analysis import Analysis, Analyst
from jobs.curation.assemble import Assembly, add_text, assemble, decide, packables, packed, place
from jobs.curation.captions import BATCH_CLIPS
from jobs.curation.commit import commit, read_base, shards_of
from jobs.curation.config import CurateConfig
from jobs.curation.fingerprints import fingerprints
from jobs.curation.gather import whole
from jobs.curation.graph import Graph
from jobs.curation.matching import BATCH_CLIPS as MATCH_CLIPS
from jobs.progress import Bar, progress
from jobs.run_folder import Run
from pipelines.dedup.looks import LOOKS
from pipelines.dedup.pairs import find_pairs
from pipelines.errors import Reason
from pipelines.footage import Footage
from pipelines.manifest import LostRaceError
from pipelines.pack import Plan, plan_shards
from pipelines.recipe import Recipe, load_recipe
from pipelines.stages import Stage
from pipelines.store import open_store

logger = logging.getLogger(__name__)
_READERS = 8  # threads that look up finished work; they wait for storage, not for a core

Row = dict[str, Any]


class Curation:
    """One run. `did` counts what had to be done, `ledger` accounts for everything once `finish` returns.

    Args:
        cfg: of the run.
        footage: what it is about; none, to decide again over what the dataset has.
        run: where it speaks.
        stack: keeps Ray connected for as long as it is open.
    """

    def __init__(self, cfg: CurateConfig, footage: Footage, run: Run, stack: ExitStack):
        self.cfg, self.footage, self.run, self._stack = cfg, footage, run, stack
        self.store = open_store(cfg.dataset)
        self.prints = fingerprints(cfg)
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
        base = read_base(self.store)
        recipe = load_recipe(self.cfg.recipe, base.recipe)
        assembly = assemble(self.footage, analyses, base)
        looks = self._looks(analyses, assembly, base.looks)
        self._look_again(assembly.clips)
        self._decide(assembly, recipe, looks)
        assembly.drop(_failures(self._known_failures(), assembly.kept()), "cut")
        staying, plans = plan_shards(packables(assembly.kept(), self.prints), packed(base), self.cfg.shards)
        written = self._write(plans, assembly.kept())
        assembly.drop(_failures(written, assembly.kept()), "cut")
        place(assembly.clips, staying, written)
        ledger = assembly.ledger()
        ledger.check()
        self.ledger = ledger.as_dict()
        self._report_quarantine(assembly)
        shards = shards_of(assembly, base.shards, written)
        signed = {"captioner": self.cfg.captioner.name, "fingerprint": self.prints.captions}
        looks = _of(looks, [clip["clip_id"] for clip in assembly.clips])
        number = commit(self.store, base.number, assembly, looks, shards, recipe, signed, settings_of(self.cfg))
        hours = sum(clip["duration_s"] for clip in assembly.kept()) / 3600
        copied = sum(clip["cut_method"] == "copy" for clip in assembly.kept())
        return {
            "manifest": number,
            "changed": number != base.number,
            "shards": len(shards),
            "hours": round(hours, 6),
            "clips_copied": copied,
            "clips_encoded": len(assembly.kept()) - copied,
            "clips_duplicate": sum(clip["duplicate_of"] is not None for clip in assembly.clips),
        }

    def _looks(self, analyses: Sequence[Analysis], assembly: Assembly, carried: pa.Table) -> pa.Table:
        """What the clips look like: of this run's videos from their stage, of others as the dataset has it."""
        stage = Stage(self.store, "looks", self.prints.clips)
        videos = sorted({found.video_id for found in analyses if found.clips})
        with ThreadPoolExecutor(_READERS) as readers:
            made = [rows for rows in readers.map(stage.lookup, videos) if isinstance(rows, pa.Table)]
        fresh = pa.concat_tables([LOOKS.empty_table(), *made])
        old = carried.filter(pc.invert(pc.is_in(carried["clip_id"], fresh["clip_id"].combine_chunks())))
        looks = pa.concat_tables([fresh, old])
        return _of(looks, [clip["clip_id"] for clip in assembly.clips])

    def _decide(self, assembly: Assembly, recipe: Recipe, looks: pa.Table) -> None:
        """Recipe and copies decide, captions are made of what they keep, and what captions tell decides once more.

        A clip that falls for its caption may have stood for a copy, so all is decided again until nothing falls. No step
        looks at what earlier runs kept: the outcome depends on the clips and the recipe alone.
        """
        pairs = find_pairs(looks, assembly.clips, self.cfg.dedup)
        captions = {row["clip_id"]: row for row in self.captions.rows()}
        matches: dict[str, Row] = {}
        failed: dict[str, list[str]] = {}
        while True:
            decide(assembly.clips, recipe, pairs, failed)
            kept = assembly.kept()
            captions |= self._caption([clip for clip in kept if clip["clip_id"] not in captions])
            if bad := _failures(captions, kept):
                assembly.drop(bad, "captions")
                continue
            matches |= self._match([clip for clip in kept if clip["clip_id"] not in matches], captions, looks)
            fell = {c["clip_id"]: why for c in kept if (why := recipe.against(c | matches.get(c["clip_id"], {})))}
            if not fell:
                break
            failed |= fell
        add_text(assembly.clips, captions, matches, failed, self.cfg.scores)

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
        made = self._by_source("curate: captions", clips, self.graph.caption)
        self.did["clips_captioned"] += len(made)
        return made

    def _look_again(self, clips: Sequence[Row]) -> None:
        """DOVER's score of every clip, where its weights are given."""
        if self.prints.dover is None:
            return
        known = {row["clip_id"]: row for row in Stage(self.store, "dover", self.prints.dover).rows()}
        known |= self._by_source(
            "curate: DOVER", [clip for clip in clips if clip["clip_id"] not in known], self.graph.look_again
        )
        for clip in clips:
            row = known[clip["clip_id"]]
            clip["technical"] = row["technical"]
            clip["score_gaps"] = [gap for gap in clip["score_gaps"] if gap["score"] != "technical"]
            if row["technical"] is None:
                clip["score_gaps"].append({"score": "technical", "why": row["why"]})

    def _by_source(
        self, what: str, clips: Sequence[Row], stream: Callable[[Sequence[Row]], Iterator[list[Row]]]
    ) -> dict[str, Row]:
        """Clips through a stream whose batches are of one source each, whose index is read once; rows by clip id."""
        by_source: dict[str, list[Row]] = defaultdict(list)
        for clip in clips:
            by_source[clip["source_uri"]].append(clip)
        batches = [
            {"source_uri": uri, "clips": group[k : k + BATCH_CLIPS]}
            for uri, group in sorted(by_source.items())
            for k in range(0, len(group), BATCH_CLIPS)
        ]
        return self._streamed(what, batches, stream)

    def _match(self, clips: Sequence[Row], captions: Mapping[str, Row], looks: pa.Table) -> dict[str, Row]:
        """How well captions tell what their clips show, where a CLIP is configured; nothing is decoded."""
        if self.prints.match is None:
            return {}
        known = {row["clip_id"]: row for row in Stage(self.store, "match", self.prints.match).rows()}
        missing = [clip["clip_id"] for clip in clips if clip["clip_id"] not in known]
        seen = _of(looks, missing)
        seen = seen.filter(seen["clip_embedding"].is_valid()).select(["clip_id", "clip_embedding"])
        orders = [
            {
                "clip_id": row["clip_id"],
                "caption": captions[row["clip_id"]]["caption_short"],
                "embedding": row["clip_embedding"],
            }
            for row in seen.sort_by("clip_id").to_pylist()
        ]
        batches = [{"clips": orders[k : k + MATCH_CLIPS]} for k in range(0, len(orders), MATCH_CLIPS)]
        made = self._streamed("curate: matching captions", batches, self.graph.match)
        return {clip["clip_id"]: (known | made).get(clip["clip_id"], {}) for clip in clips}

    def _streamed(
        self, what: str, batches: Sequence[Row], stream: Callable[[Sequence[Row]], Iterator[list[Row]]]
    ) -> dict[str, Row]:
        made: dict[str, Row] = {}
        if batches:
            self._need_ray()
            with progress(what, total=sum(len(batch["clips"]) for batch in batches), unit="clips") as bar:
                for rows in stream(batches):
                    made |= {row["clip_id"]: row for row in rows}
                    bar.advance(len(rows))
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


def _of(looks: pa.Table, clip_ids: Sequence[str]) -> pa.Table:
    return looks.filter(pc.is_in(looks["clip_id"], pa.array(clip_ids, pa.string())))


def settings_of(cfg: CurateConfig) -> Row:
    """What of a configuration changes what is made: all but where it is, which part, how it is divided, and the recipe."""
    return {name: value for name, value in asdict(cfg).items() if name not in _NO_SETTINGS}


_NO_SETTINGS = ("footage", "dataset", "limit", "unit_s", "recipe", "ray")


def _failures(rows: Mapping[str, Row], clips: Sequence[Row]) -> dict[str, Row]:
    wanted = {clip["clip_id"] for clip in clips}
    return {clip_id: row for clip_id, row in rows.items() if clip_id in wanted and row["reason"]}
