"""Clips of one source → scores that need a second look at them: DOVER, which sees more frames than the one
decode shows.

In: a batch of clip rows of one source. Out: a row with `technical` per clip, or why it has none, committed as
one unit of the stage. The actor that Ray keeps holds the network; frames are read in the killable child, and
only what the network sees of them comes out.
"""

import logging
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.cluster.worker_progress import ProgressReporter
from jobs.curation.clocks import Clocks
from jobs.curation.config import CurateConfig
from pipelines.dataset.stages import Stage
from pipelines.errors import MediaError, Reason
from pipelines.footage.source_file import source_file
from pipelines.ids import fingerprint
from pipelines.measure import sandboxed
from pipelines.media.clock import Clock
from pipelines.media.ranged import File
from pipelines.sandbox import child
from pipelines.sandbox.answers import ChildError
from pipelines.storage.open_store import open_store

logger = logging.getLogger(__name__)
DOVER_ROWS = pa.schema(
    [pa.field("clip_id", pa.string()), pa.field("technical", pa.float64()), pa.field("why", pa.string())]
)


class SecondLook:
    """Scores batches. Making one loads DOVER."""

    def __init__(
        self, dataset: str, cfg: CurateConfig, stage_fingerprint: str, watch: ProgressReporter | None = None
    ):
        from pipelines.scores.dover import Dover

        self._cfg = cfg
        self._watch = watch or ProgressReporter()
        store = open_store(dataset)
        self._stage = Stage(store, "dover", stage_fingerprint)
        self._clocks = Clocks(store, cfg)
        assert cfg.scores.dover is not None, "whoever has no weights of DOVER looks at nothing twice"
        self._dover = Dover(Path(cfg.scores.dover))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """batch: `source_uri` and `clips`, a list of index rows. Returns {"rows": rows of `DOVER_ROWS`}."""
        clips = batch["clips"]
        try:
            with source_file(batch["source_uri"], clips[0]["as_listed"], self._cfg.limits) as file:
                clock = self._clocks.get(clips[0]["video_id"], file, clips[0]["as_listed"][0])
                looked = [self._look(file, clock, clip) for clip in clips]
        except (MediaError, ChildError) as error:
            looked = [_none(clip, error) for clip in clips]
        kept = [row for row, lasting in looked if lasting]
        if kept:
            unit = fingerprint(sorted(row["clip_id"] for row in kept))
            self._stage.commit(unit, pa.Table.from_pylist(kept, schema=DOVER_ROWS))
        return {"rows": [row for row, _ in looked]}

    def _look(self, file: File, clock: Clock, clip: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """A row, and whether it would be the same another time."""
        from pipelines.scores.dover import views

        try:
            with self._watch.working_on(
                "looking again at", f"clip {clip['clip_id']} of {clip['source_uri']}"
            ):
                limits = sandboxed.decode_limits(self._cfg.limits, clip["duration_s"])
                seen = child.call(
                    views,
                    file,
                    clock,
                    clip["start_pts"],
                    clip["num_frames"],
                    self._dover.windows,
                    limits=limits,
                )
                return {"clip_id": clip["clip_id"], "technical": self._dover.score(seen), "why": None}, True
        except MediaError as error:
            return _none(clip, error)
        except Exception as error:  # one clip must not end the run; it has no score then, and says why
            logger.exception("looking again at clip %s of %s failed", clip["clip_id"], clip["source_uri"])
            return _none(clip, error)


def _none(clip: dict[str, Any], error: Exception) -> tuple[dict[str, Any], bool]:
    why = (
        str(error) if isinstance(error, MediaError) else f"{Reason.INTERNAL}: {type(error).__name__}: {error}"
    )
    return {"clip_id": clip["clip_id"], "technical": None, "why": why}, isinstance(
        error, MediaError
    ) and error.permanent
