"""The floor: every frame of the footage decoded, and nothing else done; how long that takes.

In: files. Out: seconds, by the faster of two ways: a process per core that decodes one file after another on
one thread, and one process that lets FFmpeg's own threads decode file after file. The first is faster for
many files, the second for one long one.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import av

from pipelines.media.read_clock import read_clock


def floor_s(paths: Sequence[Path]) -> dict[str, float]:
    """Wall seconds by way; processes are up and libraries loaded before."""
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_ready, range(cores)))
        start_s = time.perf_counter()
        list(pool.map(_decode, paths))
        by_file_s = time.perf_counter() - start_s
    start_s = time.perf_counter()
    for path in paths:
        _decode(path, threads=0)
    return {"a process per core": by_file_s, "FFmpeg's threads": time.perf_counter() - start_s}


def length_s(paths: Sequence[Path]) -> float:
    """Seconds of footage, as we see it."""
    return sum(read_clock(path).duration_s for path in paths)


def _ready(number: int) -> None:
    time.sleep(0.5)  # long enough for every process to take one


def _decode(path: Path, threads: int = 1) -> int:
    """How many frames it shows; 0 threads are as many as FFmpeg likes."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "AUTO" if threads != 1 else "NONE"
        return sum(1 for _ in container.decode(stream))
