"""The memory and the processor's time of everything that a benchmark started, looked at every second.

In: environment variables that mark what is started; children inherit them, Ray's too. Out: MiB, the largest
sum over the processes. Of memory that several share, each counts its part (PSS), so that Ray's object store
and forks count once. And processor seconds, Ray's and those of imports included, up to the last look: unlike
times on the wall they hardly depend on what else the machine does.
"""

from __future__ import annotations

import os
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_MARK = "RUSHES_BENCHMARK_RUN"
_EVERY_S = 1.0


class Peak:
    """Looks while its block runs. What is started with `env` counts, and what that starts, and what that
    starts …"""

    def __init__(self) -> None:
        self.env = {_MARK: uuid.uuid4().hex}
        self.mib = self.cpu_s = 0.0
        self._line = f"{_MARK}={self.env[_MARK]}".encode()
        self._ours: dict[int, bool] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(_EVERY_S):
            pids = self._pids()
            self.mib = max(self.mib, sum(self._pss_kib(pid) for pid in pids) / 1024)
            self.cpu_s = max(self.cpu_s, sum(self._ticks(pid) for pid in pids) / os.sysconf("SC_CLK_TCK"))

    def _pids(self) -> list[int]:
        there = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
        self._ours = {pid: self._ours.get(pid) or self._marked(pid) for pid in there}
        return [pid for pid, ours in self._ours.items() if ours]

    def _marked(self, pid: int) -> bool:
        with suppress(OSError):  # it has ended
            return self._line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return False

    @staticmethod
    def _pss_kib(pid: int) -> int:
        with suppress(OSError):  # it has ended
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
        return 0

    @staticmethod
    def _ticks(pid: int) -> int:
        """Its own, and of its children that have ended."""
        with suppress(OSError):  # it has ended
            return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
        return 0
