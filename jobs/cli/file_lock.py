"""File locks: one process at a time works in a folder, across machines and containers.

In: a file in that folder. Out: a lock on it that lasts as long as the process that holds it: nothing has to
be tidied up after one that was killed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from pathlib import Path

logger = logging.getLogger(__name__)
_POLL_S = 0.1


class LockedError(ValueError):
    """Another process holds the file."""


def acquire_lock(file: Path, patience_s: float) -> int | None:
    """Hold a file, which is made if it is not there.

    Args:
        patience_s: how long to wait for another to let go.

    Returns:
        The lock's file descriptor, which ends it when it is closed; None where the file system knows no
        locks.

    Raises:
        HeldError: another goes on holding it.
        OSError: it is a link, or can't be made.
    """
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    held = wait_for(lock, patience_s)
    if held:
        return lock
    os.close(lock)
    if held is None:
        logger.warning(
            "%s: its file system knows no locks; a second run in its folder would not be noticed", file
        )
        return None
    raise LockedError(f"{file} is held by another process")


def wait_for(lock: int, patience_s: float) -> bool | None:
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
