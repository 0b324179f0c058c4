"""A planned shard → a tar in the dataset: cut each clip, or copy the bytes an older shard has of it; verify; publish.

In: the plan of one shard with its clips' rows. Out: a row per clip with where it lies, or why it could not be cut,
committed as one unit. A clip that fails is left out of the shard and takes no neighbour with it.
"""

import logging
import traceback
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from jobs.curation.config import CurateConfig
from jobs.curation.fingerprints import Fingerprints
from pipelines.errors import MediaError, Reason
from pipelines.ids import fingerprint, sha256_file
from pipelines.pack import shard_id
from pipelines.schema import CUTS, table
from pipelines.shards import Sample, members, shard_key, write_shard
from pipelines.stages import Stage
from pipelines.store import local_copy, open_store

logger = logging.getLogger(__name__)

# What a clip's .json in the shard says: identity, span, media, geometry and text. Scores and decisions live in the
# index, where they can change without rewriting shards.
PASSPORT = (
    "clip_id",
    "video_id",
    "source_uri",
    "source_text",
    "source_license",
    "source_dataset",
    "start_pts",
    "end_pts",
    "time_base",
    "start_s",
    "end_s",
    "num_frames",
    "fps",
    "width",
    "height",
    "pixel_aspect",
    "caption_short",
    "caption_dense",
    "caption_model",
    "tag_subject",
    "tag_setting",
    "tag_camera",
    "tag_light",
    "tag_motion",
    "tag_style",
)


def passport(row: dict[str, Any]) -> dict[str, Any]:
    """What is stored beside a clip's mp4."""
    return {name: row[name] for name in PASSPORT} | {"cut_method": "encode", "lead_frames": 0}


def content_of(row: dict[str, Any], prints: Fingerprints) -> str:
    """What a clip's files in a shard depend on."""
    return fingerprint([passport(row), prints.cut, prints.shards])


class ShardWriter:
    """Writes planned shards."""

    def __init__(self, dataset: str, cfg: CurateConfig, prints: Fingerprints):
        self._cfg = cfg
        self._prints = prints
        self._store = open_store(dataset)
        self._stage = Stage(self._store, "shards", prints.shards)
        self._failures = Stage(self._store, "cut", prints.cut)

    def __call__(self, plan: dict[str, Any]) -> dict[str, Any]:
        """plan: `unit`, `bucket` and `clips`, index rows in order. Returns {"rows", "encoded": how many}."""
        done = self._stage.lookup(plan["unit"])
        if done is not None:
            return {"rows": done.to_pylist(), "encoded": 0}
        failed: list[dict[str, Any]] = []
        encoded: list[str] = []
        kept: list[tuple[str, str]] = []
        with self._store.scratch() as folder:
            path = folder / "shard.tar"
            write_shard(self._samples(plan["clips"], failed, encoded, kept), path)
            rows = self._publish(path, plan["bucket"], kept) if kept else []
        passing = any(row["reason"] in (Reason.MISSING, Reason.INTERNAL) for row in failed)
        rows = table(rows + failed, CUTS)
        if not passing:
            rows = self._stage.commit(plan["unit"], rows)
        return {"rows": rows.to_pylist(), "encoded": len(encoded)}

    def _publish(self, path: Any, bucket: str, kept: list[tuple[str, str]]) -> list[dict[str, Any]]:
        shard = shard_id(kept)
        where = members(path)
        sha256, size_bytes = sha256_file(path), path.stat().st_size
        self._store.put_new(shard_key(bucket, shard), path)
        rows = []
        for clip_id, _ in kept:
            offset, size = where[f"{clip_id}.mp4"]
            row = {"clip_id": clip_id, "cut_method": "encode", "lead_frames": 0, "shard": shard, "bucket": bucket}
            row |= {"offset": offset, "size": size, "encode_fingerprint": self._prints.cut}
            for suffix in ("json", "txt"):
                row[f"{suffix}_offset"], row[f"{suffix}_size"] = where[f"{clip_id}.{suffix}"]
            rows.append(row | {"shard_sha256": sha256, "shard_bytes": size_bytes})
        return rows

    def _samples(
        self, clips: list[dict[str, Any]], failed: list[dict[str, Any]], encoded: list[str], kept: list[tuple[str, str]]
    ) -> Iterator[Sample]:
        for clip in clips:
            try:
                mp4 = self._copied(clip) or self._encode(clip, encoded)
            except MediaError as error:
                failed.append(self._fail(clip, error.reason, error.message, lasting=error.lasting))
                continue
            except Exception as error:  # one clip must not end the run; the row says that the fault is ours
                logger.exception("cutting clip %s of %s failed", clip["clip_id"], clip["source_uri"])
                message = "".join(traceback.format_exception_only(error)).strip()
                failed.append(self._fail(clip, Reason.INTERNAL, message, lasting=False))
                continue
            kept.append((clip["clip_id"], content_of(clip, self._prints)))
            yield Sample(clip["clip_id"], mp4, passport(clip), clip["caption_short"])

    def _fail(self, clip: dict[str, Any], reason: Reason, message: str, lasting: bool) -> dict[str, Any]:
        row = {"clip_id": clip["clip_id"], "reason": reason, "message": message}
        if lasting:
            self._failures.commit(clip["clip_id"], table([row], CUTS))
        return row

    def _copied(self, clip: dict[str, Any]) -> bytes | None:
        """The mp4 from the shard that the index names, if it was cut with the same settings."""
        if not clip.get("shard") or clip["encode_fingerprint"] != self._prints.cut:
            return None
        return self._store.read_range(shard_key(clip["old_bucket"], clip["shard"]), clip["offset"], clip["size"])

    def _encode(self, clip: dict[str, Any], encoded: list[str]) -> bytes:
        from pipelines.media.decode import iterate_pictures
        from pipelines.media.encode import encode_mp4

        encoded.append(clip["clip_id"])
        start_pts, end_pts, time_base = clip["start_pts"], clip["end_pts"], Fraction(clip["time_base"])
        rate = (clip["num_frames"] / ((end_pts - start_pts) * time_base)).limit_denominator(100_000)
        with local_copy(clip["source_uri"]) as path:
            pictures = iterate_pictures(path, start_pts, end_pts)
            mp4, _ = encode_mp4(pictures, end_pts, time_base, rate, Fraction(clip["pixel_aspect"]), self._cfg.encode)
        _verify(mp4, clip, time_base)
        return mp4


def _verify(mp4: bytes, clip: dict[str, Any], time_base: Fraction) -> None:
    """Raises MediaError unless the written clip has the frames, the length and the size that its row says."""
    from pipelines.media.decode import probe_clip

    num_frames, duration_s, width, height, _ = probe_clip(mp4)
    got = (num_frames, width, height)
    wanted = (clip["num_frames"], clip["width"], clip["height"])
    wanted_s = float((clip["end_pts"] - clip["start_pts"]) * time_base)
    if got != wanted or abs(duration_s - wanted_s) > float(time_base) / 2 + 1e-6:
        raise MediaError(
            Reason.UNFAITHFUL,
            f"wrote (frames, width, height) {got} during {duration_s:.4f} s, wanted {wanted} during {wanted_s:.4f} s",
        )
