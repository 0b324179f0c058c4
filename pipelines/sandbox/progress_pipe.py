"""Progress reports from a call in the killable child while it runs.

In: a progress value from code in the child, any number of times per second. Out: the newest value, at most
every half second, on the pipe that carries the result. Does nothing without a pipe.
"""

import math
import os
import struct
from time import monotonic

_EVERY_S = 0.5
_MARK = b"P"  # no answer begins so
_RECORD = struct.Struct("<cd")

_pipe: int | None = None
_next_s = 0.0


def set_progress_pipe(pipe: int | None) -> None:
    """Set the pipe on which this process reports progress; None turns reporting off."""
    global _pipe, _next_s
    _pipe, _next_s = pipe, 0.0


def report_progress(far: float) -> None:
    """Report the progress of this call, in the caller's unit."""
    global _next_s
    if _pipe is not None and (now_s := monotonic()) >= _next_s:
        _next_s = now_s + _EVERY_S
        os.write(_pipe, _RECORD.pack(_MARK, far))


def pop_latest(received: bytearray) -> float | None:
    """Remove all progress records from the start of the buffer and return the last value, or None."""
    far = None
    while received[:1] == _MARK and len(received) >= _RECORD.size:
        _, number = _RECORD.unpack_from(received)
        # a file that has taken over the child may tell anything
        far = number if math.isfinite(number) else far
        del received[: _RECORD.size]
    return far
