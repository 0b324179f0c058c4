"""What a user may not do, also for tests that run as root, who may do everything."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NOBODY = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    """A block in which this process, if it is root's, has the rights of a user who owns nothing."""
    if os.getuid() != 0:
        yield
        return
    os.setegid(_NOBODY)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@contextmanager
def with_mode(path: Path, mode: int) -> Iterator[None]:
    """A block in which a file or folder has this mode."""
    before = path.stat().st_mode & 0o777
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(before)
