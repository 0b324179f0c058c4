"""A call that may never return: whoever makes it goes on at a deadline.

In: a function that waits for a disk or a server. Out: what it returns, or `MediaError`. It runs in a thread
that is left behind when the time is over: for a look of which nothing remains but the thread. What reads
much, or decodes, belongs into `pipelines.sandbox.child`, whose process is ended.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pipelines.errors import MediaError, Reason

T = TypeVar("T")


def run_with_deadline(action: Callable[[], T], deadline_s: float) -> T:
    """What the action returns, if it does within so many seconds.

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
    """Take all pieces, if they come within so many seconds; no more is taken then.

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
