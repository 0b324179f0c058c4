"""Captioned clips → how well each caption tells what its clip shows: the actor that Ray keeps, one CLIP each.

In: a batch of clip ids with their captions, and the embeddings that their frames have from the one decode.
Out: a row with `text_match` per clip, committed as one unit of the stage. No footage is touched.
"""

import base64
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.cluster.worker_progress import ProgressReporter
from jobs.curation.config import CurateConfig
from pipelines.dataset.stages import Stage
from pipelines.ids import fingerprint
from pipelines.storage.open_store import open_store

BATCH_CLIPS = 256
MATCHES = pa.schema(
    [pa.field("clip_id", pa.string()), pa.field("caption", pa.string()), pa.field("text_match", pa.float64())]
)


def encode_embedding(embedding: np.ndarray) -> str:
    """An embedding as text that travels with a row: float16, base64."""
    return base64.b64encode(np.asarray(embedding, "<f2").tobytes()).decode()


def _unpacked(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f2").astype(np.float32)


class MatchWorker:
    """Compares batches. Making one loads the text half of the CLIP."""

    def __init__(
        self, dataset: str, cfg: CurateConfig, stage_fingerprint: str, watch: ProgressReporter | None = None
    ):
        from pipelines.scores.match import Matcher

        self._watch = watch or ProgressReporter()
        self._stage = Stage(open_store(dataset), "match", stage_fingerprint)
        self._matcher = Matcher(cfg.scores)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """batch: `clips`, a list of `clip_id`, `caption` and `embedding` as `encode_embedding`. Returns
        {"rows": rows of `MATCHES`}.

        Raises:
            WorkerLostError: no footage is touched here, so it is the model that is too much for its worker.
        """
        clips = batch["clips"]
        with self._watch.working_on(
            "matching", f"{len(clips)} captions, the first of clip {clips[0]['clip_id']}"
        ):
            embeddings = np.stack([_unpacked(clip["embedding"]) for clip in clips])
            values = self._matcher.match([clip["caption"] for clip in clips], embeddings)
        rows = [
            {"clip_id": clip["clip_id"], "caption": clip["caption"], "text_match": value}
            for clip, value in zip(clips, values, strict=True)
        ]
        unit = fingerprint(sorted([clip["clip_id"], clip["caption"]] for clip in clips))
        return {"rows": self._stage.commit_rows(unit, pa.Table.from_pylist(rows, schema=MATCHES)).to_pylist()}
