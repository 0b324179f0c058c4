"""A mask over frames → its stretches: the ranges in which it is true."""

import numpy as np


def mask_runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Stretches [start, end) of true, in order.

    Args:
        mask: bool (n,).
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
