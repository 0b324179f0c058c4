"""Explicit random state: weights come from a seed, noise from a generator, never from torch's global state.

In: a seed or a generator. Out: the same numbers whatever ran before, on whatever device they are then used.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from `seed` inside, and leave the global random state as it was. For the initialisers of
    torch.nn."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def normal_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise in the shape, dtype and device of x, drawn where the generator lives, in
    float32."""
    return torch.randn(x.shape, generator=generator, device=generator.device).to(
        device=x.device, dtype=x.dtype
    )
