"""The side effects of deciding: captions, DOVER scores, caption matches and shards, in this process or on
Ray.

In: clips. Out: rows by clip id. What earlier runs finished is looked up first; what is little is done in this
process.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.cli.formatting import format_count
from jobs.cli.progress import progress
from jobs.cli.run_folder import Run
from jobs.cluster.connect import connect
from jobs.cluster.in_process import footage_s, is_small
from jobs.cluster.worker_progress import ProgressSnapshot
from jobs.curation.assemble import BaseManifest, existing_shards, pack_candidates
from jobs.curation.captions import BATCH_CLIPS, FRAMELESS_BATCH_CLIPS, CaptionWorker, caption_input_hash
from jobs.curation.clip_records import Candidate, DecidedClip
from jobs.curation.config import CurateConfig
from jobs.curation.decide import ShardPlacement
from jobs.curation.fingerprints import Fingerprints
from jobs.curation.graph import Graph
from jobs.curation.local_graph import LocalGraph
from jobs.curation.matching import BATCH_CLIPS as MATCH_CLIPS
from jobs.curation.matching import encode_embedding
from jobs.curation.shard_writer import content_fingerprint, has_bytes
from pipelines.dataset.pack import plan_shards, shard_id
from pipelines.dataset.schema import Row
from pipelines.dataset.stages import Stage
from pipelines.errors import Reason
from pipelines.footage.allowed_footage import AllowedFootage
from pipelines.footage.listing import Footage, recheck_source
from pipelines.scores.registry import CAPTION_SCORES
from pipelines.storage.base import Store

NOT_GIVEN = "nobody gave this file here, only the dataset names it; give the footage with footage="
READERS = 8  # threads that look up finished work; they wait for storage, not for a core


@dataclass(frozen=True, slots=True)
class RunContext:
    """What all work of a run shares: the dataset, the configuration with its fingerprints, and where the run
    speaks."""

    store: Store
    cfg: CurateConfig
    prints: Fingerprints
    run: Run


class GraphSelector:
    """Where a piece of work is done: here, if it is small; else on Ray, and from then on all of it.

    Args:
        stack: keeps Ray connected for as long as it is open.
        moved: gets what moves, and where.
    """

    def __init__(self, context: RunContext, stack: ExitStack, moved: Callable[[str, ProgressSnapshot], None]):
        self._cfg, self._run, self._stack = context.cfg, context.run, stack
        args = (context.store.uri, context.cfg, context.prints, context.run.say)
        self.graph = Graph(*args, lambda pulse: moved("Ray", pulse))
        self.here = LocalGraph(*args, lambda pulse: moved("here", pulse))
        self.on_ray = False

    def select(self, items: int, footage_s: float = 0.0) -> Graph | LocalGraph:
        """The streams for so much work."""
        if not self.on_ray and is_small(self._cfg.ray, items, footage_s):
            return self.here
        return self.require_ray()

    def require_ray(self) -> Graph:
        """The streams on Ray, which is started if there is none."""
        if not self.on_ray:
            address = self._cfg.ray.address
            self._run.say("starting Ray" if address is None else f"joining the Ray at {address}")
            self._stack.enter_context(connect(self._cfg.ray))
            self.on_ray = True
        return self.graph


class RunEffects:
    """The effects of deciding (`jobs.curation.decide.Effects`), over one base.

    Args:
        opens: knows the sources that candidates name.
        looks: what candidates look like.
        did: counts what is done: clips_captioned, clips_cut, shards_written.
    """

    def __init__(
        self,
        context: RunContext,
        streams: GraphSelector,
        opens: "SourceResolver",
        base: BaseManifest,
        looks: pa.Table,
        did: dict[str, float],
    ):
        self._store, self._cfg, self._prints = context.store, context.cfg, context.prints
        self._streams, self._opens, self._base, self._looks, self._did = streams, opens, base, looks, did
        self._captions: dict[tuple[str, str], Row] | None = None

    def caption(self, clips: Sequence[DecidedClip]) -> dict[str, Row]:
        """Caption rows. What need not be looked at is captioned in this process, without Ray and without its
        source."""
        rows = {clip.clip_id: clip.row() for clip in clips}
        if self._captions is None:
            stage = Stage(self._store, "captions", self._prints.captions)
            self._captions = {(row["clip_id"], row["shown"]): row for row in stage.rows()}
        known = self._captions
        finished = {
            clip_id: known.get((clip_id, caption_input_hash(row, self._cfg.captioner)))
            for clip_id, row in rows.items()
        }
        made: dict[str, Row] = {clip_id: row for clip_id, row in finished.items() if row is not None}
        wanted = [row for clip_id, row in rows.items() if clip_id not in made]
        if not wanted:
            return made
        worker = CaptionWorker(self._store.uri, self._cfg, self._prints.captions)
        blind = [row for row in wanted if worker.needs_no_frames(row)]
        new: dict[str, Row] = {}
        for k in range(0, len(blind), FRAMELESS_BATCH_CLIPS):
            batch = worker({"source_uri": None, "clips": blind[k : k + FRAMELESS_BATCH_CLIPS]})
            new |= {row["clip_id"]: row for row in batch["rows"]}
        seen, gone = self._opens.resolve([row for row in wanted if not worker.needs_no_frames(row)])
        new |= self._by_source("curate: captions", seen, "caption")
        self._did["clips_captioned"] += sum(not row["reason"] for row in new.values())
        return made | new | gone

    def score_dover(self, clips: Sequence[Candidate]) -> list[Candidate]:
        """The same with DOVER's score, where its weights are given."""
        if self._prints.dover is None:
            return list(clips)
        known: dict[str, Row] = {
            row["clip_id"]: row for row in Stage(self._store, "dover", self._prints.dover).rows()
        }
        seen, gone = self._opens.resolve([dict(clip.measured) for clip in clips if clip.clip_id not in known])
        known |= {clip_id: {"technical": None, "why": row["message"]} for clip_id, row in gone.items()}
        known |= self._by_source("curate: DOVER", seen, "score_dover")
        return [_with_technical(clip, known[clip.clip_id]) for clip in clips]

    def match(self, clips: Sequence[DecidedClip], captions: Mapping[str, Row]) -> dict[str, Row]:
        """How well captions tell what their clips show, where a CLIP is configured; nothing is decoded.

        A clip that another CLIP saw keeps what that one said of the same caption: embeddings of two can't be
        compared.
        """
        told = {clip.clip_id: captions[clip.clip_id]["caption_short"] for clip in clips}
        matches = {clip.clip_id: _earlier_match(clip.candidate, told[clip.clip_id]) for clip in clips}
        if self._prints.match is None:
            return matches
        stage = Stage(self._store, "match", self._prints.match)
        known: dict[str, Row] = {
            row["clip_id"]: row for row in stage.rows() if told.get(row["clip_id"]) == row["caption"]
        }
        seen = of_clips(self._looks, [clip_id for clip_id in told if clip_id not in known])
        same = pc.equal(seen["clip_fingerprint"], self._prints.measured["clip"])
        seen = seen.filter(pc.and_(same, seen["clip_embedding"].is_valid())).sort_by("clip_id")
        orders = [
            {
                "clip_id": clip_id.as_py(),
                "caption": told[clip_id.as_py()],
                "embedding": encode_embedding(embedding.values.to_numpy(False)),
            }
            for clip_id, embedding in zip(seen["clip_id"], seen["clip_embedding"], strict=True)
        ]
        batches = [{"clips": orders[k : k + MATCH_CLIPS]} for k in range(0, len(orders), MATCH_CLIPS)]
        known |= self._streamed("curate: matching captions", batches, "match")
        return matches | {clip_id: {"text_match": row["text_match"]} for clip_id, row in known.items()}

    def write(self, clips: Sequence[DecidedClip]) -> ShardPlacement:
        """Plans the shards of kept clips, and writes those that are new."""
        rows = {clip.clip_id: clip.write_request() for clip in clips}
        staying, plans = plan_shards(
            pack_candidates(rows.values(), self._prints),
            existing_shards(self._base, self._prints),
            self._cfg.shards,
        )
        wanted = [rows[clip_id] for plan in plans for clip_id in plan.clip_ids]
        cut = [row for row in wanted if not has_bytes(row, self._prints)]
        listed, written = self._opens.resolve(cut)
        rows |= {row["clip_id"]: row for row in listed}
        written |= {row["clip_id"]: _unchecked(row) for row in cut if row["frames_hash"] is None}
        orders: list[dict[str, Any]] = []
        for plan in plans:
            there = [rows[clip_id] for clip_id in plan.clip_ids if clip_id not in written]
            if there:  # named by what they hold: a unit must not stand for clips whose source was not there
                unit = shard_id([(row["clip_id"], content_fingerprint(row, self._prints)) for row in there])
                orders.append({"unit": unit, "bucket": plan.bucket, "clips": there})
        # The longest first: else the last to be taken up may be the one that all the others have to be waited
        # for with.
        orders.sort(key=lambda order: -sum(row["duration_s"] for row in order["clips"]))
        if orders:
            new = [row for order in orders for row in order["clips"] if not has_bytes(row, self._prints)]
            streams = self._streams.select(len(orders), footage_s(new))
            with (
                progress(
                    "curate: clips", total=sum(len(order["clips"]) for order in orders), unit="clips"
                ) as bar,
                closing(streams.write(orders)) as shards,
            ):
                for done in shards:
                    written |= {row["clip_id"]: row for row in done["rows"]}
                    self._did["clips_cut"] += done["cut"]
                    bar.advance(len(done["rows"]))
        self._did["shards_written"] += len(orders)
        return ShardPlacement(frozenset(staying), written)

    def _by_source(self, what: str, clips: Sequence[dict[str, Any]], stream: str) -> dict[str, Row]:
        """Clips through a stream whose batches are of one source each, whose index is read once."""
        by_source: dict[str, list[Row]] = defaultdict(list)
        for clip in clips:
            by_source[clip["source_uri"]].append(clip)
        batches = [
            {"source_uri": uri, "clips": group[k : k + BATCH_CLIPS]}
            for uri, group in sorted(by_source.items())
            for k in range(0, len(group), BATCH_CLIPS)
        ]
        return self._streamed(what, batches, stream, footage_s(clips))

    def _streamed(
        self, what: str, batches: Sequence[dict[str, Any]], stream: str, footage_s: float = 0.0
    ) -> dict[str, Row]:
        """Batches of clips through a stream, by its name."""
        made: dict[str, Row] = {}
        if batches:
            streams = self._streams.select(len(batches), footage_s)
            with (
                progress(what, total=sum(len(batch["clips"]) for batch in batches), unit="clips") as bar,
                closing(getattr(streams, stream)(batches)) as done,
            ):
                for rows in done:
                    made |= {row["clip_id"]: row for row in rows}
                    bar.advance(len(rows))
        return made


class SourceResolver:
    """Which sources may be opened, and what they are now.

    Args:
        given: footage that rows of the dataset may name besides this run's.
        run: where it speaks.
    """

    def __init__(self, context: RunContext, footage: Footage, allowed: AllowedFootage):
        self._given, self._cfg, self._run = allowed, context.cfg, context.run
        self._listed = {source.uri for source in footage.sources}
        self.sources: dict[str, Row] = {}
        """Rows of the sources that clips name, by URI."""

    def resolve(self, clips: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Row]]:
        """Rows of clips whose source is unchanged, each with its current (size, ETag) as `as_listed`,
        which is verified on opening; and, by clip id, failure rows for the others.
        """
        uris = sorted({clip["source_uri"] for clip in clips})
        with ThreadPoolExecutor(READERS) as readers:
            now = dict(
                zip(uris, readers.map(lambda uri: self._found_again(self.sources[uri]), uris), strict=True)
            )
        if not_given := sum(found == NOT_GIVEN for found in now.values()):
            self._run.say(
                f"{format_count(not_given, 'source')} not opened, as nobody gave them here: give them with "
                "footage="
            )
        there: list[dict[str, Any]] = []
        gone: dict[str, Row] = {}
        for clip in clips:
            found = now[clip["source_uri"]]
            if isinstance(found, str):
                gone[clip["clip_id"]] = {
                    "clip_id": clip["clip_id"],
                    "reason": Reason.MISSING.value,
                    "message": found,
                }
            else:
                there.append({**clip, "as_listed": found})
        return there, gone

    def _found_again(self, source: Row) -> tuple[int, str] | str:
        """See `recheck_source`; what only the dataset names is not looked for."""
        if source["uri"] not in self._listed and not self._given.allows(source["uri"]):
            return NOT_GIVEN
        return recheck_source(source, self._cfg.limits)


def of_clips(looks: pa.Table, clip_ids: Sequence[str]) -> pa.Table:
    """The rows of clips."""
    return looks.filter(pc.is_in(looks["clip_id"], pa.array(clip_ids, pa.string())))


def _with_technical(clip: Candidate, row: Row) -> Candidate:
    gaps = [gap for gap in clip.measured["score_gaps"] if gap["score"] != "technical"]
    if row["technical"] is None:
        gaps.append({"score": "technical", "why": row["why"]})
    return replace(clip, measured={**clip.measured, "technical": row["technical"], "score_gaps": gaps})


def _earlier_match(clip: Candidate, caption: str) -> Row:
    """What the dataset has of a clip with the same caption."""
    same = clip.text is not None and clip.text["caption_short"] == caption
    return {name: clip.measured.get(name) if same else None for name in CAPTION_SCORES}


def _unchecked(clip: Row) -> Row:
    """Why a clip can't be cut whose frames nobody knows."""
    message = (
        "an early version measured it and noted no hash of its frames, which cuts are checked by: curate "
        "its footage again"
    )
    return {"clip_id": clip["clip_id"], "reason": Reason.MISSING.value, "message": message}
