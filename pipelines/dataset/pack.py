"""Kept clips → which clips go into which shards. A pure plan: the same clips, base and settings give the same
shards.

In: kept clips with their buckets, and the shards that the newest manifest already has. Out: the shards that
stay, and the new ones to be written. A shard stays if every clip in it is still kept as it is there; clips of
a shard that does not stay are packed again with the new ones. So adding footage writes new shards and leaves
the old ones alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipelines.dataset.config import ShardConfig
from pipelines.ids import fingerprint

VERSION = 1


@dataclass(frozen=True, slots=True)
class PackCandidate:
    """A kept clip as input of the packer: its `content` (fingerprints of its cut and caption), its estimated
    size, and whether it is `carried` over from the newest manifest unchanged.
    """

    clip_id: str
    bucket: str
    content: str
    estimated_bytes: int
    carried: bool = False


@dataclass(frozen=True, slots=True)
class ExistingShard:
    """An existing shard and its clips in order, with their content as computed now. Its id is the hash of
    their content when it was written: see `shard_id`.
    """

    shard: str
    bucket: str
    clip_ids: tuple[str, ...]
    contents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """One shard to be written: its bucket and clips, in the order in which they are written."""

    bucket: str
    clip_ids: tuple[str, ...]
    unit: str


def plan_shards(
    clips: Iterable[PackCandidate], existing: Iterable[ExistingShard], cfg: ShardConfig
) -> tuple[list[str], list[ShardPlan]]:
    """Which shards stay, and which are to be written.

    Clips are ordered by clip id, which is a hash: neighbours in a shard come from anywhere in the footage.
    """
    wanted = {clip.clip_id: clip for clip in clips}
    staying: list[str] = []
    for shard in sorted(existing, key=lambda s: s.shard):
        held = [wanted[clip_id] for clip_id in shard.clip_ids if clip_id in wanted]
        whole = len(held) == len(shard.clip_ids) and all(clip.bucket == shard.bucket for clip in held)
        if whole and _unchanged(shard, held):
            staying.append(shard.shard)
            for clip in held:
                del wanted[clip.clip_id]
    by_bucket: dict[str, list[PackCandidate]] = defaultdict(list)
    for clip in wanted.values():
        by_bucket[clip.bucket].append(clip)
    plans = [_plan(bucket, group) for bucket in sorted(by_bucket) for group in _fill(by_bucket[bucket], cfg)]
    return staying, plans


def _unchanged(shard: ExistingShard, held: Sequence[PackCandidate]) -> bool:
    """Whether the clips are as the shard has them. By its id; one that another version named stays, too, if
    nothing of it is made again.
    """
    if shard_id([(clip.clip_id, clip.content) for clip in held]) == shard.shard:
        return True
    return all(clip.carried for clip in held) and tuple(clip.content for clip in held) == shard.contents


def shard_id(clips: Sequence[tuple[str, str]]) -> str:
    """A shard's name: the hash of its (clip_id, content), in order."""
    return fingerprint([list(clip) for clip in clips])


def _plan(bucket: str, group: list[PackCandidate]) -> ShardPlan:
    return ShardPlan(
        bucket, tuple(clip.clip_id for clip in group), shard_id([(c.clip_id, c.content) for c in group])
    )


def _fill(clips: list[PackCandidate], cfg: ShardConfig) -> Iterable[list[PackCandidate]]:
    group: list[PackCandidate] = []
    size = 0
    for clip in sorted(clips, key=lambda c: c.clip_id):
        if group and (len(group) >= cfg.max_clips or size + clip.estimated_bytes > cfg.max_bytes):
            yield group
            group, size = [], 0
        group.append(clip)
        size += clip.estimated_bytes
    if group:
        yield group
