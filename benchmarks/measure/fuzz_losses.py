"""What a dataset shows of each damaged file, beside what FFmpeg's decoders show of it and what was in it
before the damage.

In: mutants of kinds of damage, the sound files they were made of, and a dataset. Out: seconds, by mutant.

- *by us*: footage that the dataset says is there: duration less what it says is lost, in clips of any status
  and in the transitions between them; nothing, if the file is quarantined. Never more than the sound file
  has: damage to a time may make a duration of anything.
- *by FFmpeg*: pictures that decode when errors are passed over, each for as long as one of the sound file is
  shown; without those that the decoder itself says it made up, which are *flagged*. Of the rest many are made
  up as well: grey, smeared, or from another picture than was meant.
- *right*: of either, what has exactly the samples that the sound file has; of ours by whole clips.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.footage.mutants import KINDS, Base, Mutant
from benchmarks.measure.plain_decode import shown_by_ffmpeg
from pipelines.media.picture import frames_hash
from pipelines.sandbox import child

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """Seconds of one damaged file, or of several together: see the module."""

    ours_s: float = 0.0
    ours_right_s: float = 0.0
    ffmpeg_s: float = 0.0
    ffmpeg_right_s: float = 0.0
    flagged_s: float = 0.0

    def __add__(self, other: "Shown") -> "Shown":
        return Shown(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def share(self) -> float:
        """Ours ÷ FFmpeg's; 1 if neither shows anything."""
        return _ratio(self.ours_s, self.ffmpeg_s)

    @property
    def share_of_right(self) -> float:
        """Ours that is right ÷ FFmpeg's that is right; 1 if neither is."""
        return _ratio(self.ours_right_s, self.ffmpeg_right_s)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("inf") if part else 1.0


class Comparison:
    """Compares mutants; each sound file is decoded once.

    Args:
        bases: what mutants were made of.
        scratch: an empty folder for them.
    """

    def __init__(self, bases: Sequence[Base], scratch: Path):
        self._bases, self._scratch = {base.name: base for base in bases}, scratch
        self._sound: dict[str, np.ndarray] = {}

    def shown(self, mutant: Mutant, path: Path, source: Row | None, clips: Iterable[Row]) -> Shown | None:
        """Of one mutant; None if it is no kind of damage, or its sound file is none whose loss could be told.

        Args:
            source: its row in the dataset; None if it has none.
            clips: its rows in the index.
        """
        sound = self._of_sound(mutant.base) if KINDS[mutant.kind].damage else ()
        if len(sound) < 2:
            return None
        step_s = (
            median(later - earlier for earlier, later in pairwise(sorted(sound[:, 0].tolist()))) / 1_000_000
        )
        most_s, hashes = len(sound) * step_s, sound[:, 1].tolist()
        pictures = shown_by_ffmpeg(path)
        kept = pictures[pictures[:, 2] == 0]
        right = int(np.isin(kept[:, 1], hashes).sum())
        clips = list(clips)
        return Shown(
            ours_s=min(most_s, _there_s(source, clips)),
            ours_right_s=min(
                most_s, step_s * sum(clip["num_frames"] for clip in clips if _is_right(clip, hashes))
            ),
            ffmpeg_s=len(kept) * step_s,
            ffmpeg_right_s=right * step_s,
            flagged_s=(len(pictures) - len(kept)) * step_s,
        )

    def _of_sound(self, name: str) -> np.ndarray:
        if name not in self._sound:
            path = self._scratch / name
            path.write_bytes(self._bases[name].data)
            self._sound[name] = shown_by_ffmpeg(path)
        return self._sound[name]

    def close(self) -> None:
        """End the process that decodes."""
        child.stop()


def _there_s(source: Row | None, clips: Sequence[Row]) -> float:
    if source is None or source["status"] != "video" or not source["duration_s"]:
        return 0.0
    lost_s = source.get("lost_s", 0.0)
    if lost_s is None:  # nobody knows
        return sum(clip["end_s"] - clip["start_s"] for clip in clips)
    return source["duration_s"] - lost_s


def _is_right(clip: Row, hashes: Sequence[int]) -> bool:
    """Whether its pictures follow each other so in the sound file."""
    count = clip["num_frames"]
    as_told = [value + (1 << 63) for value in hashes]
    return any(
        frames_hash(as_told[at : at + count]) == clip["frames_hash"] for at in range(len(hashes) - count + 1)
    )
