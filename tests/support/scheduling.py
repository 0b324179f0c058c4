"""What an encoder does to the process that called it, undone.

SVT-AV1, run as root, makes its caller a real-time process (SCHED_FIFO, 99), and all that is started
afterwards inherits it: a Ray whose loops yield to nobody.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def restore_scheduling() -> Iterator[None]:
    """After the block, every thread of this process is scheduled as its first one was before it. Linux only;
    else nothing."""
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    policy, priority = os.sched_getscheduler(os.getpid()), os.sched_getparam(os.getpid())
    try:
        yield
    finally:
        for task in Path("/proc/self/task").iterdir():
            try:
                os.sched_setscheduler(int(task.name), policy, priority)
            except ProcessLookupError:  # it has ended meanwhile
                continue
