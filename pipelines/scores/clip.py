"""Scores from CLIP embeddings: aesthetic quality and watermark probability. One forward pass per native
frame.

Without `scores.clip_model` these scores are null. The embedding stays in the rows; `match` holds captions to
it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.ids import sha256_file
from pipelines.scores import clip_model
from pipelines.scores.aesthetic_head import load_head
from pipelines.scores.base import Meter, MeterRow, NativeFrame, Score, reduce_native
from pipelines.scores.config import ScoreConfig
from pipelines.scores.embedding import COLUMN, normalised

VERSION = 1
WATERMARK_PROMPTS = (
    "a photo with a watermark",
    "a stock photo with a watermark across it",
    "an image with the logo of a website in its corner",
    "a video frame with the logo of a television channel",
)
CLEAN_PROMPTS = (
    "a photo",
    "a stock photo without a watermark",
    "an image with clean corners",
    "a video frame without any logo",
)


def check(cfg: ScoreConfig) -> None:
    """Check that the model and the aesthetic head exist and fit each other, without loading them.

    Raises:
        ValueError: which key is wrong, and what to do.
    """
    clip_model.check(cfg)
    if cfg.clip_aesthetic is None:
        return
    if cfg.clip_model is None:
        raise ValueError(
            f"scores.clip_aesthetic={cfg.clip_aesthetic} is a head on a CLIP's embedding; set "
            "scores.clip_model and scores.clip_pretrained"
        )
    load_head(Path(cfg.clip_aesthetic), clip_model.width(cfg))


def watermark_probability(picture: np.ndarray, prompts: np.ndarray, scale: float) -> float:
    """The share of `WATERMARK_PROMPTS` in a softmax over all prompts (zero-shot, Radford et al. 2021, 3.1).

    Args:
        picture: its embedding (D,).
        prompts: theirs (N, D), `WATERMARK_PROMPTS` first, then `CLEAN_PROMPTS`.
        scale: of the cosines, the model's.
    """
    logits = scale * (prompts @ picture).astype(np.float64)
    mass = np.exp(logits - logits.max())
    return float(mass[: len(WATERMARK_PROMPTS)].sum() / mass.sum())


def _load(cfg: ScoreConfig, precision: str) -> Callable[[NativeFrame], MeterRow]:
    check(cfg)
    clip_model.fetch(cfg)
    model = clip_model.ClipModel(cfg)
    prompts = model.embed_texts([*WATERMARK_PROMPTS, *CLEAN_PROMPTS])
    head = load_head(Path(cfg.clip_aesthetic), clip_model.width(cfg)) if cfg.clip_aesthetic else None

    def look(frame: NativeFrame) -> MeterRow:
        picture = model.embed_image(frame.rgb)
        return {
            COLUMN.name: normalised(picture),
            "aesthetic": head.score(picture) if head else None,
            "watermark": watermark_probability(picture, prompts, model.scale),
        }

    return look


def _settings(cfg: ScoreConfig, precision: str) -> Any:
    head = sha256_file(Path(cfg.clip_aesthetic)) if cfg.clip_aesthetic else None
    return [VERSION, clip_model.weights_identity(cfg), WATERMARK_PROMPTS, CLEAN_PROMPTS, head]


def _model(cfg: ScoreConfig) -> str:
    head = f" + {Path(cfg.clip_aesthetic).name}" if cfg.clip_aesthetic else ""
    return f"{clip_model.name(cfg)}{head}"


METER = Meter(
    name="clip",
    columns=(COLUMN, pa.field("aesthetic", pa.float32()), pa.field("watermark", pa.float32())),
    load=_load,
    settings=_settings,
    model=_model,
    missing=clip_model.missing,
)

SCORES = {
    "aesthetic": Score(
        reduce_native("clip", "aesthetic", np.mean),
        "mean over native frames of a LAION aesthetic head on the CLIP embedding",
        "1–10",
        "clip",
        low="unaesthetic",
        missing=lambda cfg: (
            None if cfg.clip_aesthetic else "needs an aesthetic head: set scores.clip_aesthetic"
        ),
    ),
    "watermark": Score(
        reduce_native("clip", "watermark"),
        "median over native frames of the probability of a watermark, by zero-shot prompts",
        "probability, 0–1",
        "clip",
        high="watermarked",
    ),
}
