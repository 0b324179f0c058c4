"""Names made from content: videos, clips, fingerprints, files.

In: bytes and plain values. Out: short lower-case hex, safe as a WebDataset key and as a file name. The same
content has the same name on every machine and in every run.
"""

import dataclasses
import hashlib
import json
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

_ID_HEX = 32  # 128 bits: no collision among any number of clips one could own
READ_BYTES = 4 * 1024**2


def sha256_file(path: Path) -> str:
    """Full sha256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def video_id(path: Path) -> str:
    """Identity of a video: the hash of its file's bytes."""
    return sha256_file(path)[:_ID_HEX]


class VideoHasher:
    """`video_id` of a file whose bytes come in pieces."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, piece: bytes) -> None:
        self._digest.update(piece)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()[:_ID_HEX]


def clip_id(video: str, start_pts: int, end_pts: int) -> str:
    """Identity of a clip: which video, from where to where."""
    return hash_text(f"{video}:{start_pts}:{end_pts}")


def hash_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_ID_HEX]


def hash_text(text: str) -> str:
    return hash_bytes(text.encode())


def fingerprint(value: Any) -> str:
    """Hash of the canonical JSON of plain values, dataclasses, enums, fractions and their lists and dicts.

    Raises:
        TypeError: for anything else, since its text might differ between two runs.
    """
    return hash_text(canonical_json(value))[:16]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: one text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no canonical form")
