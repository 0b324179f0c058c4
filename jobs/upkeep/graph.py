"""Shards to be checked → what was found in each: on Ray Data a task per shard, as they are finished, in any
order; here, where that is little work, one after another, with its clips side by side.

In and out: rows as JSON. A shard's bytes live and die inside its task.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Any

from jobs.cluster import in_process
from jobs.cluster.ray_data import (
    PackedRow,
    clamp_task_memory,
    iterate_results,
    label_errors,
    pack,
    to_ray_dataset,
    unpack,
)
from jobs.cluster.worker_progress import ProgressReporter, StallReports, start_tracker
from jobs.upkeep.shard import Settings, ShardChecker

_TASK_BYTES = 1024**3


def check_shards(
    jobs: Sequence[dict[str, Any]], settings: Settings, say: Callable[[str], None], stall_s: float
) -> Generator[dict[str, Any], None, None]:
    """What `ShardChecker` says of each. Ray must be connected.

    Args:
        say: for a line to the person at the console, when nothing moves.
        stall_s: that is, for so long.
    """
    watch, memory = ProgressReporter(start_tracker()), clamp_task_memory(_TASK_BYTES)
    rows = to_ray_dataset(jobs).map(
        lambda row: _check(settings, watch, row),
        num_cpus=1,
        memory=memory,
    )
    return iterate_results(rows, watch.desk, "verify: shards", memory, StallReports(say, stall_s))


def check_shards_here(
    jobs: Sequence[dict[str, Any]], settings: Settings
) -> Generator[dict[str, Any], None, None]:
    """What `ShardChecker` says of each, in their order."""
    checker = ShardChecker(settings, each=in_process.map_in_threads)
    for job in jobs:
        with label_errors(f"shard {job['shard']['key']}"):
            yield checker(job)


def _check(settings: Settings, watch: ProgressReporter, row: PackedRow) -> PackedRow:
    job = unpack(row)
    with label_errors(f"shard {job['shard']['key']}"):
        return pack(ShardChecker(settings, watch)(job))
