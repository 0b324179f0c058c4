"""A planned shard → a tar in the dataset: cut each clip, or copy the bytes an older shard has of it; publish.

In: the plan of one shard with its clips' rows. Out: a row per clip with where it lies, or why it could not be
cut, committed as one unit. A clip that fails is left out of the shard and takes no neighbour with it.
"""

import json
import logging
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jobs.cluster.worker_progress import ProgressReporter
from jobs.curation.clip_json import CUT_FIELDS, PASSPORT_FIELDS, clip_json, read_cut_fields
from jobs.curation.clocks import Clocks
from jobs.curation.config import CurateConfig
from jobs.curation.fingerprints import Fingerprints
from pipelines.cutting.audio_track import KEPT
from pipelines.cutting.config import CutConfig
from pipelines.dataset.pack import shard_id
from pipelines.dataset.schema import CUTS, table
from pipelines.dataset.shards import ShardSample, members, read_member, shard_key, write_shard
from pipelines.dataset.stages import Stage
from pipelines.errors import MediaError, Reason, is_host_error
from pipelines.fault_injection import kill_point
from pipelines.footage.source_file import source_file
from pipelines.ids import fingerprint, sha256_file
from pipelines.records import Quarantined, Span
from pipelines.sandbox.answers import ChildError, read_output
from pipelines.storage.local_store import prove_room
from pipelines.storage.open_store import open_store

logger = logging.getLogger(__name__)

_MIB = 1024**2
_OF_A_PROCESS = frozenset((Reason.TIMED_OUT, Reason.OUT_OF_MEMORY, Reason.CRASHED))


@dataclass(frozen=True, slots=True)
class WrittenClip:
    """A clip in a shard, what its files depend on, and what its mp4 was cut with."""

    clip_id: str
    content: str
    cut_print: str
    sound: str | None


def content_fingerprint(row: Mapping[str, Any], prints: Fingerprints) -> str:
    """What a clip's files in a shard depend on; known before it is cut, so how it was cut is no part of it.
    Nor is how its .json writes what the row says: another way of writing must not write again what every
    earlier version wrote.
    """
    return fingerprint(
        [
            {name: row[name] for name in PASSPORT_FIELDS},
            row["frames_hash"],
            cut_fingerprint(row, prints),
            prints.shards,
        ]
    )


def cut_fingerprint(clip: Mapping[str, Any], prints: Fingerprints) -> str:
    """What a clip's mp4 is cut with: the settings of now, or of a clip that is `carried` those it was cut
    with. A run that says nothing of a source does not cut its clips again, though this version would cut them
    in another way.
    """
    return clip["encode_fingerprint"] if clip.get("carried") and clip["shard"] else prints.cut


def has_bytes(clip: Mapping[str, Any], prints: Fingerprints) -> bool:
    """Whether a shard that the index names has the clip as it is wanted now."""
    return bool(clip.get("shard")) and clip["encode_fingerprint"] == cut_fingerprint(clip, prints)


class ShardWriter:
    """Writes planned shards."""

    def __init__(
        self, dataset: str, cfg: CurateConfig, prints: Fingerprints, watch: ProgressReporter | None = None
    ):
        self._cfg = cfg
        self._watch = watch or ProgressReporter()
        self._prints = prints
        self._store = open_store(dataset)
        self._stage = Stage(self._store, "shards", prints.shards)
        self._failures = Stage(self._store, "cut", prints.cut)
        self._clocks = Clocks(self._store, cfg)

    def __call__(self, plan: dict[str, Any]) -> dict[str, Any]:
        """plan: `unit`, `bucket` and `clips`, index rows in order. Returns {"rows", "cut": how many of them
        were cut now}."""
        done = self._stage.lookup(plan["unit"])
        if done is not None:
            assert not isinstance(done, Quarantined), f"shard {plan['unit']} is in quarantine"
            # Rows that were committed before there was such a column lack it.
            return {"rows": [dict.fromkeys(CUTS.names) | row for row in done.to_pylist()], "cut": 0}
        failed: list[dict[str, Any]] = []
        cut: list[str] = []
        kept: list[WrittenClip] = []
        with self._store.scratch() as folder:
            path = folder / "shard.tar"
            write_shard(self._samples(plan["clips"], folder, failed, cut, kept), path)
            rows = self._publish(path, plan["bucket"], kept) if kept else []
        passing = any(not row["reason"].permanent for row in failed)
        outcome = table(rows + failed, CUTS)
        if not passing:
            outcome = self._stage.commit_rows(plan["unit"], outcome)
        return {"rows": outcome.to_pylist(), "cut": len(cut)}

    def _publish(self, path: Path, bucket: str, kept: list[WrittenClip]) -> list[dict[str, Any]]:
        shard = shard_id([(clip.clip_id, clip.content) for clip in kept])
        kill_point("shard:before")
        if not self._store.put_new(shard_key(bucket, shard), path):
            # Of a run that was killed, or another: the same clips, but cut on another machine they may be
            # other bytes.
            self._store.fetch(shard_key(bucket, shard), path.with_name("there.tar"))
            path = path.with_name("there.tar")
        kill_point("shard:after")
        try:
            where = members(path)
        except (tarfile.TarError, ValueError) as error:
            key = f"{shard_key(bucket, shard)} in {self._store.uri}"
            raise RuntimeError(
                f"{key} is damaged ({error}), and no manifest refers to it: remove it"
            ) from error
        sha256, size_bytes = sha256_file(path), path.stat().st_size
        rows = []
        for clip in kept:
            offset, size = where[f"{clip.clip_id}.mp4"]
            told = json.loads(read_member(path, *where[f"{clip.clip_id}.json"]))
            row = {"clip_id": clip.clip_id} | read_cut_fields(told)
            row |= {"cut_sound": clip.sound, "shard": shard, "bucket": bucket, "offset": offset, "size": size}
            row |= {"encode_fingerprint": clip.cut_print, "shard_sha256": sha256, "shard_bytes": size_bytes}
            for suffix in ("json", "txt"):
                row[f"{suffix}_offset"], row[f"{suffix}_size"] = where[f"{clip.clip_id}.{suffix}"]
            rows.append(row)
        return rows

    def _samples(
        self,
        clips: list[dict[str, Any]],
        folder: Path,
        failed: list[dict[str, Any]],
        cut: list[str],
        kept: list[WrittenClip],
    ) -> Iterator[ShardSample]:
        for clip in clips:
            try:
                mp4 = self._copied(clip)
                made, sound = {name: clip.get(name) for name in CUT_FIELDS}, clip.get("cut_sound")
                if mp4 is None:
                    cut.append(clip["clip_id"])
                    with self._watch.working_on("cutting", f"clip {clip['clip_id']} of {clip['source_uri']}"):
                        mp4, made, sound = self._cut(clip, folder)
            except MediaError as error:
                failed.append(self._fail(clip, error.reason, error.message, permanent=error.permanent))
                continue
            except Exception as error:  # one clip must not end the run; the row says that the fault is ours
                if is_host_error(error):  # nor be blamed for a full disk
                    prove_room(folder)
                logger.exception("cutting clip %s of %s failed", clip["clip_id"], clip["source_uri"])
                message = f"{type(error).__name__}: {error}"
                failed.append(self._fail(clip, Reason.INTERNAL, message, permanent=False))
                continue
            content, print_ = content_fingerprint(clip, self._prints), cut_fingerprint(clip, self._prints)
            kept.append(WrittenClip(clip["clip_id"], content, print_, sound))
            yield ShardSample(clip["clip_id"], mp4, clip_json(clip | made), clip["caption_short"])

    def _fail(self, clip: dict[str, Any], reason: Reason, message: str, permanent: bool) -> dict[str, Any]:
        row = {"clip_id": clip["clip_id"], "reason": reason, "message": message}
        if permanent:
            self._failures.commit(clip["clip_id"], table([row], CUTS))
        return row

    def _copied(self, clip: dict[str, Any]) -> bytes | None:
        """The mp4 from the shard that the index names, if it was cut as it is wanted now."""
        if not has_bytes(clip, self._prints):
            return None
        return self._store.read_range(
            shard_key(clip["old_bucket"], clip["shard"]), clip["offset"], clip["size"]
        )

    def _cut(self, clip: dict[str, Any], scratch: Path) -> tuple[bytes, dict[str, Any], str | None]:
        """A clip's mp4; how it was made, and what became of its sound."""
        # A folder of its own: what decodes one source has neither the shard nor other sources' clips in its
        # reach.
        with TemporaryDirectory(dir=scratch) as folder:
            out = Path(folder) / "clip.mp4"
            how, sound = self._cut_to(clip, out)
            return read_output(out, self._most_bytes(clip)), how, sound

    def _cut_to(self, clip: dict[str, Any], out: Path) -> tuple[dict[str, Any], str | None]:
        cfg = self._cfg.cut
        try:
            made = self._cut_with(cfg, clip, out)
        except (MediaError, ChildError) as error:
            ours = isinstance(error, ChildError)
            of_a_process = isinstance(error, MediaError) and error.reason in _OF_A_PROCESS
            if cfg.audio != "keep" or not (ours or of_a_process):
                raise
            if ours:
                logger.exception(
                    "cutting clip %s of %s with its sound failed", clip["clip_id"], clip["source_uri"]
                )
            # Perhaps it was the sound; if not, the pictures fail again.
            made = self._cut_with(replace(cfg, audio="drop"), clip, out) | {"sound": f"left out: {error}"}
        if made["sound"] not in (None, KEPT):
            logger.info("sound of clip %s of %s: %s", clip["clip_id"], clip["source_uri"], made["sound"])
        how = {"cut_method": made["method"], "cut_why": made["why"], "lead_frames": made["lead_frames"]}
        return how, made["sound"]

    def _cut_with(self, cut: CutConfig, clip: dict[str, Any], out: Path) -> dict[str, Any]:
        from pipelines.cutting.cut import cut_clip
        from pipelines.cutting.reencode import ClipContent
        from pipelines.measure.sandboxed import decode_limits
        from pipelines.media.picture_format import from_text
        from pipelines.sandbox.child import call

        cfg, span = self._cfg, Span(clip["start_pts"], clip["end_pts"], Fraction(clip["time_base"]))
        with source_file(clip["source_uri"], clip["as_listed"], cfg.limits) as file:
            clock = self._clocks.get(clip["video_id"], file, clip["as_listed"][0])
            most = decode_limits(cfg.limits, span.duration_s, self._most_bytes(clip))
            content = ClipContent(
                span,
                clip["num_frames"],
                clip["frames_hash"],
                clock,
                from_text(clip["picture_format"]) if clip["picture_format"] else None,
                bool(clip["interlaced"]),
            )
            return call(cut_clip, file, out, content, cut, cfg.encode, limits=most, writes=out.parent)

    def _most_bytes(self, clip: dict[str, Any]) -> int:
        """Of a clip's mp4: not more than the source, or than its pixels as they are, even if it is encoded
        without loss."""
        raw_bytes = 3 * clip["width"] * clip["height"] * clip["num_frames"]
        return max(clip["as_listed"][0], raw_bytes) + 64 * _MIB
