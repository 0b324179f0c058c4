"""How different two videos look: distances of features, which blur and texture move more than they move a
mean error.

In: original and reconstruction, (B, 3, T, H, W) in [-1, 1]. Out: a distance per video, (B,), 0 for equal
ones, differentiable in the reconstruction. A distance holds frozen weights and nothing that a checkpoint must
keep.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jobs.training.exports import PERCEPTUAL
from model.config import unknown_name_message
from pipelines.vision import imagenet

Distance = Callable[[Tensor, Tensor], Tensor]

# The last block at each of 1/2, 1/4, 1/8 and 1/16 of the frame's size: 16, 24, 48 and 120 channels.
_LAST_BLOCKS = (0, 3, 6, 14)
_MIN_SIDE_PX = 64


def perceptual_distance(name: str, weights: str | Path | None = None) -> Distance:
    """The distance of that name.

    Args:
        name: `efficientnet` (comes with the project's packages) or `lpips`.
        weights: of `lpips`: a file with the state of a whole `lpips.LPIPS`, AlexNet's or VGG's.

    Raises:
        ValueError: with the near miss; or the package or the weights of `lpips` are missing or don't fit.
        FileNotFoundError: the weights are not there.
    """
    if name not in PERCEPTUAL:
        raise ValueError(unknown_name_message("perceptual distance", name, PERCEPTUAL))
    if name == "lpips":
        return LpipsDistance(weights)
    if weights is not None:
        raise ValueError(
            f"perceptual distance '{name}' brings its weights along; leave out {weights}, or take 'lpips'"
        )
    return EfficientNetDistance()


class EfficientNetDistance:
    """Features of EfficientNet-Lite2 at four depths, compared as LPIPS does, but unweighted.

    Tan & Le 2019; Zhang et al. 2018. At each depth features are scaled to length 1 over channels per
    position; squared differences are summed over channels, averaged over positions, then summed over depths:
    0 … 16. A video's distance is the mean of its frames'. Frames are taken at their own size, unless the
    shorter side is under 64 pixels. Computed in float32 also under autocast. Gradients reach the
    reconstruction only, so the original's features cost no memory.
    """

    def __init__(self) -> None:
        # initial weights are drawn, and must not move anybody's numbers
        with torch.random.fork_rng(devices=[]):
            net: Any = imagenet.network()  # a class without types
        blocks, stem = list(net._blocks), [net._conv_stem, net._swish]
        ends = [last + 1 for last in _LAST_BLOCKS]
        stages = [
            nn.Sequential(*stem, *blocks[: ends[0]]),
            *(nn.Sequential(*blocks[a:b]) for a, b in pairwise(ends)),
        ]
        self._stages = nn.ModuleList(stages).requires_grad_(False).to(memory_format=torch.channels_last)

    def __call__(self, x_BCTHW: Tensor, y_BCTHW: Tensor) -> Tensor:
        self._stages.to(x_BCTHW.device)
        with torch.autocast(x_BCTHW.device.type, enabled=False):
            with torch.no_grad():
                originals = self._features(x_BCTHW)
            distance_N = torch.zeros((), device=x_BCTHW.device)
            for a_NCHW, b_NCHW in zip(originals, self._features(y_BCTHW), strict=True):
                distance_N = distance_N + (a_NCHW - b_NCHW).square().sum(1).mean((1, 2))
        return distance_N.view(len(x_BCTHW), -1).mean(1)

    def _features(self, x_BCTHW: Tensor) -> list[Tensor]:
        x_NCHW = ((_frames(x_BCTHW) + 1) * 127.5 - imagenet.MEAN) / imagenet.SCALE
        x_NCHW = x_NCHW.contiguous(memory_format=torch.channels_last)
        features = []
        for stage in self._stages:
            x_NCHW = stage(x_NCHW)
            features.append(F.normalize(x_NCHW, dim=1))
        return features


class LpipsDistance:
    """LPIPS (Zhang et al. 2018) from the package `lpips`, with weights from a file: nothing is downloaded."""

    def __init__(self, weights: str | Path | None) -> None:
        try:
            from lpips import LPIPS
        except ImportError as error:
            raise ValueError(
                "perceptual distance 'lpips' needs the package of that name: pip install lpips; or take "
                "'efficientnet'"
            ) from error
        if weights is None:
            raise ValueError(
                "perceptual distance 'lpips' needs its weights: a file made with "
                "torch.save(lpips.LPIPS(net='alex').state_dict(), file), for example"
            )
        if not Path(weights).is_file():
            raise FileNotFoundError(f"no weights of 'lpips' in {weights}: it is not a file")
        state = torch.load(weights, weights_only=True, map_location="cpu")
        first = state.get("net.slice1.0.weight") if isinstance(state, dict) else None
        if first is None:
            raise ValueError(f"{weights} holds no state of lpips.LPIPS: it has no net.slice1.0.weight")
        name = "alex" if first.shape[-1] == 11 else "vgg"  # AlexNet begins with 11 × 11, VGG with 3 × 3
        with torch.random.fork_rng(devices=[]):
            net = LPIPS(net=name, pretrained=False, pnet_rand=True, verbose=False)
        try:
            net.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"weights in {weights} don't fit LPIPS with '{name}': {error}") from error
        self._net = net.requires_grad_(False).eval()

    def __call__(self, x_BCTHW: Tensor, y_BCTHW: Tensor) -> Tensor:
        self._net.to(x_BCTHW.device)
        with torch.autocast(x_BCTHW.device.type, enabled=False):
            distance_N = self._net(_frames(x_BCTHW.detach()), _frames(y_BCTHW)).flatten()
        return distance_N.view(len(x_BCTHW), -1).mean(1)


def _frames(x_BCTHW: Tensor) -> Tensor:
    """All frames of all videos, float32 (B·T, 3, H, W); a shorter side under 64 pixels is enlarged to
    that."""
    x_NCHW = x_BCTHW.float().transpose(1, 2).flatten(0, 1)
    side = min(x_NCHW.shape[-2:])
    if side >= _MIN_SIDE_PX:
        return x_NCHW
    larger = [round(length * _MIN_SIDE_PX / side) for length in x_NCHW.shape[-2:]]
    return F.interpolate(x_NCHW, size=larger, mode="bilinear", align_corners=False)
