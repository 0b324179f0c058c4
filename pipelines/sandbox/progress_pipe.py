"""How far a call in the killable child is, told while it runs.

In: a number, from whatever runs in the child; a second's work may tell a thousand times. Out: the newest one,
now and then, at the other side of the pipe that the answer comes on. Where nobody listens, telling does
nothing.
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
    """From here on this process tells on a pipe, before it answers there; or no more."""
    global _pipe, _next_s
    _pipe, _next_s = pipe, 0.0


def report_progress(far: float) -> None:
    """Say how far this call is, in whatever it counts."""
    global _next_s
    if _pipe is not None and (now_s := monotonic()) >= _next_s:
        _next_s = now_s + _EVERY_S
        os.write(_pipe, _RECORD.pack(_MARK, far))


def pop_latest(received: bytearray) -> float | None:
    """The last number at the head of what was received so far, if there is one; all of them are taken
    away."""
    far = None
    while received[:1] == _MARK and len(received) >= _RECORD.size:
        _, number = _RECORD.unpack_from(received)
        # a file that has taken over the child may tell anything
        far = number if math.isfinite(number) else far
        del received[: _RECORD.size]
    return far
