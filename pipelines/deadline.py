"""Calls with a deadline, for functions that may block forever.

In: a function that waits for a disk or a server. Out: what it returns, or `MediaError`. The function runs in
a thread that is abandoned at the deadline, so use it only for short system calls. Decoding and long reads
belong in `pipelines.sandbox.child`, which kills its process.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pipelines.errors import MediaError, Reason

T = TypeVar("T")


def run_with_deadline(action: Callable[[], T], deadline_s: float) -> T:
    """The result of the action, if it returns within `deadline_s` seconds.

    Raises:
        MediaError: timed_out.
        Exception: whatever the action raises.
    """
    came: list[T] = []
    raised: list[BaseException] = []

    def act() -> None:
        try:
            came.append(action())
        except BaseException as error:  # it is raised again, where it is waited for
            raised.append(error)

    thread = threading.Thread(target=act, name="in time", daemon=True)
    thread.start()
    thread.join(deadline_s)
    if thread.is_alive():
        raise MediaError(Reason.TIMED_OUT, f"no answer within {deadline_s:g} s")
    if raised:
        raise raised[0]
    return came[0]


def consume_with_deadline(pieces: Iterable[bytes], take: Callable[[bytes], Any], deadline_s: float) -> None:
    """Pass each chunk to `update`; stop with an error after `deadline_s` seconds.

    Raises:
        MediaError: timed_out.
        Exception: whatever the pieces or `take` raise.
    """
    over = threading.Event()

    def take_all() -> None:
        for piece in pieces:
            if over.is_set():
                return
            take(piece)

    try:
        run_with_deadline(take_all, deadline_s)
    finally:
        over.set()
