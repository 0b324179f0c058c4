"""Ctrl-C and SIGTERM, remembered: an exception raised inside somebody's callback or finaliser is swallowed
there, a flag is not."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_asked = threading.Event()


def _stop(signum: int, frame: FrameType | None) -> None:
    _asked.set()
    raise KeyboardInterrupt


def install() -> None:
    """Make both signals raise KeyboardInterrupt; SIGTERM is how schedulers say Ctrl-C."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)


def check() -> None:
    """Raise KeyboardInterrupt if a stop was asked for; for loops that wait."""
    if _asked.is_set():
        raise KeyboardInterrupt
