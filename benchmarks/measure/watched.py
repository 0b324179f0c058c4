"""A job of ours under strace: what the processes that decode opened, connected to and started; how long, and
with what memory.

In: a command that decodes through `pipelines.sandbox.child`. Out: a `Call` for each fork that looked at a
file. What is known comes from the kernel's side of each process, so FFmpeg's own opening and connecting is
seen as well as Python's.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_CALLS = "execve,execveat,clone,clone3,fork,vfork,open,openat,openat2,creat,socket,connect,wait4"
_SERVER = "from pipelines.sandbox.child_server import serve"
_LINE = re.compile(r"(\d+) +(\d+\.\d+) (.*)$")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)$")
_NEW_PROCESS = re.compile(r"(?:clone|clone3|fork|vfork)\(.* = (\d+)$")
_OPENED = re.compile(r"(?:open|openat|openat2|creat)\((?:(?:AT_FDCWD|\d+)<([^>]*)>, )?\"((?:[^\"\\]|\\.)*)\"")
_RESULT = re.compile(r" = \d+<([^>]*)>$")
_WAITED = re.compile(r"wait4\((\d+),.*ru_maxrss=(\d+)")
_LOOK_EVERY_S = 0.25


@dataclass(slots=True)
class Call:
    """One fork that did one thing with one file, and the threads and processes that it made.

    `begun_s` and `ended_s` in seconds of the epoch; `peak_bytes` is its resident memory, 0 where it was
    killed. `opened` are the paths it tried to open, whether there was anything or not.
    """

    pid: int
    begun_s: float
    ended_s: float = 0.0
    peak_bytes: int = 0
    opened: list[str] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)
    """The lines in which a socket was made or connected. What the decoder's filter refuses it is refused
    before strace sees it."""
    started: list[str] = field(default_factory=list)
    """The lines in which a program was started."""

    @property
    def seconds(self) -> float:
        return self.ended_s - self.begun_s


@dataclass(frozen=True, slots=True)
class Watched:
    """What a command did. `code` is its exit status, None if it was ended after its time; `lines` what it
    said."""

    code: int | None
    lines: str
    calls: list[Call]
    peaks: Mapping[str, int]
    """Greatest resident memory seen of its processes, by what they are: `worker` (Ray's) or `decoder`;
    bytes."""


def watch(
    command: Sequence[str], trace: Path, timeout_s: float, env: Mapping[str, str] | None = None
) -> Watched:
    """Run a command to its end.

    Args:
        trace: a file for what strace says.
        timeout_s: it is killed with all its processes after that.

    Raises:
        FileNotFoundError: there is no strace here.
    """
    if shutil.which("strace") is None:
        raise FileNotFoundError("strace is not installed; it is in every system's packages, as strace")
    traced = ["strace", "-f", "--seccomp-bpf", "-q", "-ttt", "-y", "-s", "4096"]
    traced += ["-e", f"trace={_CALLS}", "-e", "signal=SIGKILL", "-e", "abbrev=!wait4", "-o", str(trace)]
    process = subprocess.Popen(
        [*traced, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        env=env,
    )
    done, peaks = threading.Event(), dict.fromkeys(("worker", "decoder"), 0)
    looker = threading.Thread(target=_look, args=(process.pid, done, peaks), daemon=True)
    looker.start()
    code: int | None
    try:
        lines, _ = process.communicate(timeout=timeout_s)
        code = process.returncode
    except subprocess.TimeoutExpired:
        for pid in reversed(list(_tree(process.pid))):
            subprocess.run(["kill", "-9", str(pid)], stderr=subprocess.DEVNULL, check=False)
        lines, _ = process.communicate()
        code = None
    done.set()
    looker.join()
    with trace.open(errors="replace") as said:
        return Watched(code, lines, calls(said), peaks)


@dataclass(slots=True)
class _Life:
    """A process or thread from its first line to its last; a number may be given to several, one after the
    other."""

    pid: int
    begun_s: float
    lines: list[tuple[float, str]] = field(default_factory=list)
    made: list["_Life"] = field(default_factory=list)
    """Those that it made, threads as well."""
    forks: list["_Life"] = field(default_factory=list)
    pending: str = ""
    claimed: bool = False
    """Its maker is known."""
    serves: bool = False


def calls(trace: Iterable[str]) -> list[Call]:
    """What strace's lines tell of the forks of the servers that decode, in the order in which they began."""
    living: dict[int, _Life] = {}
    orphans: dict[int, _Life] = {}  # ended before strace told who had made them
    servers = []
    for line in trace:
        if (parsed := _LINE.match(line)) is None:
            continue
        pid, at_s, text = int(parsed[1]), float(parsed[2]), parsed[3]
        life = living.setdefault(pid, _Life(pid, at_s))
        if text.endswith(" <unfinished ...>"):
            life.pending = text.removesuffix(" <unfinished ...>")
            continue
        if resumed := _RESUMED.match(text):
            text, life.pending = life.pending + resumed[1], ""
        life.lines.append((at_s, text))
        if text.startswith("+++"):
            if not living.pop(pid).claimed:
                orphans[pid] = life
        elif new := _NEW_PROCESS.match(text):
            number = int(new[1])
            child = (
                living.get(number)
                or orphans.pop(number, None)
                or living.setdefault(number, _Life(number, at_s))
            )
            child.begun_s, child.claimed = min(child.begun_s, at_s), True
            life.made.append(child)
            # no thread, and no program that is started
            if "CLONE_VM" not in text and not text.startswith("vfork"):
                life.forks.append(child)
        elif _SERVER in text and text.startswith("execve") and not life.serves:
            life.serves = True
            servers.append(life)
    found = [call for server in servers for call in _calls_of(server)]
    return sorted(found, key=lambda call: call.begun_s)


def _calls_of(server: _Life) -> Iterator[Call]:
    for fork in server.forks:
        call = Call(fork.pid, fork.begun_s)
        _read(fork, call)
        # The same number may have been given to several of its forks: it waits for each before the next.
        waited = [
            int(peak[2]) * 1024
            for at_s, text in server.lines
            if (peak := _WAITED.match(text)) and int(peak[1]) == fork.pid and at_s >= call.begun_s
        ]
        call.peak_bytes = waited[0] if waited else 0
        yield call


def _read(life: _Life, call: Call) -> None:
    """Put what a process, and those it made, did into a call."""
    for at_s, text in life.lines:
        call.ended_s = max(call.ended_s, at_s)
        if opened := _OPENED.match(text):
            result = _RESULT.search(text)
            path = result[1] if result else opened[2]
            call.opened.append(path if path.startswith("/") or not opened[1] else f"{opened[1]}/{path}")
        elif text.startswith(("socket(", "connect(")):
            call.sockets.append(text)
        elif text.startswith("execve"):
            call.started.append(text)
    for child in life.made:
        _read(child, call)


def _tree(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found = children.read_text().split()
        except OSError:  # it has ended
            continue
        for child in found:
            yield from _tree(int(child))


def _look(pid: int, done: threading.Event, peaks: dict[str, int]) -> None:
    """Note the memory of a tree's processes, until it is done."""
    while not done.wait(_LOOK_EVERY_S):
        for process in _tree(pid):
            try:
                command = Path(f"/proc/{process}/cmdline").read_text(errors="replace")
                status = Path(f"/proc/{process}/status").read_text()
            except OSError:  # it has ended
                continue
            what = "decoder" if _SERVER in command else "worker" if command.startswith("ray::") else None
            peak = re.search(r"VmHWM:\s+(\d+) kB", status)
            if what and peak:
                peaks[what] = max(peaks[what], int(peak[1]) * 1024)


def libraries() -> tuple[str, ...]:
    """Where programs may read what belongs to themselves: Python, its packages, the system's libraries."""
    root = Path(__file__).resolve().parents[2]
    prefixes = {
        path for prefix in (sys.prefix, sys.base_prefix) for path in (prefix, os.path.realpath(prefix))
    }
    packages = (f"{root / name}/" for name in ("pipelines", "recaption", "model", "jobs", "conf"))
    return (
        *(f"{prefix}/" for prefix in prefixes),
        *packages,
        "/usr/lib/",
        "/usr/local/lib/",
        "/lib/",
        "/lib64/",
    )
