"""A running average of weights, which samples better than the weights themselves.

In: mappings from name to tensor (a module's parameters, or the fp32 masters that a sharded optimiser keeps). Out:
averages, fp32.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from model.config import EMAConfig


def ema_decay(update: int, cfg: EMAConfig) -> float:
    """Decay of update 1, 2, 3 …: (1 − 1/update)^power, at most cfg.decay, so that a short run forgets its start.

    Karras et al. 2024, eq. 3; the first update copies the weights.
    """
    return min(cfg.decay, (1.0 - 1.0 / update) ** cfg.power)


class EMA:
    """Averages of named tensors, held in fp32 on their device."""

    def __init__(self, tensors: Mapping[str, Tensor], cfg: EMAConfig) -> None:
        self.cfg = cfg
        self.updates = 0
        self.averages = {name: tensor.detach().float().clone() for name, tensor in tensors.items()}

    @torch.no_grad()
    def update(self, tensors: Mapping[str, Tensor]) -> None:
        """Move every average towards its tensor.

        Raises:
            ValueError: when the names are not those it was made with.
        """
        if tensors.keys() != self.averages.keys():
            raise ValueError(
                f"EMA was made for other tensors; they differ in {sorted(tensors.keys() ^ self.averages.keys())[:5]}"
            )
        self.updates += 1
        weight = 1.0 - ema_decay(self.updates, self.cfg)
        for name, average in self.averages.items():
            average.lerp_(tensors[name].detach().float().to(average.device), weight)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Overwrite the module's parameters of these names with the averages, in the parameters' dtype."""
        parameters = dict(module.named_parameters())
        for name, average in self.averages.items():
            parameters[name].copy_(average)

    @contextmanager
    def swapped(self, module: nn.Module) -> Iterator[nn.Module]:
        """The module with averaged weights inside the block, with its own again after it."""
        parameters = dict(module.named_parameters())
        own = {name: parameters[name].detach().clone() for name in self.averages}
        self.copy_to(module)
        try:
            yield module
        finally:
            with torch.no_grad():
                for name, tensor in own.items():
                    parameters[name].copy_(tensor)

    def state_dict(self) -> dict[str, Tensor]:
        """All that a resumed run needs: the averages, and the count under "updates". Tensors only."""
        return {**self.averages, "updates": torch.tensor(self.updates)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`.

        Raises:
            ValueError: when its names are not those this EMA was made with.
        """
        names = set(state) - {"updates"}
        if names != self.averages.keys() or "updates" not in state:
            raise ValueError(
                f"EMA state is of another model; names differ in {sorted(names ^ self.averages.keys())[:5]}"
            )
        self.updates = int(state["updates"])
        for name, average in self.averages.items():
            average.copy_(state[name])
