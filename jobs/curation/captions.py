"""Kept clips → captions: the actor that Ray keeps, one captioner each; or right here, where no frame is to be
seen.

In: a batch of clip rows of one source. Out: caption rows, committed as one unit of the stage before they are
returned. Each answer carries its clip's id, and is checked to be the one that was asked for.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from jobs.cluster.worker_progress import ProgressReporter
from jobs.curation.clocks import Clocks
from jobs.curation.config import CurateConfig
from pipelines.dataset.schema import CAPTIONS, table
from pipelines.dataset.stages import Stage
from pipelines.errors import MediaError, Reason
from pipelines.footage.source_file import source_file
from pipelines.ids import fingerprint
from pipelines.measure import sandboxed
from pipelines.media.clock import Clock
from pipelines.media.ranged import File
from pipelines.sandbox import child
from pipelines.sandbox.answers import ChildError
from pipelines.scores.registry import SCORES
from pipelines.storage.open_store import open_store
from recaption.base import NO_FRAMES, Caption, ClipView
from recaption.captioners.registry import load_captioner, required_scores
from recaption.config import CaptionConfig

logger = logging.getLogger(__name__)
BATCH_CLIPS = 32  # of one source: its index is read once for them all
FRAMELESS_BATCH_CLIPS = 4096  # of any: nothing is read


def caption_input_hash(clip: Mapping[str, Any], cfg: CaptionConfig) -> str:
    """Hash of a captioner's inputs other than frames. A clip is captioned again only if this hash changes:
    not if a score is measured again with the same value, and not if a score changes that captions don't use.
    """
    return fingerprint([clip["source_text"], *(clip[name] for name in required_scores(cfg))])


class CaptionWorker:
    """Captions batches."""

    def __init__(
        self, dataset: str, cfg: CurateConfig, stage_fingerprint: str, watch: ProgressReporter | None = None
    ):
        self._cfg = cfg
        self._watch = watch or ProgressReporter()
        store = open_store(dataset)
        self._stage = Stage(store, "captions", stage_fingerprint)
        self._clocks = Clocks(store, cfg)
        self._captioner = load_captioner(cfg.captioner)
        if self._captioner.fingerprint != stage_fingerprint:
            raise RuntimeError(
                "the captioner here differs from the one the run was planned with; install the same on all "
                "nodes"
            )

    def needs_no_frames(self, clip: Mapping[str, Any]) -> bool:
        """Whether the captioner needs no frames of a clip; its source may then be missing."""
        return not self._captioner.num_frames_needed(clip)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """batch: `source_uri` and `clips`, a list of index rows; no `source_uri` if all are `blind`. Returns
        {"rows": caption rows}.
        """
        clips = batch["clips"]
        rows = [self._caption(clip, NO_FRAMES) for clip in clips if self.needs_no_frames(clip)]
        rows += self._seen(batch["source_uri"], [clip for clip in clips if not self.needs_no_frames(clip)])
        told = {clip["clip_id"]: caption_input_hash(clip, self._cfg.captioner) for clip in clips}
        rows = [row | {"shown": told[row["clip_id"]]} for row in rows]
        permanent = [row for row in rows if "reason" not in row or row["reason"].permanent]
        if permanent:
            unit = fingerprint(sorted([row["clip_id"], row["shown"]] for row in permanent))
            self._stage.commit(unit, table(permanent, CAPTIONS))
        return {"rows": table(rows, CAPTIONS).to_pylist()}

    def _seen(self, source_uri: str | None, clips: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Captions of clips that have to be looked at."""
        if not clips:
            return []
        assert source_uri is not None, "clips that are looked at are of a source"
        try:
            with source_file(source_uri, clips[0]["as_listed"], self._cfg.limits) as file:
                clock = self._clocks.get(clips[0]["video_id"], file, clips[0]["as_listed"][0])
                return [self._looked_at(file, clock, clip) for clip in clips]
        except MediaError as error:
            return [_failed(clip, error.reason, error.message) for clip in clips]
        except ChildError as error:
            return [_failed(clip, Reason.INTERNAL, str(error)) for clip in clips]

    def _looked_at(self, file: File, clock: Clock, clip: dict[str, Any]) -> dict[str, Any]:
        try:
            with self._watch.working_on("captioning", f"clip {clip['clip_id']} of {clip['source_uri']}"):
                return self._caption(clip, self._frames(file, clock, clip))
        except MediaError as error:
            return _failed(clip, error.reason, error.message)
        except ChildError as error:
            return _failed(clip, Reason.INTERNAL, str(error))

    def _frames(self, file: File, clock: Clock, clip: dict[str, Any]) -> np.ndarray:
        count = min(self._captioner.num_frames_needed(clip), clip["num_frames"])
        limits = sandboxed.decode_limits(self._cfg.limits, clip["duration_s"])
        return child.call(
            sandboxed.pick_frames, file, clock, clip["start_pts"], clip["num_frames"], count, limits=limits
        )

    def _caption(self, clip: dict[str, Any], frames: np.ndarray) -> dict[str, Any]:
        scores = {name: clip[name] for name in SCORES}
        view = ClipView(clip["clip_id"], frames, scores, clip["duration_s"], clip["source_text"])
        try:
            caption = self._captioner.caption(view)
        except Exception as error:  # one clip must not end the run; the row says that the fault is ours
            logger.exception("captioning clip %s of %s failed", clip["clip_id"], clip["source_uri"])
            return _failed(clip, Reason.INTERNAL, f"{type(error).__name__}: {error}")
        assert caption.clip_id == clip["clip_id"], "the captioner answered for another clip"
        return _row(caption)


def _failed(clip: dict[str, Any], reason: Reason, message: str) -> dict[str, Any]:
    return {"clip_id": clip["clip_id"], "reason": reason, "message": message}


def _row(caption: Caption) -> dict[str, Any]:
    tags = {f"tag_{name}": list(words) for name, words in asdict(caption.tags).items()}
    return {
        "clip_id": caption.clip_id,
        "caption_short": caption.short,
        "caption_dense": caption.dense,
        "caption_model": caption.model,
        **tags,
    }
