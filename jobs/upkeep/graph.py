"""Shards to be checked → what was found in each, on Ray Data: a task per shard, as they are finished, in any order.

In and out: rows as JSON. A shard's bytes live and die inside its task.
"""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jobs.curation.watch import Watch, open_desk, watched
from jobs.upkeep.shard import Settings, ShardChecker

_MIB = 1024**2
_TASK_BYTES = 1024 * _MIB
_LARGEST_SHARE = (
    0.9  # of the memory of the largest node, that a task may ask for: it must be placed on a small machine, too
)
_MAX_BLOCKS = 4096


def check_shards(
    jobs: Sequence[dict[str, Any]], settings: Settings, say: Callable[[str], None], stall_s: float
) -> Iterator[dict[str, Any]]:
    """What `ShardChecker` says of each. Ray must be connected.

    Args:
        say: for a line to the person at the console, when nothing moves.
        stall_s: that is, for so long.
    """
    import ray.data

    desk = open_desk()
    watch = Watch(desk)
    memory = _fitting(_TASK_BYTES)
    ray.data.DataContext.get_current().issue_detectors_config.detectors = []  # they take shared memory for a worker's own
    _keep_console()
    items = [{"json": json.dumps(job)} for job in jobs]
    rows = ray.data.from_items(items, override_num_blocks=min(len(items), _MAX_BLOCKS))
    rows = rows.map(
        lambda row: {"json": json.dumps(ShardChecker(settings, watch)(json.loads(row["json"])))},
        num_cpus=1,
        memory=memory,
    )
    with watched(desk, "verify: shards", f"1 CPU and {memory / 1024**3:.1f} GiB of memory", say, stall_s):
        for row in rows.iter_rows():
            yield json.loads(row["json"])


def _fitting(want: int) -> int:
    """As many bytes as a task wants, or nearly all of the largest node: Ray never starts one that asks for more."""
    import ray

    largest = max((node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"]), default=0)
    return min(want, int(_LARGEST_SHARE * largest)) if largest else want


def _keep_console() -> None:
    """What Ray Data says stays in its own log, and failures are raised."""
    logger = logging.getLogger("ray.data")
    for handler in [handler for handler in logger.handlers if isinstance(handler, logging.StreamHandler)]:
        logger.removeHandler(handler)
