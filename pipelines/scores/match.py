"""How well a caption says what is to be seen: cosine of its CLIP embedding with the clip's (Hessel et al.
2021).

In: short captions, and embeddings of clips (`embedding.clip_embedding` of the rows of the meter `clip`). Out:
a score for each. It needs a caption, so a stage of its own fills it in after captioning.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.scores import clip_model
from pipelines.scores.base import MATCH, Score
from pipelines.scores.config import ScoreConfig

VERSION = 1

missing = clip_model.missing
model = clip_model.name


def settings(cfg: ScoreConfig) -> Any:
    """Plain values that matches depend on, besides captions and embeddings."""
    return [VERSION, clip_model.weights_identity(cfg)]


class Matcher:
    """Reads captions with the configured CLIP. Making one loads the model.

    Raises:
        ValueError: there is no such model.
    """

    def __init__(self, cfg: ScoreConfig):
        self._model = clip_model.ClipModel(cfg)

    def match(self, captions: Sequence[str], embeddings: np.ndarray) -> list[float]:
        """The cosine of each caption with its clip, −1 to 1.

        Args:
            captions: short ones; what a CLIP can't read, beyond its few dozen words, is cut off.
            embeddings: of the clips, (N, D), in the same order, each of length 1.
        """
        if len(captions) != len(embeddings):
            raise ValueError(f"{len(captions)} captions for {len(embeddings)} clips")
        if not captions:
            return []
        return np.sum(self._model.embed_texts(captions) * np.asarray(embeddings, np.float32), axis=1).tolist()


SCORES = {
    "text_match": Score(
        None,
        "cosine between the CLIP embeddings of the short caption and of the clip",
        "cosine, −1 to 1",
        MATCH,
        low="mismatched",
        missing=missing,
    ),
}
