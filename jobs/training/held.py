"""One training at a time writes into a run's folder, from whichever machine it comes.

In: a run's folder. Out: a lock on a file in it, which lasts as long as the process that holds it. Of two trainings with one `out` the
second would read a state that the first is about to remove; and workers go on for a moment after who started them was stopped.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from pathlib import Path

logger = logging.getLogger(__name__)
_LOCK = ".lock"
_POLL_S = 0.1


def hold(out: Path, patience_s: float) -> int | None:
    """Hold the folder until this process ends.

    Args:
        patience_s: how long to wait for a training that is about to end.

    Returns:
        The lock's file descriptor; None where the file system knows no locks.

    Raises:
        ValueError: another training writes into the folder.
    """
    lock = os.open(out / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    held = _wait_for(lock, patience_s)
    if held:
        return lock
    os.close(lock)
    if held is None:
        logger.warning("%s: its file system knows no locks; a second training into it would not be noticed", out)
        return None
    raise ValueError(f"another training writes into out={out}; wait until it ends, or give another folder")


def wait_until_free(out: Path, patience_s: float) -> None:
    """Return as soon as no training writes into the folder, and at the latest after `patience_s`."""
    try:
        lock = os.open(out / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:  # no worker has begun
        return
    try:
        _wait_for(lock, patience_s)
    finally:
        os.close(lock)


def _wait_for(lock: int, patience_s: float) -> bool | None:
    """Whether the lock is ours now; None where there are no locks."""
    end_s = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end_s:
                return False
            time.sleep(_POLL_S)
        except OSError:
            return None
        else:
            return True
