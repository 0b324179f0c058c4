"""One shard of a manifest → what in it is not as manifest and index say.

In: its entry in the manifest and the index rows of its clips. Out: findings. The tar is copied to scratch
piece by piece; nothing of it but one clip's json and text is ever in memory.
"""

import hashlib
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from jobs.cluster.worker_progress import ProgressReporter
from jobs.curation.clip_json import CUT_FIELDS, PASSPORT_FIELDS, differing_fields
from jobs.curation.fingerprints import Fingerprints
from jobs.curation.shard_writer import content_fingerprint
from jobs.upkeep.findings import Finding
from pipelines.cutting.check_clip import ExpectedClip, check_clip
from pipelines.dataset.manifest import Shard
from pipelines.dataset.pack import shard_id
from pipelines.dataset.schema import Row
from pipelines.dataset.shards import members, read_member
from pipelines.errors import MediaError
from pipelines.ids import hash_text
from pipelines.measure.sandboxed import decode_limits
from pipelines.media.config import LimitConfig
from pipelines.sandbox.answers import ChildError
from pipelines.sandbox.child import call
from pipelines.storage.base import Store
from pipelines.storage.open_store import open_store
from pipelines.untrusted import parse_object

_PIECE_BYTES = 16 * 1024**2
# a clip's files in order, and how their columns begin
_SUFFIXES = {"json": "json_", "mp4": "", "txt": "txt_"}
COLUMNS = tuple(dict.fromkeys((
    *PASSPORT_FIELDS, *CUT_FIELDS, "picture_format", "frames_hash", "encode_fingerprint", "offset", "size",
    "json_offset", "json_size", "txt_offset", "txt_size",
)))  # fmt: skip
"""Of the index, that a shard is compared with."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What all shards of a dataset are checked with.

    Attributes:
        prints: to recompute the ids of shards; None where they can't be.
        sample: share of clips that is decoded, 0 to 1.
    """

    dataset: str
    prints: Fingerprints | None
    limits: LimitConfig
    sample: float


class ShardChecker:
    """Checks shards, one at a time.

    Args:
        watch: learns what is begun and ended.
        each: as `map`: how clips are decoded, one after another or side by side.
    """

    def __init__(
        self,
        settings: Settings,
        watch: ProgressReporter | None = None,
        each: Callable[[Callable[[Row], list[Finding]], Sequence[Row]], Iterable[list[Finding]]] = map,
    ):
        self._settings = settings
        self._watch = watch or ProgressReporter()
        self._each = each
        self._store = open_store(settings.dataset)

    def __call__(self, job: Row) -> dict[str, Any]:
        """Check one shard.

        Args:
            job: `shard` as the manifest has it, `size_bytes` as it is, `known`: whether the index can be
                relied on, and `clips`, its rows of the index in order.

        Returns:
            `found`, the fields of each finding; `decoded`, how many clips were.
        """
        shard = Shard(**job["shard"])
        found: list[Finding] = []
        decoded = 0
        try:
            with self._watch.working_on("verifying", shard.key), self._store.scratch() as folder:
                decoded = self._check(job, shard, folder, found)
        except MediaError as error:  # workers died over it, again and again
            found.append(Finding("shard", shard.key, error.message))
        return {"found": [[f.check, f.where, f.what] for f in found], "decoded": decoded}

    def _check(self, job: Row, shard: Shard, folder: Path, found: list[Finding]) -> int:
        """How many clips were decoded."""
        path, clips = folder / "shard.tar", job["clips"]
        try:
            sha256 = _fetch(self._store, shard.key, job["size_bytes"], path)
        except (FileNotFoundError, EOFError, PermissionError, ValueError) as error:
            found.append(Finding("shard", shard.key, f"it can't be read ({error})"))
            return 0
        if sha256 != shard.sha256:
            found.append(Finding("hash", shard.key, f"its sha256 is {sha256}, not {shard.sha256}"))
        if not job["known"]:
            return 0
        wrong, sound = _members(path, shard, clips)
        found += [*wrong, *self._id(shard, clips)]
        clips = [clip for clip in clips if clip["clip_id"] in sound]
        found += [wrong for clip in clips for wrong in _texts(path, clip, shard)]
        decoded = [clip for clip in clips if sampled(clip["clip_id"], self._settings.sample)]
        for wrong in self._each(lambda clip: self._decoded(path, clip, shard, folder), decoded):
            found += wrong
        return len(decoded)

    def _id(self, shard: Shard, clips: Sequence[Row]) -> Iterator[Finding]:
        prints = self._settings.prints
        if prints is None or any(clip["encode_fingerprint"] != prints.cut for clip in clips):
            return
        told = shard_id([(clip["clip_id"], content_fingerprint(clip, prints)) for clip in clips])
        if told != shard.id:
            yield Finding("shard id", shard.key, f"the index has clips in it that make it {told}")

    def _decoded(self, path: Path, clip: Row, shard: Shard, folder: Path) -> list[Finding]:
        where, file = _where(clip, shard), folder / f"{clip['clip_id']}.mp4"
        _extract(path, clip["offset"], clip["size"], file)
        length = (clip["end_pts"] - clip["start_pts"]) * Fraction(clip["time_base"])
        same = clip["frames_hash"] if clip["cut_method"] == "copy" else None
        square = clip["picture_format"] is not None
        promised = ExpectedClip(clip["num_frames"], clip["width"], clip["height"], length, same, square)
        try:
            with self._watch.working_on("decoding", where):
                wrong = call(
                    check_clip, file, promised, limits=decode_limits(self._settings.limits, float(length))
                )
        except MediaError as error:
            wrong = [f"{error.reason}: {error.message}"]
        except ChildError as error:  # a fault of ours, and no reason to leave the others unchecked
            wrong = [f"it could not be checked ({error})"]
        file.unlink()
        return [Finding("decode", where, what) for what in wrong]


def sampled(clip_id: str, share: float) -> bool:
    """Whether a clip is among those decoded: by its id, so that it is the same ones every time."""
    return int(hash_text(clip_id)[:8], 16) < share * 16**8


def _fetch(store: Store, key: str, size_bytes: int, path: Path) -> str:
    """Copy an object, and its sha256. Raises FileNotFoundError, EOFError."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for offset in range(0, size_bytes, _PIECE_BYTES):
            piece = store.read_range(key, offset, min(_PIECE_BYTES, size_bytes - offset))
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _members(path: Path, shard: Shard, clips: Sequence[Row]) -> tuple[list[Finding], set[str]]:
    """The tar holds the index's clips, in order, where the index says, and nothing else.

    Returns:
        what is not so; and the ids of clips whose three files are where they should be.
    """
    try:
        have = members(path)
    except (tarfile.TarError, ValueError) as error:
        return [Finding("members", shard.key, f"it is no tar of clips ({error})")], set()
    want = {f"{clip['clip_id']}.{suffix}": clip for clip in clips for suffix in _SUFFIXES}
    wrong = [f"{name} is in it, and the index does not know it" for name in have if name not in want]
    sound = {clip["clip_id"] for clip in clips}
    for name, clip in want.items():
        prefix = _SUFFIXES[name.removeprefix(f"{clip['clip_id']}.")]
        offset, size = clip[f"{prefix}offset"], clip[f"{prefix}size"]
        if name not in have:
            wrong.append(f"{name} is not in it")
        elif have[name] != (offset, size):
            wrong.append(
                f"{name} is {have[name][1]} bytes at {have[name][0]}; the index says {size} bytes at {offset}"
            )
        else:
            continue
        sound.discard(clip["clip_id"])
    if [name for name in have if name in want] != [name for name in want if name in have]:
        wrong.append("its clips are in another order than in the index")
    return [Finding("members", shard.key, what) for what in wrong], sound


def _texts(path: Path, clip: Row, shard: Shard) -> Iterator[Finding]:
    """A clip's json and text say what the index says."""
    where = _where(clip, shard)
    text = read_member(path, clip["txt_offset"], clip["txt_size"])
    if text != clip["caption_short"].encode():
        yield Finding("caption", where, "its .txt is not the short caption of the index")
    try:
        told = parse_object(read_member(path, clip["json_offset"], clip["json_size"]), where)
    except ValueError:
        yield Finding("passport", where, "its .json is none")
        return
    if other := differing_fields(told, clip):
        yield Finding(
            "passport", where, f"its .json says something else than the index of {', '.join(other)}"
        )


def _where(clip: Row, shard: Shard) -> str:
    return f"clip {clip['clip_id']} in {shard.key}"


def _extract(path: Path, offset: int, size: int, out: Path) -> None:
    with path.open("rb") as tar, out.open("wb") as file:
        tar.seek(offset)
        while size > 0 and (piece := tar.read(min(_PIECE_BYTES, size))):
            file.write(piece)
            size -= len(piece)
