"""The other side of `pipelines.sandbox.child`: a process with one thread that has the decoders loaded, and
forks for each call.

In: on a socket, what to load, each time with a file that says what to call, a pipe to answer on and perhaps a
socket to ask for a file's bytes on. Out: the answer on the pipe; on the socket, how the fork ended and what
memory it used. Ends with the process that started it, and a fork with its server. What to call only the fork
reads, so that no fork finds in its memory what another was given; before it looks at anything foreign it is
shut into a cell: see `pipelines.sandbox`.
"""

import ctypes
import errno
import gc
import importlib
import io
import json
import math
import os
import pickle
import re
import resource
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import MediaError, Reason, is_host_error
from pipelines.media import ranged
from pipelines.sandbox import progress_pipe
from pipelines.sandbox.answers import Limits
from pipelines.sandbox.isolation import Isolation, detect_support

# Loaded once, shared by all forks. None starts a thread (but Arrow's allocator one that only gives memory
# back): a fork of a process with threads may find a lock held for ever.
_LIBRARIES = (
    "av", "av.subtitles.stream", "av.video.reformatter", "cv2", "numpy", "pyarrow", "xxhash",
    "pipelines.ids", "pipelines.media.decode", "pipelines.media.fast_reader", "pipelines.media.picture",
)  # fmt: skip
_PR_SET_PDEATHSIG = 1
_STATUS_BYTES = 16 * 1024  # what a process says of itself is shorter
_MOST_OPEN = 64  # files of a fork
_NEARLY_ALL = 0.9  # of the memory that a call may use
# What OpenCV, PyTorch and ONNX Runtime say in exceptions of their own where Python would raise MemoryError.
_NO_MEMORY = re.compile(
    r"insufficient memory|can't allocate memory|failed to allocate|bad_alloc|bad allocation", re.I
)

_base_bytes = 0  # address space of a fork before it does anything
_status = -1  # where the kernel says how much that is


def serve(descriptor: int, without: tuple[str, ...]) -> None:
    """Answer requests until the other side closes.

    Args:
        without: means of confinement that a test goes without.
    """
    cell = Isolation(detect_support(without))
    for name in _LIBRARIES:
        importlib.import_module(name)
    importlib.import_module("cv2").setNumThreads(1)
    # Its first array looks for pandas, which takes 0.2 s: here, not in each fork.
    importlib.import_module("pyarrow").array(np.empty(0))
    loaded: set[str | bytes] = set()
    with socket.socket(fileno=descriptor) as requests:
        while (received := _receive(requests)) is not None:
            module, preload = pickle.loads(received[0])  # of the process that started this one, nobody else's
            _load(module, preload, loaded, cell)
            _serve_one(requests, cell, *received[1])


def _load(module: str, preload: bytes | None, loaded: set[str | bytes], cell: Isolation) -> None:
    """Once per server, so that forks need not: the function's module, and what it asks to have loaded."""
    before = len(loaded)
    if module not in loaded:
        importlib.import_module(module)
        loaded.add(module)
    if preload is not None and preload not in loaded:
        pickle.loads(preload)()
        loaded.add(preload)
    if len(loaded) > before:
        cell.find_libraries()
    gc.freeze()  # a collection in a fork would otherwise write to, and so copy, every page


def _receive(requests: socket.socket) -> tuple[bytes, list[int]] | None:
    header, descriptors, _, _ = socket.recv_fds(requests, 8, 3)
    if not header:
        return None
    return requests.recv(int.from_bytes(header, "little"), socket.MSG_WAITALL), list(descriptors)


def _serve_one(
    requests: socket.socket, cell: Isolation, request: int, sender: int, ranges: int | None = None
) -> None:
    server = os.getpid()
    fork = os.fork()
    if fork == 0:
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != server:  # it ended before we could ask to end with it
                os._exit(1)
            requests.close()
            _answer(cell, request, sender, ranges)
        finally:
            os._exit(0)
    for handed in (request, sender, ranges):
        if handed is not None:
            os.close(handed)
    _wait_or_end(requests, fork)
    _, status, usage = os.wait4(fork, 0)
    requests.sendall(status.to_bytes(8, "little") + (usage.ru_maxrss * 1024).to_bytes(8, "little"))


def _wait_or_end(requests: socket.socket, fork: int) -> None:
    """Until the fork has ended; end with it if nobody waits for it any more."""
    ended = os.pidfd_open(fork)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(requests, 0)  # only the other side's closing wakes us
    if ended not in dict(poll.poll()):
        os._exit(1)
    os.close(ended)


def _answer(cell: Isolation, request: int, sender: int, ranges: int | None) -> None:
    limits: Limits | None = None
    try:
        if ranges is not None:
            ranged.set_range_socket(ranges)
        with os.fdopen(request, "rb") as file:
            function, args, limits, writes = pickle.load(file)
        global _status
        _status = os.open("/proc/self/status", os.O_RDONLY)  # not to be had later
        kept = (sender, _status) if ranges is None else (sender, _status, ranges)
        cell.lock_down([arg for arg in args if isinstance(arg, Path)], writes, kept)
        _limit(limits)
        progress_pipe.set_progress_pipe(sender)
        message = _message(function, args)
    except MediaError as error:
        message = _media_error(error, limits)
    except MemoryError:
        message = _refused(Reason.OUT_OF_MEMORY, _too_much(limits))
    except OSError as error:
        too_long = error.errno == errno.EFBIG
        message = (
            _refused(Reason.UNWRITABLE, f"the file would be longer than {limits.file_bytes} bytes")
            if too_long and limits is not None
            else b"E" + json.dumps([error.errno, error.strerror]).encode()
            if is_host_error(error)
            else b"X" + traceback.format_exc().encode()
        )
    except BaseException as error:
        no_memory = limits is not None and _NO_MEMORY.search(str(error))
        message = (
            _refused(Reason.OUT_OF_MEMORY, f"{_too_much(limits)}: {error}")
            if no_memory
            else b"X" + traceback.format_exc().encode()
        )
    with os.fdopen(sender, "wb") as pipe:
        pipe.write(message)


def _message(function: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    value = function(*args)
    if isinstance(value, np.ndarray):
        out = io.BytesIO()
        np.save(out, value, allow_pickle=False)
        return b"A" + out.getvalue()
    arrow = sys.modules.get("pyarrow")
    if arrow is not None and isinstance(value, arrow.Table):
        return b"T" + _stream(value)
    if (
        arrow is not None
        and isinstance(value, dict)
        and value
        and all(isinstance(v, arrow.Table) for v in value.values())
    ):
        return b"D" + b"".join(_named(name, _stream(table)) for name, table in value.items())
    return b"J" + json.dumps(value).encode()


def _stream(table: Any) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _named(name: str, data: bytes) -> bytes:
    head = json.dumps([name, len(data)]).encode()
    return len(head).to_bytes(4, "little") + head + data


def _media_error(error: MediaError, limits: Limits | None) -> bytes:
    """FFmpeg takes a failed allocation now and then for broken data: who used nearly all its memory failed
    for that."""
    if (
        limits is not None
        and _address_space_bytes("VmPeak") - _base_bytes >= _NEARLY_ALL * limits.memory_bytes
    ):
        return _refused(Reason.OUT_OF_MEMORY, f"{_too_much(limits)}: {error.message}")
    return _refused(error.reason, error.message)


def _too_much(limits: Limits | None) -> str:
    return (
        f"more than {limits.memory_bytes // 1024**2} MiB of memory" if limits else "no memory to begin with"
    )


def _refused(reason: Reason, message: str) -> bytes:
    return b"M" + json.dumps([reason.value, message]).encode()


def _limit(limits: Limits) -> None:
    # A core file of a crashed decoder would fill the disk; Python turns the signal for long files into an
    # error.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST_OPEN, _MOST_OPEN))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
    seconds = math.ceil(limits.deadline_s)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    global _base_bytes
    _base_bytes = _address_space_bytes("VmSize")
    address_space = _base_bytes + limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))


def _address_space_bytes(which: str) -> int:
    lines = os.pread(_status, _STATUS_BYTES, 0).decode().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(which))
