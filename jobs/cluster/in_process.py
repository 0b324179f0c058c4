"""Runs small work in this process, without starting Ray.

In: how much there is to do. Out: whether it is done here; what a function makes of each item, in as many
threads as there are cores. Footage of others is decoded in the killable children of this process, exactly as
on a worker of Ray, and with the same results. To start Ray and its workers takes longer than all of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from jobs.cluster.config import RayConfig
from pipelines.sandbox import child

MAX_ITEMS = 64  # sources, units, shards or batches
MAX_FOOTAGE_S = 300.0
MAX_BYTES = 4 * 1024**3  # of files whose length isn't known yet
_MOST_THREADS = 4  # each may have a child with all models loaded

T = TypeVar("T")
R = TypeVar("R")


def is_small(ray: RayConfig, items: int, footage_s: float = 0.0, size_bytes: int = 0) -> bool:
    """Whether work is done in this process: it is little, nobody asked for a Ray, and none is there already.

    Args:
        ray: `address` and `num_cpus` ask for one.
        items: how many pieces the work has.
        footage_s: to be decoded.
        size_bytes: to be read, where nobody knows yet how much footage that is.
    """
    little = items <= MAX_ITEMS and footage_s <= MAX_FOOTAGE_S and size_bytes <= MAX_BYTES
    return little and ray.address is None and ray.num_cpus is None and not _connected()


def footage_s(rows: Iterable[dict[str, Any]]) -> float:
    """Seconds of clips, of which are rows of the index."""
    return sum(row["end_s"] - row["start_s"] for row in rows)


def map_in_threads(function: Callable[[T], R], items: Sequence[T]) -> Generator[R, None, None]:
    """The function's result of every item, in their order. Close it, and what is being done is given up at
    once.

    Raises:
        Exception: what the function raised; the items behind that one are given up.
    """
    if not items:
        return
    pool = ThreadPoolExecutor(min(len(items), len(os.sched_getaffinity(0)), _MOST_THREADS))
    futures = [pool.submit(function, item) for item in items]
    try:
        for future in futures:
            yield future.result()
    except BaseException:  # also Ctrl-C, and the end of whoever wanted the results
        with child.cancelling_calls():
            pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def _connected() -> bool:
    """Whether this process has a Ray already: then there is nothing to be saved."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()
