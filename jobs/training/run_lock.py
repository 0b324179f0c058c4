"""Locks the folder of a run: one training at a time writes into it, from any machine.

In: a run's folder. Out: a lock on a file in it, which lasts as long as the process that holds it. Of two
trainings with one `out` the second would read a state that the first is about to remove; and workers go on
for a moment after who started them was stopped.
"""

from __future__ import annotations

import os
from pathlib import Path

from jobs.cli import file_lock

_LOCK = ".lock"


def lock_run(out: Path, patience_s: float) -> int | None:
    """Hold the folder until this process ends.

    Args:
        patience_s: how long to wait for a training that is about to end.

    Returns:
        The lock's file descriptor; None where the file system knows no locks.

    Raises:
        ValueError: another training writes into the folder.
    """
    try:
        return file_lock.acquire_lock(out / _LOCK, patience_s)
    except file_lock.LockedError as error:
        raise ValueError(
            f"another training writes into out={out}; wait until it ends, or give another folder"
        ) from error


def wait_until_free(out: Path, patience_s: float) -> None:
    """Return as soon as no training writes into the folder, and at the latest after `patience_s`."""
    try:
        lock = os.open(out / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:  # no worker has begun
        return
    try:
        file_lock.wait_for(lock, patience_s)
    finally:
        os.close(lock)
