"""Streams rows through Ray Data with stall detection; shared by all jobs.

In: values as JSON can say them, so that a block has the same type whatever is null in it. Out: the values
that come back, as they are finished; and how much memory a task may ask for.
"""

import json
import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from jobs.cluster.failures import one_line_message
from jobs.cluster.worker_progress import StallReports, report_stalls

PackedRow = dict[str, str]
# a block per item, so that progress and retries are per item; Ray slows down beyond some thousands
_MAX_BLOCKS = 4096
_LARGEST_SHARE = 0.9  # of the memory of the largest node, that a task may ask for: on a small machine, too


def to_ray_dataset(values: Sequence[dict[str, Any]]) -> Any:
    """A Ray dataset of values, each packed as a row and a block of its own."""
    import ray.data

    # Its detectors take the shared object store, which each worker maps, for memory that the worker uses.
    ray.data.DataContext.get_current().issue_detectors_config.detectors = []
    _keep_console()
    return ray.data.from_items(
        [pack(value) for value in values], override_num_blocks=min(len(values), _MAX_BLOCKS)
    )


def iterate_results(
    rows: Any,
    desk: Any,
    stage: str,
    memory: int,
    reports: StallReports,
) -> Generator[dict[str, Any], None, None]:
    """What comes out of a Ray dataset of packed rows, in any order.

    Args:
        desk: where its workers report.
        stage: the stage, as a person knows it.
        memory: that a task of it asks for, bytes.
        reports: where it is said when nothing moves.
    """
    with report_stalls(desk, stage, f"1 CPU and {memory / 1024**3:.1f} GiB of memory", reports):
        for row in rows.iter_rows():
            yield unpack(row)


@contextmanager
def label_errors(item: str) -> Iterator[None]:
    """Within the block, errors are re-raised as one line that names the current item.

    Raises:
        RuntimeError: whatever is raised in it.
    """
    try:
        yield
    except Exception as error:
        raise RuntimeError(f"{item}: {one_line_message(error)}") from error


def clamp_task_memory(requested_bytes: int) -> int:
    """The memory request of a task, clamped to 90% of the largest node: Ray never schedules a larger one."""
    import ray

    largest = max((node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"]), default=0)
    return min(requested_bytes, int(_LARGEST_SHARE * largest)) if largest else requested_bytes


def pack(value: dict[str, Any]) -> PackedRow:
    return {"json": json.dumps(value)}


def unpack(row: PackedRow) -> dict[str, Any]:
    return json.loads(row["json"])


def _keep_console() -> None:
    """The console is for what a person reads. What Ray Data says stays in its own log, and failures are
    raised."""
    logger = logging.getLogger("ray.data")
    for handler in [handler for handler in logger.handlers if isinstance(handler, logging.StreamHandler)]:
        logger.removeHandler(handler)
