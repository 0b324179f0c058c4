"""Pictures of clips for the page: of kept clips from their shards, of rejected ones from footage that was
given, as long as it is unchanged. What only a row of the dataset names is not opened.

In: rows of the index, and how many pictures of what height. Out: frames. Views ask for pictures twice: first
to say which they need, then, when all of those were made, to show them. So each clip is opened once, for all
that is shown of it, and several at a time; always in killable children: a dataset is as foreign as its
footage.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing

import numpy as np

from jobs.cli.progress import progress
from jobs.cluster import in_process
from jobs.curation.clocks import Clocks
from jobs.curation.config import CurateConfig
from pipelines.dataset.reader import Dataset
from pipelines.dataset.schema import KEPT, Row
from pipelines.deadline import run_with_deadline
from pipelines.errors import MediaError, Reason
from pipelines.footage.allowed_footage import AllowedFootage
from pipelines.footage.source_file import source_file
from pipelines.measure import sandboxed
from pipelines.media.ranged import size_of
from pipelines.sandbox import child
from pipelines.sandbox.answers import ChildError

logger = logging.getLogger(__name__)

_BATCH_CLIPS = 16  # of one source, which is gone through once for them

Wanted = tuple[int, int]
"""How many pictures, spread over a clip, and how high."""


class Pictures:
    """Pictures of the clips of one dataset.

    Args:
        cfg: that it was curated with: what decoding may take.
        sizes_bytes: of each source when it was curated, by URI.
        given: footage that rejected clips may be shown from.
    """

    def __init__(
        self, dataset: Dataset, cfg: CurateConfig, sizes_bytes: Mapping[str, int], allowed: AllowedFootage
    ):
        self._dataset, self._cfg, self._sizes_bytes, self._given = dataset, cfg, sizes_bytes, allowed
        self._rows: dict[str, Row] = {}
        self._wanted: dict[str, dict[Wanted, None]] = defaultdict(dict)
        self._made: dict[tuple[str, Wanted], np.ndarray] = {}

    def get(self, row: Row, num: int, height: int) -> np.ndarray | None:
        """`num` pictures spread over a clip, uint8 (num, height, W, 3), W at its own aspect; None where there
        are none (the log says why), or not yet: then `make` will make them.
        """
        self._rows[row["clip_id"]] = row
        self._wanted[row["clip_id"]][num, height] = None
        return self._made.get((row["clip_id"], (num, height)))

    def decode_requested(self) -> None:
        """All that was asked for.

        Raises:
            FileNotFoundError, EOFError: a shard is not what the manifest says.
        """
        kept, rejected = [], defaultdict(list)
        for clip_id in self._wanted:
            row = self._rows[clip_id]
            kept.append([row]) if row["status"] == KEPT else rejected[row["source_uri"]].append(row)
        for uri in [uri for uri in rejected if not self._given.allows(uri)]:
            logger.info(
                "no pictures of the rejected clips of %s, which is under no footage= that was given", uri
            )
            del rejected[uri]
        batches = kept
        for rows in rejected.values():
            rows.sort(key=lambda row: (row["start_s"], row["clip_id"]))
            batches += [rows[k : k + _BATCH_CLIPS] for k in range(0, len(rows), _BATCH_CLIPS)]
        with (
            progress("report: pictures", total=sum(map(len, batches)), unit="clips") as bar,
            closing(in_process.map_in_threads(self._batch, batches)) as made,
        ):
            for batch in made:
                for clip_id, pictures in batch.items():
                    wanted = [(clip_id, size) for size in self._wanted[clip_id]]
                    self._made |= dict(zip(wanted, pictures, strict=False))  # of a clip without pictures none
                    bar.advance()

    def _batch(self, rows: Sequence[Row]) -> dict[str, list[np.ndarray]]:
        """By clip id, the pictures of one kept clip, or of rejected ones of one source; of those, if they
        fail, of each alone."""
        try:
            flat = self._kept(rows[0]) if rows[0]["status"] == KEPT else self._rejected(rows)
            shapes = [shape for row in rows for shape in self._shapes(row)]
            frames = iter(_divided(flat, [(*shape, 3) for shape in shapes]))
            return {row["clip_id"]: [next(frames) for _ in self._wanted[row["clip_id"]]] for row in rows}
        except (MediaError, ChildError) as error:
            if len(rows) > 1 and getattr(error, "reason", None) != Reason.MISSING:
                return {clip_id: frames for row in rows for clip_id, frames in self._batch([row]).items()}
            for row in rows:
                logger.warning("no picture of clip %s from %s: %s", row["clip_id"], row["source_uri"], error)
            return {row["clip_id"]: [] for row in rows}

    def _kept(self, row: Row) -> np.ndarray:
        length_s = row["end_s"] - row["start_s"]
        limits = sandboxed.decode_limits(self._cfg.limits, length_s)
        return child.call(
            sandboxed.sample_clip_pictures,
            self._dataset.read(row, "mp4"),
            length_s,
            self._shapes(row),
            limits=limits,
        )

    def _rejected(self, rows: Sequence[Row]) -> np.ndarray:
        uri, whole_s = rows[0]["source_uri"], rows[-1]["end_s"] - rows[0]["start_s"]
        stretches = [(row["start_pts"], row["end_s"] - row["start_s"], self._shapes(row)) for row in rows]
        with source_file(uri, limits=self._cfg.limits) as file:
            size_bytes = run_with_deadline(lambda: size_of(file), self._cfg.limits.deadline_s)
            if size_bytes != self._sizes_bytes.get(uri):
                raise MediaError(Reason.MISSING, "the file has changed since it was curated")
            clock = Clocks(self._dataset.store, self._cfg).get(rows[0]["video_id"], file, size_bytes)
            return child.call(
                sandboxed.sample_pictures,
                file,
                clock,
                stretches,
                limits=sandboxed.decode_limits(self._cfg.limits, whole_s),
            )

    def _shapes(self, row: Row) -> list[tuple[int, int, int]]:
        return [(num, height, picture_width(row, height)) for num, height in self._wanted[row["clip_id"]]]


def picture_width(row: Row, height: int) -> int:
    """Width of a clip's picture at a height, at its own aspect; even."""
    return max(2, 2 * round(height * row["width"] / row["height"] / 2))


def _divided(flat: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Arrays of these shapes from all their bytes.

    Raises:
        MediaError: there are more or fewer.
    """
    ends = np.cumsum([np.prod(shape) for shape in shapes]).tolist()
    if flat.dtype != np.uint8 or flat.shape != (ends[-1],):
        raise MediaError(Reason.CRASHED, "the process that decodes gave back something else than pictures")
    return [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)]
