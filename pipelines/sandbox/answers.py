"""The answers of children: JSON, npy or Arrow, never pickled, since a file may have taken over the child.

In: the bytes of an answer, and how the child ended. Out: plain values, arrays, tables; or an exception.
"""

import io
import json
import os
import signal
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.errors import MediaError, PlaceError, Reason, is_host_error

if TYPE_CHECKING:
    import pyarrow as pa

MOST_KILLED = 3  # servers or forks over one call: once or twice may have been somebody else's fault
_KINDS = (b"J", b"A", b"T", b"D", b"M", b"E")  # of answers that are read


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may use.

    `deadline_s` of wall time, and as much processor time; `memory_bytes` of address space beyond what the
    libraries take; `file_bytes` for the largest file it writes.
    """

    deadline_s: float
    memory_bytes: int
    file_bytes: int = 0


class ChildError(RuntimeError):
    """The function raised something else than `MediaError`: a fault of ours. The child's traceback is a note
    of it."""


def read_output(path: Path, most_bytes: int) -> bytes:
    """Read a file that a child wrote; links are not followed.

    Raises:
        MediaError: crashed, if there is no such file, or a longer one.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise MediaError(
            Reason.CRASHED, f"the process that decodes left no file: {error.strerror}"
        ) from error
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_size > most_bytes:
            raise MediaError(
                Reason.CRASHED, "the process that decodes left something else than the file it was to make"
            )
        return file.read(most_bytes)


def value_of(answer: bytes, status: int, limits: Limits) -> Any:
    """The value of an answer, if it is one.

    Args:
        status: how the child ended, as waitpid says it.

    Raises:
        MediaError, PlaceError, ChildError: as `pipelines.sandbox.child.call`.
    """
    if os.WIFSIGNALED(status):
        raise _death(os.WTERMSIG(status), limits)
    kind, data = answer[:1], answer[1:]
    if kind == b"X":
        error = ChildError(data.decode(errors="replace").strip().rpartition("\n")[2])
        error.add_note(data.decode(errors="replace"))
        raise error
    if kind not in _KINDS:
        raise MediaError(
            Reason.CRASHED,
            f"the process ended with exit code {os.waitstatus_to_exitcode(status)} and no answer",
        )
    try:
        value = _read(kind, data)
    # whatever a reader says of what a file may have written that has taken over the child
    except Exception as error:
        raise MediaError(
            Reason.CRASHED, f"its process gave no answer that can be read ({type(error).__name__})"
        ) from error
    if isinstance(value, PlaceError):
        if limits.file_bytes and is_host_error(value):
            raise value
        raise ChildError(str(value))  # who writes nothing knows nothing of the place
    if isinstance(value, MediaError):
        raise value
    return value


def _read(kind: bytes, data: bytes) -> Any:
    if kind == b"J":
        return json.loads(data)
    if kind == b"A":
        return np.load(io.BytesIO(data), allow_pickle=False)
    if kind == b"T":
        return _table(data)
    if kind == b"D":
        tables, start = {}, 0
        while start < len(data):
            head_bytes = int.from_bytes(data[start : start + 4], "little")
            name, size = json.loads(data[start + 4 : start + 4 + head_bytes])
            start += 4 + head_bytes
            tables[name] = _table(data[start : start + size])
            start += size
        return tables
    if kind == b"M":
        reason, message = json.loads(data)
        return MediaError(Reason(reason), str(message))
    if kind == b"E":
        number, message = json.loads(data)
        return PlaceError(int(number), str(message))
    raise AssertionError(kind)


def _table(data: bytes) -> "pa.Table":
    import pyarrow as pa

    table = pa.ipc.open_stream(pa.py_buffer(data)).read_all()
    table.validate(full=True)  # offsets out of bounds would be read as they are
    return table


def _death(number: int, limits: Limits) -> MediaError:
    if number == signal.SIGXCPU:
        return MediaError(Reason.TIMED_OUT, f"more than {limits.deadline_s:g} s of processor time")
    if number == signal.SIGKILL:  # not by us: the machine had no memory left
        return MediaError(
            Reason.OUT_OF_MEMORY,
            f"the system ended the process {MOST_KILLED} times, most likely for its memory",
        )
    return MediaError(Reason.CRASHED, f"the process was ended by {signal.Signals(number).name}")
