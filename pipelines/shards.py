"""Clips → one WebDataset tar, the same bytes every time, and where each mp4 lies in it.

In: samples in the order of the plan. Out: a tar with <clip_id>.json, .mp4, .txt for each (mtime 0, fixed owner, sorted
keys) and the offset and size of each mp4's data, for reading a clip without reading the shard.
"""

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
class Sample:
    """One clip as it is stored: `passport` is what its .json says, `text` the short caption of its .txt."""

    clip_id: str
    mp4: bytes
    passport: dict[str, Any]
    text: str


def shard_key(bucket: str, shard: str) -> str:
    """Where a shard lies in a dataset."""
    return f"shards/{bucket}/{shard}.tar"


def write_shard(samples: Iterable[Sample], path: Path) -> None:
    """Write a tar, one sample in memory at a time."""
    import webdataset

    with path.open("wb") as file:
        # mode, user, group and mtime would otherwise say who wrote it and when.
        writer = webdataset.TarWriter(file, user=_OWNER, group=_OWNER, mode=_MODE, mtime=0, encoder=False)
        for sample in samples:
            writer.write(
                {
                    "__key__": sample.clip_id,
                    "json": canonical_json(sample.passport).encode(),
                    "mp4": sample.mp4,
                    "txt": sample.text.encode(),
                }
            )
        writer.close()


def members(path: Path) -> dict[str, tuple[int, int]]:
    """name → (offset of the data, size), bytes. Raises ValueError if something else than files is inside."""
    with tarfile.open(path, "r:") as tar:
        found = {}
        for member in tar:
            if not member.isreg():
                raise ValueError(f"{path.name} holds {member.name}, which is no regular file")
            found[member.name] = (member.offset_data, member.size)
    return found
