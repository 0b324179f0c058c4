"""What the trainer needs to know of what it trains: one small protocol, which the VAE's and the DiT's tasks
fulfil.

A task is a pure reader: everything random in it is keyed by (seed, epoch, clip, window, draw), so it has no
state to save.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from jobs.training.config import TrainingConfig
from pipelines.batches.planner import Item, MicroBatch


class Task(Protocol):
    """One kind of training."""

    @property
    def cfg(self) -> TrainingConfig:
        """Its configuration."""

    @property
    def failed_clips(self) -> Mapping[str, str]:
        """Clips that could not be read so far, and why: they are left out."""

    def build(self) -> nn.Module:
        """A freshly initialised network; equal on every rank."""

    def items(self) -> Sequence[Item]:
        """What an epoch goes through once."""

    def held_out(self) -> Sequence[Item]:
        """What validation goes through; no moment of it is in `items`."""

    def load(self, batch: MicroBatch, epoch: int) -> tuple[MicroBatch, Any]:
        """Load a micro-batch: the readable part of it, and its data; called ahead of time in another thread.
        If nothing is readable, returns data of the same shape with zero weight.
        """

    def loss(self, network: Any, loaded: Any, device: Any, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Sum over the micro-batch of each sample's loss at the run's so-manyth step, and sums of what else
        is worth logging. `network` is called like the module.
        """

    def validate(self, network: Any, item: Item, device: Any) -> Mapping[str, tuple[float, float]]:
        """(sum, count) of each validation figure for one held-out window, `loss` among them; none if it can't
        be read."""

    def sample_images(self, network: Any, device: Any) -> Mapping[str, np.ndarray]:
        """Named pictures (H, W, 3) uint8 that show how far the network is."""

    def export(self, weights: Mapping[str, Tensor], folder: Path, facts: Mapping[str, Any]) -> None:
        """Write the trained model (the moving average) as others load it."""
