"""A function call in a child process that can be killed: one broken file takes no worker with it.

In: a module-level function, its arguments, limits on wall and processor time, memory and file size. Out: what
it returns (plain JSON values, a numpy array, an Arrow table or several by name), or `MediaError`. A decoder
may hang while it holds the interpreter's lock, crash, or eat memory; only the end of its process is a sure
end. Answers come back as JSON, npy or Arrow, never pickled: a child that a file has taken over can return
wrong numbers, but run nothing here. A file that is elsewhere is fetched here, range by range as the child
asks for it: the child has neither the network nor the keys to it.

A process that calls has a server, with the decoders' libraries loaded and one thread; every call is a fork of
it. So a call costs milliseconds, and whatever a decoder leaks ends with the call. Threads that call at the
same time have a server each.
"""

import logging
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, BinaryIO

from pipelines.errors import MediaError, Reason
from pipelines.media.ranged import RangedFile, RangeServer
from pipelines.sandbox.answers import MOST_KILLED, ChildError, Limits, value_of
from pipelines.sandbox.environment import environment
from pipelines.sandbox.isolation import IsolationSupport, detect_support, hide_memory
from pipelines.sandbox.progress_pipe import pop_latest

if TYPE_CHECKING:
    pass

logger = logging.getLogger(__name__)

_MIB = 1024**2
_PIPE_BYTES = 1 * _MIB
# a server, what needs no decoding; also one that is only starting on a busy machine
_ANSWERS_WITHIN_S = 300.0
_FREE_READS, _FREE_BYTES = (
    4,
    64 * _MIB,
)  # of its file: for more than so often, and so much, a child pays with its own time
_without: tuple[
    str, ...
] = ()  # means of confinement that a test goes without; see `pipelines.sandbox.isolation`


class _KilledError(Exception):
    """The server, or the fork, was ended by somebody else."""


def call(
    function: Callable[..., Any],
    *args: Any,
    limits: Limits,
    preload: Callable[[], None] | None = None,
    on_progress: Callable[[float], None] | None = None,
    writes: Path | None = None,
) -> Any:
    """The function's result, made in a child process.

    Args:
        function: of a module, not a closure.
        args: whatever pickles; at most one of them a `RangedFile`, whose bytes the child then gets from here.
            Time spent fetching them does not count, unless it asks for far more than the file has. A `Path`
            among them is a file that the child may read; it can open no other, but for those of libraries.
        preload: run once in the server, before the first fork that wants it: loads a model that all forks
            then share. It must start no thread.
        on_progress: gets what the function tells of how far it is; see `pipelines.sandbox.progress_pipe`.
        writes: the only folder in which the child may write. Its files are as untrusted as the input: read
        them with `read_output`.

    Raises:
        MediaError: what the function raised; timed_out, out_of_memory, crashed; missing, if a range can't be
        fetched.
        PlaceError: a function that may write says that it can't, for want of room and the like: see
        `prove_room`.
        ChildError: the function raised anything else.
        KeyboardInterrupt: it was given up meanwhile.
    """
    with _server() as server:
        return server.call(function, args, limits, preload, on_progress, writes)


def isolation_support() -> IsolationSupport:
    """The isolation features in use for decoding processes on this machine."""
    return detect_support(_without)


def peak_bytes() -> int:
    """Resident memory of the last call's child at its peak, what it shares with the server included."""
    return _peak_bytes


def stop() -> None:
    """End this process's servers. Only where no thread is in a call; else see `cancelling_calls`."""
    with _door:
        for server in _idle if _owner == os.getpid() else ():
            server.kill()
        _idle.clear()


@contextmanager
def cancelling_calls() -> Iterator[None]:
    """Cancel all calls of this process: within the block, running and new calls raise KeyboardInterrupt."""
    global _given_up
    with _door:
        _given_up, busy = True, list(_busy) if _owner == os.getpid() else []
    try:
        for server in busy:
            server.strike()
        yield
    finally:
        _given_up = False


_door = threading.Lock()  # for all that follows
_owner = 0
_idle: "list[_Server]" = []
_busy: "list[_Server]" = []
_given_up = False
_peak_bytes = 0
_told_of: IsolationSupport | None = None


@contextmanager
def _server() -> "Iterator[_Server]":
    """A server of this process that nobody else uses; the one that was used last, which has most loaded."""
    global _owner, _peak_bytes
    with _door:
        if _owner != os.getpid():  # a forked process must not share its parent's
            _owner = os.getpid()
            _idle.clear()
            _busy.clear()
        server = _idle.pop() if _idle else _Server()
        _busy.append(server)
    try:
        yield server
    finally:
        with _door:
            _busy.remove(server)
            _idle.append(server)
            _peak_bytes = server.peak_bytes


class _Server:
    """The process that forks, and the socket to it. Started at the first call; started anew after it had to
    be killed."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._process: subprocess.Popen | None = None
        self._socket: socket.socket | None = None

    def call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        limits: Limits,
        preload: Callable[[], None] | None,
        told: Callable[[float], None] | None,
        writes: Path | None,
    ) -> Any:
        load = pickle.dumps((function.__module__, preload and pickle.dumps(preload)))
        request = pickle.dumps((function, args, limits, writes))
        for left in reversed(range(MOST_KILLED)):
            if _given_up:
                raise KeyboardInterrupt
            try:
                answer, status = self._ask(load, request, args, limits, told)
            except _KilledError:
                if _given_up:
                    raise KeyboardInterrupt from None
                if not left:
                    raise ChildError(
                        f"the process that decodes could not be started, or was killed {MOST_KILLED} "
                        "times; see the worker's log"
                    ) from None
                continue
            if not (left and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
                break
        return value_of(answer, status, limits)

    def _ask(
        self,
        load: bytes,
        request: bytes,
        args: tuple[Any, ...],
        limits: Limits,
        told: Callable[[float], None] | None,
    ) -> tuple[bytes, int]:
        """What the child wrote, and how it ended, as waitpid says it. Raises _KilledError if the server is no
        more."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        receiver, sender = os.pipe()
        ranges = _ranges(args)
        try:
            try:
                with _in_memory(request) as file:
                    handed = [file.fileno(), sender]
                    self._send(load, handed if ranges is None else [*handed, ranges.theirs.fileno()])
            finally:
                os.close(sender)
                if ranges is not None:
                    ranges.theirs.close()
            answer = self._receive(receiver, ranges, limits.deadline_s, limits.memory_bytes, told)
            return answer, self._status()
        except BaseException:  # also Ctrl-C: what is asked of a child is not wanted any more
            self.kill()
            raise
        finally:
            os.close(receiver)
            if ranges is not None:
                ranges.close()

    def strike(self) -> None:
        """End the server and whatever it forked, from another thread than that which is in a call of it, and
        clears up."""
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End the server and whatever it forked."""
        if self._process is not None:
            self.strike()
            self._process.wait()
            self._process = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _start(self) -> None:
        self.kill()
        _hide()
        ours, theirs = socket.socketpair()
        code = f"from pipelines.sandbox.child_server import serve; serve({theirs.fileno()}, {_without!r})"
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # one signal ends it with its forks, and Ctrl-C in a terminal is ours alone
                start_new_session=True,
                env=environment(),
            )
        ours.settimeout(_ANSWERS_WITHIN_S)
        self._socket = ours
        if _given_up:  # whoever gave up may have come a moment too early to find it
            raise _KilledError

    def _send(self, load: bytes, descriptors: list[int]) -> None:
        assert self._socket is not None, "a server that was started has a socket"
        try:
            socket.send_fds(self._socket, [len(load).to_bytes(8, "little")], descriptors)
            self._socket.sendall(load)
        except (BrokenPipeError, ConnectionResetError, TimeoutError) as error:
            raise _KilledError from error

    def _receive(
        self,
        receiver: int,
        ranges: RangeServer | None,
        deadline_s: float,
        most_bytes: int,
        told: Callable[[float], None] | None,
    ) -> bytes:
        """Everything the child writes, until it ends; on the way it gets what it asks for of its file, and
        tells how far it is."""
        until = monotonic() + deadline_s
        free_bytes = 0 if ranges is None else _FREE_READS * ranges.size_bytes + _FREE_BYTES
        answer = bytearray()
        poll = select.poll()
        poll.register(receiver, select.POLLIN)
        while True:
            if ranges is not None:
                poll.register(ranges.ours, select.POLLOUT if ranges.has_pending_reply else select.POLLIN)
            left_s = until - monotonic()
            if left_s <= 0 or not (ready := dict(poll.poll(1000 * left_s))):
                raise MediaError(
                    Reason.TIMED_OUT, f"no answer within {deadline_s:g} s; the process was ended"
                )
            if ranges is not None and ranges.ours.fileno() in ready:
                fetched_s = ranges.serve_once()
                if fetched_s is None:
                    poll.unregister(ranges.ours)
                    ranges = None
                elif ranges.asked_bytes <= free_bytes:
                    until += fetched_s
            if receiver in ready:
                piece = os.read(receiver, _PIPE_BYTES)
                if not piece:
                    return bytes(answer)
                answer += piece
                if len(answer) > most_bytes:
                    raise MediaError(
                        Reason.CRASHED,
                        f"its process answered more than {most_bytes} bytes, which it can't hold",
                    )
                if (far := pop_latest(answer)) is not None and told is not None:
                    told(far)

    def _status(self) -> int:
        """How the child ended, as waitpid says it."""
        assert self._socket is not None, "a server that was started has a socket"
        try:
            message = self._socket.recv(16, socket.MSG_WAITALL)
        except ConnectionResetError as error:
            raise _KilledError from error
        except TimeoutError as error:
            why = f"its process has answered, but not ended within {_ANSWERS_WITHIN_S:g} s"
            raise MediaError(Reason.TIMED_OUT, why) from error
        if len(message) < 16:
            raise _KilledError
        self.peak_bytes = int.from_bytes(message[8:], "little")
        return int.from_bytes(message[:8], "little")


def _hide() -> None:
    """Where a child could open any file of this user, /proc has the memory of this process among them."""
    have = isolation_support()
    # Ray reads the memory of its workers in /proc, and ends one of them when there is too little: it has to
    # see which.
    if not have.hides_files and "ray" not in sys.modules:
        hide_memory()
    global _told_of
    if have != _told_of:
        _told_of = have
        logger.log(
            logging.INFO if have.is_complete else logging.WARNING, "what decodes is confined by %s", have
        )


def _in_memory(data: bytes) -> BinaryIO:
    """A file without a name that holds these bytes, to be read from its beginning."""
    in_memory = hasattr(os, "memfd_create")
    file = os.fdopen(os.memfd_create("request"), "w+b") if in_memory else tempfile.TemporaryFile()  # noqa: SIM115
    file.write(data)
    file.seek(0)
    return file


def _ranges(args: tuple[Any, ...]) -> RangeServer | None:
    files = {id(arg): arg for arg in args if isinstance(arg, RangedFile)}
    assert len(files) <= 1, "a child is handed one file"
    return next((RangeServer(file) for file in files.values()), None)
