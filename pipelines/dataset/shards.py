"""Clips → one WebDataset tar, the same bytes every time, and where each mp4 lies in it.

In: samples in the order of the plan. Out: a tar with <clip_id>.json, .mp4, .txt for each (mtime 0, fixed
owner, sorted keys) and the offset and size of each mp4's data, for reading a clip without reading the shard.
"""

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.ids import canonical_json

VERSION = 1
_OWNER = "rushes"
_MODE = 0o644


@dataclass(frozen=True, slots=True)
class ShardSample:
    """One clip as it is stored: `passport` is what its .json says, `text` the short caption of its .txt."""

    clip_id: str
    mp4: bytes
    passport: dict[str, Any]
    text: str


def shard_key(bucket: str, shard: str) -> str:
    """Where a shard lies in a dataset."""
    return f"shards/{bucket}/{shard}.tar"


def write_shard(samples: Iterable[ShardSample], path: Path) -> None:
    """Write a tar, one sample in memory at a time: byte for byte as webdataset's own writer does, whose
    import takes two seconds of every process that writes."""
    with tarfile.open(path, "w") as tar:
        for sample in samples:
            parts = {
                "json": canonical_json(sample.passport).encode(),
                "mp4": sample.mp4,
                "txt": sample.text.encode(),
            }
            for suffix, data in parts.items():
                # Mode, owner, group and time would otherwise say who wrote it and when.
                member = tarfile.TarInfo(f"{sample.clip_id}.{suffix}")
                member.size, member.mode, member.uname, member.gname = len(data), _MODE, _OWNER, _OWNER
                tar.addfile(member, io.BytesIO(data))


def members(path: Path) -> dict[str, tuple[int, int]]:
    """name → (offset of the data, size), bytes. Raises ValueError if something else than files is inside."""
    with tarfile.open(path, "r:") as tar:
        found = {}
        for member in tar:
            if not member.isreg():
                raise ValueError(f"{path.name} holds {member.name}, which is no regular file")
            found[member.name] = (member.offset_data, member.size)
    return found


def read_member(path: Path, offset: int, size: int) -> bytes:
    """The bytes of a member at an offset that `members` returned."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)
