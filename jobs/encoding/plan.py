"""Which latent shards a dataset needs, and which of them are still to be made.

In: the kept clips of a dataset, in its shards. Out: chunks, each of which becomes a latent shard named by
what is encoded: the bytes of its clips and their texts. A chunk is a part of one shard of the dataset, so
clips that join the dataset touch no chunk but those of shards that were written for them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.batches.frames import CLIP_COLUMNS
from pipelines.dataset.latents import has_shard, read_failed_clips
from pipelines.dataset.reader import Dataset
from pipelines.ids import fingerprint
from pipelines.storage.base import Store

CAPTION_KINDS = {"short": "caption_short", "dense": "caption_dense", "source": "source_text"}
_MOST_CLIPS = 64  # of a chunk: what one encoder takes at a time, and what is lost when it dies


def captions(row: Mapping[str, Any]) -> dict[str, str]:
    """A clip's texts by kind, those that it has."""
    return {kind: row[column] for kind, column in CAPTION_KINDS.items() if row.get(column)}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Clips that are encoded together: rows of the index, and beside each the hash of the shard that its
    bytes are in."""

    bucket: str
    rows: tuple[Mapping[str, Any], ...]
    sha256: str

    @property
    def id(self) -> str:
        """Of its latent shard: the hash of what is encoded."""
        return fingerprint(
            {"clips": [[self.sha256, r["offset"], r["size"], r["clip_id"], captions(r)] for r in self.rows]}
        )

    def select(self, clip_ids: Iterable[str]) -> Chunk:
        """The part of it with some of its clips."""
        wanted = set(clip_ids)
        return Chunk(self.bucket, tuple(row for row in self.rows if row["clip_id"] in wanted), self.sha256)


def chunks(dataset: Dataset) -> list[Chunk]:
    """All kept clips of a dataset, in the order in which they lie in its shards."""
    sha256 = {shard.id: shard.sha256 for shard in dataset.shards()}
    by_shard: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in dataset.kept([*CLIP_COLUMNS, "width", "height", *CAPTION_KINDS.values()]):
        by_shard[row["bucket"], row["shard"]].append(row)
    made = []
    for (bucket, shard), rows in sorted(by_shard.items()):
        rows.sort(key=lambda row: row["offset"])
        made += [
            Chunk(bucket, tuple(rows[start : start + _MOST_CLIPS]), sha256[shard])
            for start in range(0, len(rows), _MOST_CLIPS)
        ]
    return made


def split_finished(
    store: Store, fingerprint: str, requested: Sequence[Chunk]
) -> tuple[list[Chunk], list[Chunk]]:
    """(finished, missing) chunks.

    Where an earlier run could not read some clips of a chunk, its other clips are finished, and those are
    missing: they alone are tried again.
    """
    finished: list[Chunk] = []
    missing: list[Chunk] = []
    for chunk in requested:
        if has_shard(store, fingerprint, chunk.bucket, chunk.id):
            finished.append(chunk)
            continue
        unread = read_failed_clips(store, fingerprint, chunk.id)
        if not unread:
            missing.append(chunk)
            continue
        rest = [row["clip_id"] for row in chunk.rows if row["clip_id"] not in unread]
        parts = split_finished(store, fingerprint, [chunk.select(rest), chunk.select(unread)])
        finished += parts[0]
        missing += parts[1]
    return finished, missing
