"""Candidates → decisions, captions and shard locations. One pure function; side effects go through the
`Effects` protocol.

In: candidates, a recipe, pairs of copies, and the effects: captions, matches, shards. Out: every candidate
placed, or a reason why it is out. The outcome depends on the candidates, the recipe and what the effects
answer; not on the order of candidates, nor on what earlier runs kept. No clip is captioned, matched or
written twice for one answer.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from jobs.curation.clip_records import (
    LOCATION_COLUMNS,
    TEXT_COLUMNS,
    Candidate,
    ClipLocation,
    DecidedClip,
    PlacedClip,
)
from jobs.curation.clip_rows import bucket_of
from pipelines.dataset.schema import Row
from pipelines.dedup.choose_copies import duplicates
from pipelines.dedup.pairs import Pair
from pipelines.errors import Reason
from pipelines.recipes.recipe import Recipe
from pipelines.records import Quarantined
from pipelines.scores.config import ScoreConfig
from pipelines.scores.registry import CAPTION_SCORES, DUPLICATE, UNAVAILABLE, missing

CAPTIONS_STAGE, CUT_STAGE = "captions", "cut"


@dataclass(frozen=True, slots=True)
class ShardPlacement:
    """What became of clips that were to lie in shards: the ids of existing shards that stay, and a row for
    each clip that was written now, by clip id: where it lies, or with a `reason` why it can't be cut.
    """

    kept_shard_ids: Collection[str]
    written: Mapping[str, Row]


class Effects(Protocol):
    """What deciding asks for. Answers are rows by clip id; a row with a `reason` says why there is no
    answer."""

    def caption(self, clips: Sequence[DecidedClip]) -> Mapping[str, Row]:
        """A caption for each of them."""

    def match(self, clips: Sequence[DecidedClip], captions: Mapping[str, Row]) -> Mapping[str, Row]:
        """How well captions tell what clips show: columns of `CAPTION_SCORES` for each of them, never a
        reason."""

    def write(self, clips: Sequence[DecidedClip]) -> ShardPlacement:
        """Shards for kept clips: those that the newest manifest has and that stay, and new ones."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of all candidates.

    Attributes:
        clips: those that the dataset has a row of.
        written: rows of the clips that were written now, by clip id.
        quarantined: why clips could not be captioned or cut; of some of them something else is to blame, such
            as a source that is not there now: those are among `clips`, too, rejected.
        num_quarantined_only: how many are in the quarantine only.
    """

    clips: tuple[PlacedClip, ...]
    written: Mapping[str, Row]
    quarantined: tuple[Quarantined, ...]
    num_quarantined_only: int


def decide(
    candidates: Iterable[Candidate],
    recipe: Recipe,
    pairs: Sequence[Pair],
    effects: Effects,
    failures: Mapping[str, Row],
    scores: ScoreConfig,
) -> Outcome:
    """Decide over all candidates alike, and have captions made and shards written of those that are kept.

    If a clip is rejected for its caption, or can't be cut, its duplicates may be kept instead, so the
    decision is repeated without it. A clip that can never be cut is also left out of the shard plan, so that
    the shards are the same as if that had been known from the start.

    Args:
        failures: rows of clips that earlier runs found can't be cut, by clip id.
        scores: the configuration of scores, for why one is null.
    """
    deciding = DecisionState(candidates, recipe, pairs, effects, scores)
    deciding.quarantine_failures(_failed(failures, deciding.candidates), CUT_STAGE)
    written: dict[str, Row] = {}
    while True:
        decided = deciding.decide_until_stable()
        kept = {clip.clip_id: clip for clip in decided if clip.kept}
        written = in_complete_shards(written, kept)
        shelved = effects.write([clip for clip_id, clip in kept.items() if clip_id not in written])
        written |= shelved.written
        bad = _failed(written, kept)
        stood_for = {clip.copy.kept_clip_id for clip in decided if clip.copy is not None}
        deciding.quarantine_failures(bad, CUT_STAGE)
        written = {clip_id: row for clip_id, row in written.items() if clip_id not in bad}
        if any(Reason(row["reason"]).permanent for row in bad.values()):
            deciding.reuse_written(written)
            written = {}
        elif not bad.keys() & stood_for:
            break
    against = deciding.against
    decided = [
        replace(clip, reasons=against[clip.clip_id]) if clip.kept and clip.clip_id in against else clip
        for clip in decided
    ]
    clips = tuple(_placed(clip, shelved.kept_shard_ids, written) for clip in decided)
    return Outcome(clips, written, tuple(deciding.quarantined), deciding.gone)


@dataclass(slots=True)
class DecisionState:
    """What is known so far while it is decided."""

    all_candidates: Iterable[Candidate]
    recipe: Recipe
    pairs: Sequence[Pair]
    effects: Effects
    scores: ScoreConfig
    candidates: dict[str, Candidate] = field(init=False)
    """By clip id; those that left for the quarantine are out."""
    against: dict[str, tuple[str, ...]] = field(init=False, default_factory=dict)
    """Reasons that were found after the first decision, by clip id."""
    captions: dict[str, Row] = field(init=False)
    matches: dict[str, Row] = field(init=False, default_factory=dict)
    quarantined: list[Quarantined] = field(init=False, default_factory=list)
    gone: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.candidates = {clip.clip_id: clip for clip in self.all_candidates}
        # Of what this run says nothing of, who has captions keeps them, whoever wrote them: its footage may
        # be gone.
        self.captions = {
            clip.clip_id: {"reason": None} | dict(clip.text)
            for clip in self.candidates.values()
            if clip.text is not None
        }

    def decide_until_stable(self) -> list[DecidedClip]:
        """Recipe and copies decide, captions are made of what they keep, and what captions tell decides once
        more, until no clip falls.
        """
        while True:
            decided = self._decided()
            kept = [clip for clip in decided if clip.kept]
            uncaptioned = [clip for clip in kept if clip.clip_id not in self.captions]
            if uncaptioned:
                self.captions |= self.effects.caption(uncaptioned)
            if bad := _failed(self.captions, {clip.clip_id for clip in kept}):
                self.quarantine_failures(bad, CAPTIONS_STAGE)
                continue
            unmatched = [clip for clip in kept if clip.clip_id not in self.matches]
            if unmatched:
                self.matches |= self.effects.match(unmatched, self.captions)
            fallen = {
                clip.clip_id: tuple(why)
                for clip in kept
                if (
                    why := self.recipe.reject_reasons(
                        {**clip.candidate.measured, **self.matches[clip.clip_id]}
                    )
                )
            }
            if not fallen:
                return [self._with_text(clip) for clip in decided]
            self.against |= fallen

    def _decided(self) -> list[DecidedClip]:
        """By recipe and copies. Of copies, one is kept of those that pass the recipe: the best of all might
        not pass."""
        clips = self.candidates.values()
        reasons = {
            clip.clip_id: self.against.get(clip.clip_id)
            or tuple(self.recipe.reject_reasons(clip.measured, pending=CAPTION_SCORES))
            for clip in clips
        }
        copies = duplicates([clip.measured for clip in clips if not reasons[clip.clip_id]], self.pairs)
        return [
            DecidedClip(
                clip,
                (DUPLICATE,) if clip.clip_id in copies else reasons[clip.clip_id],
                bucket_of(clip.measured),
                copies.get(clip.clip_id),
            )
            for clip in clips
        ]

    def _with_text(self, clip: DecidedClip) -> DecidedClip:
        """With the caption and what depends on it, if it is kept, or fell only after it had been
        captioned."""
        told = clip.kept or clip.clip_id in self.against
        text = self.captions.get(clip.clip_id, {}) if told else {}
        matches = self.matches.get(clip.clip_id, {}) if told else {}
        gaps = [gap for gap in clip.candidate.measured["score_gaps"] if gap["score"] not in CAPTION_SCORES]
        gaps += [
            {
                "score": name,
                "why": missing(name, self.scores) or "only clips that have captions are compared with them",
            }
            for name in sorted(CAPTION_SCORES)
            if matches.get(name) is None
        ]
        return replace(
            clip,
            text={name: text.get(name) for name in TEXT_COLUMNS},
            matches={name: matches.get(name) for name in CAPTION_SCORES},
            gaps=tuple(gaps),
        )

    def quarantine_failures(self, failures: Mapping[str, Row], stage: str) -> None:
        """Quarantine clips that failed. Permanent failures are removed from the candidates; clips with a
        transient failure, such as a missing source, keep their row and are rejected.

        Args:
            failures: by clip id, with reason and message.
        """
        for clip_id in [clip_id for clip_id in self.candidates if clip_id in failures]:
            clip, failure = self.candidates[clip_id], failures[clip_id]
            self.quarantined.append(
                Quarantined(
                    clip.source_uri,
                    stage,
                    failure["reason"],
                    failure["message"],
                    clip.measured["video_id"],
                    clip_id,
                )
            )
            if Reason(failure["reason"]).permanent:
                del self.candidates[clip_id]
                self.gone += 1
            else:
                self.against[clip_id] = (UNAVAILABLE,)

    def reuse_written(self, written: Mapping[str, Row]) -> None:
        """Let clips be copied from shards that were just written, as they are from those of the newest
        manifest."""
        for clip_id, row in written.items():
            stored = ClipLocation({name: row[name] for name in LOCATION_COLUMNS}, row["bucket"])
            self.candidates[clip_id] = replace(self.candidates[clip_id], stored=stored)


def in_complete_shards(written: Mapping[str, Row], kept: Collection[str]) -> dict[str, Row]:
    """Of clips that were written, those of shards whose clips are all still kept: the others are packed
    again.

    Args:
        written: rows with `shard`, by clip id.
        kept: clip ids.
    """
    lost: dict[str, bool] = defaultdict(bool)
    for clip_id, row in written.items():
        lost[row["shard"]] |= clip_id not in kept
    return {clip_id: row for clip_id, row in written.items() if not lost[row["shard"]]}


def _placed(clip: DecidedClip, staying: Collection[str], written: Mapping[str, Row]) -> PlacedClip:
    """In a shard that stays, in one just written, or nowhere."""
    stored = clip.candidate.stored
    if clip.clip_id in written:
        assert clip.kept, "a shard was written with a clip that is rejected"
        return PlacedClip(clip, {name: written[clip.clip_id][name] for name in LOCATION_COLUMNS})
    if clip.kept and stored is not None and stored.columns["shard"] in staying:
        return PlacedClip(clip, stored.columns)
    return PlacedClip(clip)


def _failed(rows: Mapping[str, Row], clips: Collection[str]) -> dict[str, Row]:
    """Of clips, the rows that say why something failed."""
    return {clip_id: rows[clip_id] for clip_id in clips if clip_id in rows and rows[clip_id]["reason"]}
