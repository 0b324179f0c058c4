"""History of footage that this user has curated on this machine; later jobs may open it without `footage=`.

In: footage as it was given to `rushes curate`. Out: the same, in later jobs of the same user. It is kept in
the user's own folder for state, never in a dataset: a dataset of somebody else can't say what this user gave.
What can't be kept has to be given again.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path

from pipelines.footage.allowed_footage import AllowedFootage, FootageRoot
from pipelines.storage.open_store import local_path
from pipelines.storage.s3 import is_s3

logger = logging.getLogger(__name__)
_MOST = 1000  # the newest count
_MOST_BYTES = 16 * 1024**2


def record_footage(footage: str, uri_column: str) -> None:
    """Keep what was given."""
    root = FootageRoot(
        footage if is_s3(footage) else str(local_path(footage, what="footage").absolute()), uri_column
    )
    if root in recorded_footage()[-_MOST // 2 :]:
        return
    line = json.dumps({"footage": root.footage, "uri_column": root.uri_column}) + "\n"
    try:
        _file().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(_opened(os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
            file.write(line.encode())
    except (OSError, RuntimeError) as error:
        logger.info(
            "what footage was given can't be kept for later jobs (%s): they need footage= again", error
        )


def recorded_footage() -> list[FootageRoot]:
    """What was given, the newest last."""
    try:
        descriptor = _opened(os.O_RDONLY)
    except (OSError, RuntimeError) as error:
        logger.info("what footage was given before can't be read: %s", error)
        return []
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        file.seek(max(0, size - _MOST_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    found: dict[FootageRoot, None] = {}
    for line in lines:
        try:
            value = json.loads(line)
            root = FootageRoot(str(value["footage"]), str(value["uri_column"]))
        except (ValueError, TypeError, KeyError):  # of a disk that was full
            continue
        found.pop(root, None)
        found[root] = None
    return list(found)[-_MOST:]


def allowed_footage_for(footage: str | None, uri_column: str) -> AllowedFootage:
    """The footage that a job may open: the `footage=` of this job, and what this user curated on this machine
    before."""
    now = () if footage is None else (FootageRoot(footage, uri_column),)
    return AllowedFootage((*now, *recorded_footage()), through_links=True)


def _file() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "rushes" / "footage.jsonl"


def _opened(how: int) -> int:
    """The user's own file, and no other.

    Raises:
        OSError, RuntimeError: it is not there, a link, somebody else's, or there is no home folder.
    """
    descriptor = os.open(_file(), how | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        os.close(descriptor)
        raise PermissionError(f"{_file()} is no file that this user alone writes")
    return descriptor
