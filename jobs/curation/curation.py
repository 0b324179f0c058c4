"""One run of curation, from footage to the committed manifest: which work is pending, in which order, on which Ray.

In: the config of a run. Out: its ledger, and counts of what had to be done. Ray starts only if much is to be done; little is
done here, and a run that finds everything finished reads rows, decides and stops.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.cli.fields import with_absolute_paths
from jobs.cli.progress import progress
from jobs.cli.run_folder import Run
from jobs.cli.text import count, length
from jobs.cluster.connect import connect
from jobs.cluster.here import footage_s, is_small
from jobs.cluster.watch import Pulse
from jobs.curation.analysis import Analysis, Analyst
from jobs.curation.assemble import (
    Assembly,
    Base,
    add_text,
    assemble,
    decide,
    of_whole_shards,
    packables,
    place,
    take_over,
)
from jobs.curation.assemble import packed as packed_shards
from jobs.curation.captions import BATCH_CLIPS, BLIND_CLIPS, CaptionWorker, shown
from jobs.curation.commit import commit, read_base, shards_of
from jobs.curation.config import NO_SETTINGS, CurateConfig
from jobs.curation.fingerprints import fingerprints
from jobs.curation.graph import Graph
from jobs.curation.here import Here
from jobs.curation.matching import BATCH_CLIPS as MATCH_CLIPS
from jobs.curation.matching import packed
from jobs.curation.measuring import Measuring, whole
from jobs.curation.shard_writer import content_of, has_bytes
from pipelines import drill
from pipelines.dataset.manifest import LostRaceError, current_settings
from pipelines.dataset.pack import Plan, plan_shards, shard_id
from pipelines.dataset.schema import CAPTIONS, REJECTED, completed, is_gap
from pipelines.dataset.stages import Stage
from pipelines.dedup.looks import LOOKS
from pipelines.dedup.pairs import Pair, find_pairs
from pipelines.errors import Reason
from pipelines.footage.given import Given
from pipelines.footage.listing import Footage, found_again
from pipelines.precision import AUTO
from pipelines.precision import decide as decide_precision
from pipelines.recipes.recipe import Recipe, load_recipe
from pipelines.records import Source
from pipelines.scores.registry import CAPTIONED, UNAVAILABLE
from pipelines.storage.open_store import open_store

logger = logging.getLogger(__name__)
NOT_GIVEN = "nobody gave this file here, only the dataset names it; give the footage with footage="
_READERS = 8  # threads that look up finished work; they wait for storage, not for a core

Row = dict[str, Any]


class Curation:
    """One run. `did` counts what had to be done, `ledger` accounts for everything once `finish` returns.

    Args:
        cfg: of the run.
        footage: what it is about; none, to decide again over what the dataset has.
        run: where it speaks.
        stack: keeps Ray connected for as long as it is open.
        given: footage that rows of the dataset may name besides.
    """

    def __init__(self, cfg: CurateConfig, footage: Footage, run: Run, stack: ExitStack, given: Given):
        drill.lead()
        self.store = open_store(cfg.dataset)
        if (
            footage.sources or cfg.precision == AUTO
        ):  # else no network computes in it; and to ask what is fast takes seconds
            precision = decide_precision(cfg.precision, earlier=current_settings(self.store).get("precision"))
            run.say(f"{run.job} {precision}")
            cfg = replace(cfg, precision=precision.name)
        cfg = with_absolute_paths(cfg)
        self.cfg, self.footage, self.run, self._stack = cfg, footage, run, stack
        self._given, self._listed = given, {source.uri for source in footage.sources}
        self.prints = fingerprints(cfg)
        self._measuring: Measuring | None = None
        args = (self.store.uri, cfg, self.prints, run.say)
        self.graph = Graph(*args, lambda pulse: self._moved("Ray", pulse))
        self.here = Here(*args, lambda pulse: self._moved("here", pulse))
        self.captions = Stage(self.store, "captions", self.prints.captions)
        self.cut_failures = Stage(self.store, "cut", self.prints.cut)
        self.did = {
            "videos_hashed": 0,
            "videos_decoded": 0,
            "seconds_decoded": 0.0,
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
            f"{count(len(self.footage.sources), 'source')}, {count(len(self.footage.ignored), 'file')} ignored; "
            f"{len(analyses)} known, {len(pending)} to look at"
        )
        if pending:
            # The largest first: the end of a run then waits for a small one.
            pending.sort(key=lambda source: (-source.size_bytes, source.uri))
            decoded: set[str | None] = set()  # two sources of one video may be looked at in the same moment
            with self._bar_of(pending), closing(self._parts(pending)) as parts:
                for analysis in whole(parts):
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
            measuring = self._measuring = Measuring(bar, len(pending))
            try:
                yield
            except KeyboardInterrupt:
                raise KeyboardInterrupt(measuring.kept()) from None
            finally:
                self._measuring = None

    def _moved(self, where: str, pulse: Pulse) -> None:
        if (measuring := self._measuring) is not None:
            measuring.moved(where, pulse)

    def _parts(self, pending: Sequence[Source]) -> Iterator[Analysis]:
        """An analysis for each unit of the sources' videos. Few files are looked at here: then it is known how much is to do."""
        if self._ray or not is_small(self.cfg.ray, len(pending), size_bytes=sum(s.size_bytes for s in pending)):
            self._need_ray()
            yield from self.graph.analyse(pending)
            return
        todo = []
        for part in self.here.identify(pending):
            if part.finished or part.unit is None:
                yield part
            else:
                todo.append(part)
        lengths = {part.source_uri: part.duration_s or 0.0 for part in todo}
        if todo:
            yield from self._streams(len(todo), sum(lengths.values())).measure(todo)

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
        self._look_again(assembly)
        staying, written = self._decide_and_write(assembly, recipe, looks, base)
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
        heard = Counter(str(clip["cut_sound"]).split(":")[0] for clip in assembly.kept() if clip["cut_sound"])
        return {
            "manifest": number,
            "changed": number != base.number,
            "shards": len(shards),
            "hours": round(hours, 6),
            "precision": self.cfg.precision,
            "clips_copied": copied,
            "clips_encoded": len(assembly.kept()) - copied,
            "sound": {what: heard[what] for what in sorted(heard)},
            "clips_duplicate": sum(clip["duplicate_of"] is not None for clip in assembly.clips),
        }

    def _decide_and_write(
        self, assembly: Assembly, recipe: Recipe, looks: pa.Table, base: Base
    ) -> tuple[list[str], dict[str, Row]]:
        """Which shards stay, and where the clips lie that were written now.

        A clip that can't be cut may have stood for a copy: all is decided again then, without it. One that can never be cut is
        left out of the plan, too, so that this run's shards are those that a run would make that knew it from the start.
        """
        pairs = find_pairs(looks, assembly.clips, self.cfg.dedup)
        failed: dict[str, list[str]] = {}
        self._set_aside(assembly, _failures(self._known_failures(), assembly.clips), "cut", failed)
        written: dict[str, Row] = {}
        while True:
            self._decide(assembly, recipe, looks, pairs, failed)
            written = of_whole_shards(written, {clip["clip_id"] for clip in assembly.kept()})
            kept = [clip for clip in assembly.kept() if clip["clip_id"] not in written]
            staying, plans = plan_shards(
                packables(kept, self.prints), packed_shards(base, self.prints), self.cfg.shards
            )
            written |= self._write(plans, assembly)
            bad = _failures(written, assembly.kept())
            stood_for = {clip["duplicate_of"] for clip in assembly.clips}
            self._set_aside(assembly, bad, "cut", failed)
            written = {clip_id: row for clip_id, row in written.items() if clip_id not in bad}
            lasting = any(Reason(row["reason"]).lasting for row in bad.values())
            if lasting:
                take_over(assembly.clips, written)
                written = {}
            if not lasting and not bad.keys() & stood_for:
                for clip in assembly.kept():
                    if clip["clip_id"] in failed:
                        clip.update(status=REJECTED, reject_reasons=failed[clip["clip_id"]])
                return staying, written

    def _looks(self, analyses: Sequence[Analysis], assembly: Assembly, carried: pa.Table) -> pa.Table:
        """What the clips look like: of this run's videos from their stage, of others as the dataset has it."""
        stage = Stage(self.store, "looks", self.prints.clips)
        videos = sorted({found.video_id for found in analyses if found.clips})
        with ThreadPoolExecutor(_READERS) as readers:
            made = [rows for rows in readers.map(stage.lookup, videos) if isinstance(rows, pa.Table)]
        fresh = pa.concat_tables([LOOKS.empty_table(), *made])
        old = carried.filter(pc.invert(pc.is_in(carried["clip_id"], fresh["clip_id"].combine_chunks())))
        clip_ids = pa.array([clip["clip_id"] for clip in assembly.clips], pa.string())
        looks = _of(pa.concat_tables([fresh, old]), clip_ids)
        unseen = clip_ids.filter(pc.invert(pc.is_in(clip_ids, looks["clip_id"].combine_chunks())))
        if not len(unseen):
            return looks
        # Clips of a dataset that an early version made, which noted of none what it looks like.
        return pa.concat_tables([looks, completed(pa.table({"clip_id": unseen}), LOOKS)])

    def _decide(
        self,
        assembly: Assembly,
        recipe: Recipe,
        looks: pa.Table,
        pairs: Sequence[Pair],
        failed: dict[str, list[str]],
    ) -> None:
        """Recipe and copies decide, captions are made of what they keep, and what captions tell decides once more.

        A clip that falls for its caption may have stood for a copy, so all is decided again until nothing falls. No step
        looks at what earlier runs kept: the outcome depends on the clips and the recipe alone.
        """
        stored = {(row["clip_id"], row["shown"]): row for row in self.captions.rows()}
        # Of what this run says nothing of, who has captions keeps them, whoever wrote them: its footage may be gone.
        kept_as_is = [c for c in assembly.clips if c.get("carried") and c["caption_short"] is not None]
        captions: dict[str, Row] = {clip["clip_id"]: _captioned(clip) for clip in kept_as_is}
        matches: dict[str, Row] = {}
        while True:
            decide(assembly.clips, recipe, pairs, failed)
            kept = assembly.kept()
            wanted = [clip for clip in kept if clip["clip_id"] not in captions]
            known = {clip["clip_id"]: stored.get((clip["clip_id"], shown(clip, self.cfg.captioner))) for clip in wanted}
            captions |= {clip_id: row for clip_id, row in known.items() if row}
            captions |= self._caption([clip for clip in wanted if not known[clip["clip_id"]]], assembly)
            if bad := _failures(captions, kept):
                self._set_aside(assembly, bad, "captions", failed)
                continue
            matches |= self._match([clip for clip in kept if clip["clip_id"] not in matches], captions, looks)
            fell = {c["clip_id"]: why for c in kept if (why := recipe.against(c | matches[c["clip_id"]]))}
            if not fell:
                break
            failed |= fell
        add_text(assembly.clips, captions, matches, failed, self.cfg.scores)

    def _set_aside(
        self, assembly: Assembly, failures: Mapping[str, Row], stage: str, failed: dict[str, list[str]]
    ) -> None:
        failed |= {clip_id: [UNAVAILABLE] for clip_id in assembly.set_aside(failures, stage)}

    def _report_quarantine(self, assembly: Assembly) -> None:
        for row in assembly.quarantine:
            logger.warning("quarantined %(source_uri)s (clip %(clip_id)s) in %(stage)s: %(reason)s: %(message)s", row)
        gaps = [row for row in assembly.quarantine if is_gap(row)]
        if gaps:
            known_s = sum(row["end_s"] - row["start_s"] for row in gaps if row["end_s"] is not None)
            torn = len({row["source_uri"] for row in gaps})
            self.run.say(
                f"damage: {length(known_s)} of {count(torn, 'video')} lost, in {count(len(gaps), 'place')}: see the quarantine"
            )
        ours = sum(row["reason"] == Reason.INTERNAL for row in assembly.quarantine)
        if ours:
            self.run.say(
                f"{ours} sources or clips failed by a fault of ours (see {self.run.log_uri}); the next run tries them again"
            )

    def _caption(self, clips: Sequence[Row], assembly: Assembly) -> dict[str, Row]:
        """Caption rows by clip id. Whoever need not be looked at is captioned here, without Ray and without its source."""
        worker = CaptionWorker(self.store.uri, self.cfg, self.prints.captions)
        blind = [clip for clip in clips if worker.blind(clip)]
        made: dict[str, Row] = {}
        for k in range(0, len(blind), BLIND_CLIPS):
            rows = worker({"source_uri": None, "clips": blind[k : k + BLIND_CLIPS]})["rows"]
            made |= {row["clip_id"]: row for row in rows}
        looked_at = [clip for clip in clips if not worker.blind(clip)]
        gone = self._gone(looked_at, assembly)
        made |= self._by_source(
            "curate: captions", [clip for clip in looked_at if clip["clip_id"] not in gone], "caption"
        )
        self.did["clips_captioned"] += sum(not row["reason"] for row in made.values())
        return made | gone

    def _gone(self, clips: Sequence[Row], assembly: Assembly) -> dict[str, Row]:
        """Clips whose source was not given, is not there, or is not what they were measured on: rows that say so, by clip id.

        The others learn what their source is now, `as_listed`: who opens it takes nothing else for it.
        """
        known = {row["uri"]: row for row in assembly.sources}
        uris = sorted({clip["source_uri"] for clip in clips})
        with ThreadPoolExecutor(_READERS) as readers:
            now = dict(zip(uris, readers.map(lambda uri: self._found_again(known[uri]), uris), strict=True))
        if not_given := sum(found == NOT_GIVEN for found in now.values()):
            self.run.say(f"{count(not_given, 'source')} not opened, as nobody gave them here: give them with footage=")
        gone: dict[str, Row] = {}
        for clip in clips:
            found = now[clip["source_uri"]]
            if isinstance(found, str):
                row = {"clip_id": clip["clip_id"], "reason": Reason.MISSING.value, "message": found}
                gone[clip["clip_id"]] = row
            else:
                clip["as_listed"] = found
        return gone

    def _found_again(self, source: Row) -> tuple[int, str] | str:
        """See `found_again`; what only the dataset names is not looked for."""
        if source["uri"] not in self._listed and not self._given.opens(source["uri"]):
            return NOT_GIVEN
        return found_again(source, self.cfg.limits)

    def _look_again(self, assembly: Assembly) -> None:
        """DOVER's score of every clip, where its weights are given."""
        if self.prints.dover is None:
            return
        clips = assembly.clips
        known = {row["clip_id"]: row for row in Stage(self.store, "dover", self.prints.dover).rows()}
        wanted = [clip for clip in clips if clip["clip_id"] not in known]
        gone = self._gone(wanted, assembly)
        known |= {clip_id: {"technical": None, "why": row["message"]} for clip_id, row in gone.items()}
        known |= self._by_source("curate: DOVER", [c for c in wanted if c["clip_id"] not in gone], "look_again")
        for clip in clips:
            row = known[clip["clip_id"]]
            clip["technical"] = row["technical"]
            clip["score_gaps"] = [gap for gap in clip["score_gaps"] if gap["score"] != "technical"]
            if row["technical"] is None:
                clip["score_gaps"].append({"score": "technical", "why": row["why"]})

    def _by_source(self, what: str, clips: Sequence[Row], stream: str) -> dict[str, Row]:
        """Clips through a stream whose batches are of one source each, whose index is read once; rows by clip id."""
        by_source: dict[str, list[Row]] = defaultdict(list)
        for clip in clips:
            by_source[clip["source_uri"]].append(clip)
        batches = [
            {"source_uri": uri, "clips": group[k : k + BATCH_CLIPS]}
            for uri, group in sorted(by_source.items())
            for k in range(0, len(group), BATCH_CLIPS)
        ]
        return self._streamed(what, batches, stream, footage_s(clips))

    def _match(self, clips: Sequence[Row], captions: Mapping[str, Row], looks: pa.Table) -> dict[str, Row]:
        """How well captions tell what their clips show, where a CLIP is configured; nothing is decoded.

        A clip that another CLIP saw keeps what that one said of the same caption: embeddings of two can't be compared.
        """
        told = {clip["clip_id"]: captions[clip["clip_id"]]["caption_short"] for clip in clips}
        matches: dict[str, Row] = {
            clip["clip_id"]: {
                name: clip[name] if clip.get("caption_short") == told[clip["clip_id"]] else None for name in CAPTIONED
            }
            for clip in clips
        }
        if self.prints.match is None:
            return matches
        stage = Stage(self.store, "match", self.prints.match)
        known = {row["clip_id"]: row for row in stage.rows() if told.get(row["clip_id"]) == row["caption"]}
        seen = _of(looks, [clip_id for clip_id in told if clip_id not in known])
        same = pc.equal(seen["clip_fingerprint"], self.prints.measured["clip"])
        seen = seen.filter(pc.and_(same, seen["clip_embedding"].is_valid())).sort_by("clip_id")
        orders = [
            {
                "clip_id": clip_id.as_py(),
                "caption": told[clip_id.as_py()],
                "embedding": packed(embedding.values.to_numpy(False)),
            }
            for clip_id, embedding in zip(seen["clip_id"], seen["clip_embedding"], strict=True)
        ]
        batches = [{"clips": orders[k : k + MATCH_CLIPS]} for k in range(0, len(orders), MATCH_CLIPS)]
        known |= self._streamed("curate: matching captions", batches, "match")
        return matches | {clip_id: {"text_match": row["text_match"]} for clip_id, row in known.items()}

    def _streamed(self, what: str, batches: Sequence[Row], stream: str, footage_s: float = 0.0) -> dict[str, Row]:
        """Batches of clips through a stream, by its name; rows by clip id."""
        made: dict[str, Row] = {}
        if batches:
            streams = self._streams(len(batches), footage_s)
            with (
                progress(what, total=sum(len(batch["clips"]) for batch in batches), unit="clips") as bar,
                closing(getattr(streams, stream)(batches)) as done,
            ):
                for rows in done:
                    made |= {row["clip_id"]: row for row in rows}
                    bar.advance(len(rows))
        return made

    def _known_failures(self) -> dict[str, Row]:
        return {row["clip_id"]: row for row in self.cut_failures.rows()}

    def _write(self, plans: Sequence[Plan], assembly: Assembly) -> dict[str, Row]:
        clips = {clip["clip_id"]: clip for clip in assembly.kept()}
        wanted = [clips[clip_id] for plan in plans for clip_id in plan.clip_ids]
        cut = [clip for clip in wanted if not has_bytes(clip, self.prints)]
        written = self._gone(cut, assembly)
        written |= {clip["clip_id"]: _unchecked(clip) for clip in cut if clip["frames_hash"] is None}
        orders = []
        for plan in plans:
            there = [clips[clip_id] for clip_id in plan.clip_ids if clip_id not in written]
            if there:  # named by what they hold: a unit must not stand for clips whose source was not there
                unit = shard_id([(clip["clip_id"], content_of(clip, self.prints)) for clip in there])
                orders.append({"unit": unit, "bucket": plan.bucket, "clips": there})
        # The longest first: else the last to be taken up may be the one that all the others have to be waited for with.
        orders.sort(key=lambda order: -sum(clip["duration_s"] for clip in order["clips"]))
        if orders:
            new = [clip for order in orders for clip in order["clips"] if not has_bytes(clip, self.prints)]
            streams = self._streams(len(orders), footage_s(new))
            with (
                progress("curate: clips", total=sum(len(order["clips"]) for order in orders), unit="clips") as bar,
                closing(streams.write(orders)) as shards,
            ):
                for done in shards:
                    written |= {row["clip_id"]: row for row in done["rows"]}
                    self.did["clips_cut"] += done["cut"]
                    bar.advance(len(done["rows"]))
        self.did["shards_written"] += len(orders)
        return written

    def _streams(self, items: int, footage_s: float) -> Graph | Here:
        """Where a piece of work is done: here, if it is small; else on Ray, and from then on all of it."""
        if not self._ray and is_small(self.cfg.ray, items, footage_s):
            return self.here
        self._need_ray()
        return self.graph

    def _need_ray(self) -> None:
        if not self._ray:
            self.run.say(
                "starting Ray" if self.cfg.ray.address is None else f"joining the Ray at {self.cfg.ray.address}"
            )
            self._stack.enter_context(connect(self.cfg.ray))
            self._ray = True


def _of(looks: pa.Table, clip_ids: Sequence[str]) -> pa.Table:
    return looks.filter(pc.is_in(looks["clip_id"], pa.array(clip_ids, pa.string())))


def _captioned(clip: Row) -> Row:
    """The caption row of a clip that has captions."""
    return {name: clip.get(name) for name in CAPTIONS.names}


def _unchecked(clip: Row) -> Row:
    """Why a clip can't be cut whose frames nobody knows."""
    message = "an early version measured it and noted no hash of its frames, which cuts are checked by: curate its footage again"
    return {"clip_id": clip["clip_id"], "reason": Reason.MISSING.value, "message": message}


def settings_of(cfg: CurateConfig) -> Row:
    """What of a configuration changes what is made: all but where it is, which part, how it is divided, and the recipe."""
    return {name: value for name, value in asdict(cfg).items() if name not in NO_SETTINGS}


def _failures(rows: Mapping[str, Row], clips: Sequence[Row]) -> dict[str, Row]:
    wanted = {clip["clip_id"] for clip in clips}
    return {clip_id: row for clip_id, row in rows.items() if clip_id in wanted and row["reason"]}
