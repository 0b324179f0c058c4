"""Line 9: a local Ray while a job runs: where it listens, whom it answers, where its token lies, whom it
asks; and homes that are not there.

In: a place. Out: cases. The processes of a job are looked at from outside while it works.
"""

import contextlib
import os
import re
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psutil

from benchmarks.attacks.judging import ESCAPED, LEAKED, UNMET
from benchmarks.attacks.material import QUICK_CURATION
from benchmarks.attacks.place import Place
from benchmarks.attacks.registry import attack

_WITHIN_S = 240.0
_NAMELESS = 23456  # a user who has no name on this machine
_CALLS = ("/ray.rpc.NodeInfoGcsService/CheckAlive", "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.InternalKVGcsService/InternalKVKeys",
          "/ray.rpc.JobInfoGcsService/GetAllJobInfo", "/ray.rpc.NodeManagerService/GetNodeStats",
          "/ray.rpc.RayletDriver/ClusterInfo")  # fmt: skip
# Not that which says whether a node lives: Ray answers it to everybody, and it tells no more than an open
# port does.
_PAGES = ("/", "/api/version", "/api/jobs/", "/metrics", "/nodes?view=summary")
_ASKED = re.compile(
    r"(?:sendto|sendmmsg|sendmsg)\(\d+<UDP(?:v6)?:\[[^>]*->\[?(?P<host>[\d.a-f:]+)\]?:(?P<port>\d+)\]>, "
    r".*?\"(?P<data>(?:[^\"\\]|\\.)*)\""
)
_CONNECTED = re.compile(r"\bconnect\(\d+<(\w+)")
_HOST = re.compile(r'inet_addr\("([\d.]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
_PORT = re.compile(r"sin6?_port=htons\((\d+)\)")
_LOOPBACK = ("127.", "::1", "::ffff:127.")


@attack(line=9, quick=True, alone=True)
def a_ray_while_it_works(place: Place, draw: Random) -> None:
    """Everything of a local Ray that can be reached from outside of it."""
    cases = {
        name: place.case(name)
        for name in (
            "loopback_only",
            "calls_without_token",
            "pages_without_token",
            "token_in_commands",
            "token_in_files",
            "a_token",
            "usage_report",
        )
    }
    for number in range(4):
        _copy(place, number)
    looker = _Looker(place)
    done = place.rushes(
        "curate", f"footage={place.work}/footage", f"dataset={place.work}/ds", *QUICK_CURATION,
        "ray.num_cpus=2",
        limit_s=_WITHIN_S, meanwhile=looker.begin, case=cases["usage_report"],
    )  # fmt: skip
    looker.end()
    place.hold(done.code == 0, f"exit code {done.code}: {done.err[-300:]!a}", cases["usage_report"])
    place.hold(
        looker.looks > 0 and bool(looker.raylets), "no Ray was seen, so nothing is known", cases["a_token"]
    )
    for line in sorted(looker.wide):
        place.harm(ESCAPED, line, cases["loopback_only"])
    for line in sorted(looker.answers):
        place.harm(ESCAPED, line, cases["calls_without_token" if " call " in line else "pages_without_token"])
    for line in sorted(looker.told):
        place.harm(LEAKED, line, cases["token_in_commands" if "command" in line else "token_in_files"])
    place.hold(
        bool(looker.tokens), "Ray's processes have no token in their environment", cases["a_token"], UNMET
    )


@attack(line=9)
def whom_a_ray_asks(place: Place, draw: Random) -> None:
    """Connections of all processes of a job, as the kernel sees them: none but to this machine."""
    if shutil.which("strace") is None:
        place.skip("strace", "strace is not installed")
        return
    place.case("connections")
    _copy(place, 0)
    trace = place.folder / "trace"
    command = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-yy",
        "-s",
        "256",
        "-e",
        "trace=connect,sendto,sendmmsg",
        "-e",
        "signal=none",
        "-o",
        str(trace),
        sys.executable,
        "-m",
        "jobs.cli.main",
    ]
    words = [
        "curate",
        f"footage={place.work}/footage",
        f"dataset={place.work}/ds",
        *QUICK_CURATION,
        "ray.num_cpus=2",
    ]
    place.run([*command, *words], limit_s=_WITHIN_S * 2)
    for line in sorted(set(connections(trace.read_text(errors="replace")))):
        place.harm(ESCAPED, line)
    trace.unlink()


@attack(line=9)
def homes_that_are_not_there(place: Place, draw: Random) -> None:
    """Users without a name, without HOME, or with one that can't be written to."""
    if os.geteuid():
        place.skip("users", "only root can be another user")
        return
    locked = place.folder / "locked"
    locked.mkdir(mode=0o555)
    for name, home in {
        "missing": "/nonexistent",
        "read_only": str(locked),
        "unset": None,
        "empty": "",
    }.items():
        for how, words in (("here", ()), ("ray", ("ray.num_cpus=2",))):
            if how == "ray" and name in ("empty",):
                continue
            place.case(f"{name}_{how}")
            if not (place.work / "footage").exists():
                _copy(place, 0)
            done = place.rushes(
                "curate", "footage=footage", f"dataset=ds_{name}_{how}", *QUICK_CURATION, *words,
                env={"HOME": home}, user=_NAMELESS, limit_s=_WITHIN_S,
            )  # fmt: skip
            place.hold(done.code == 0, f"exit code {done.code}: {done.said[-300:]!a}")
            place.hold(
                not list(locked.iterdir()),
                f"{[path.name for path in locked.iterdir()]} was made in a read-only home",
            )


class _Looker:
    """Looks at the processes below one, again and again, until it ends."""

    def __init__(self, place: Place):
        self._place, self._done = place, threading.Event()
        self._thread: threading.Thread | None = None
        self.looks = 0
        self.raylets: set[int] = set()
        self.tokens: set[str] = set()
        self.wide: set[str] = set()
        self.answers: set[str] = set()
        self.told: set[str] = set()
        self._tried: set[int] = set()

    def begin(self, pid: int) -> None:
        self._thread = threading.Thread(target=self._look_on, args=(pid,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._done.set()
        assert self._thread is not None
        self._thread.join()

    def _look_on(self, pid: int) -> None:
        while not self._done.wait(0.5) and psutil.pid_exists(pid):
            with contextlib.suppress(psutil.Error):
                self._look(psutil.Process(pid))

    def _look(self, top: psutil.Process) -> None:
        processes = [top, *top.children(recursive=True)]
        self.looks += 1
        for one in processes:
            with contextlib.suppress(psutil.Error, OSError):
                name = one.name()
                if "raylet" in name or "gcs_server" in name:
                    self.raylets.add(one.pid)
                if token := one.environ().get("RAY_AUTH_TOKEN"):
                    self.tokens.add(token)
                if any(token in " ".join(one.cmdline()) for token in self.tokens):
                    self.told.add(f"the token stands in the command line of {name}")
                for connection in one.net_connections(kind="inet"):
                    if connection.status == psutil.CONN_LISTEN:
                        self._listens(name, connection.laddr.ip, connection.laddr.port)
        for path, _ in self._token_files():
            with contextlib.suppress(OSError):
                if path.stat().st_mode & 0o077:
                    self.told.add(
                        f"the token lies in {path}, which others may read ({path.stat().st_mode & 0o777:o})"
                    )

    def _listens(self, name: str, host: str, port: int) -> None:
        if not host.startswith(_LOOPBACK):
            self.wide.add(f"{name} listens on {host}")
        if port in self._tried:
            return
        self._tried.add(port)
        for call in _CALLS:
            if _answered(port, call):
                self.answers.add(f"{name} answers the call {call} without a token")
        for page in _PAGES:
            if said := _page(port, page):
                self.answers.add(f"{name} shows {page} without a token ({said})")

    def _token_files(self) -> Iterator[tuple[Path, str]]:
        for base in (self._place.home, self._place.tmp):
            for path in base.rglob("*"):
                with contextlib.suppress(OSError):
                    if path.is_file() and path.stat().st_size < 1 << 20:
                        text = path.read_text(errors="replace")
                        named = path.name == "auth_token" and bool(text.strip())
                        if named or any(token in text for token in self.tokens):
                            yield path, text


def connections(trace: str) -> Iterator[str]:
    """Of what strace -yy tells: who was asked that is not this machine, and for which names servers of names
    were.

    A UDP socket that is only connected sends nothing: so Ray finds its own address. Nor does it matter who
    asks for this machine's own name.
    """
    for line in trace.splitlines():
        if asked := _ASKED.search(line):
            names = _names(asked["data"])
            if not names or names - _own_names():
                yield (
                    f"asked {asked['host']} port {asked['port']} for "
                    f"{', '.join(sorted(names)) or 'something'}"
                )
            continue
        found = _CONNECTED.search(line)
        host, port = _HOST.search(line), _PORT.search(line)
        if not found or found[1].startswith("UDP") or not host or not port:
            continue
        address = (host[1] or host[2]).removeprefix("::ffff:")
        if not address.startswith(_LOOPBACK) and address not in _own_addresses():
            yield f"connected to {address} port {port[1]}"


def _names(data: str) -> set[str]:
    """The name that a question of DNS asks for, as strace prints its bytes."""
    raw = data.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")
    parts, at = [], 12
    while at < len(raw) and 0 < raw[at] < 64:
        parts.append(raw[at + 1 : at + 1 + raw[at]].decode(errors="replace"))
        at += 1 + raw[at]
    return {".".join(parts)} if parts else set()


def _own_names() -> set[str]:
    return {"localhost", socket.gethostname(), socket.getfqdn()}


def _own_addresses() -> set[str]:
    return {address.address.partition("%")[0] for some in psutil.net_if_addrs().values() for address in some}


def _answered(port: int, call: str) -> bool:
    """Whether a gRPC call is answered, or would be if its request were sound: but UNAUTHENTICATED, or no gRPC
    at all."""
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary(call)(b"", timeout=2)
        except grpc.RpcError as error:
            refused = (
                grpc.StatusCode.UNAUTHENTICATED,
                grpc.StatusCode.PERMISSION_DENIED,
                grpc.StatusCode.UNIMPLEMENTED,
            )
            return error.code() not in (
                *refused,
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.DEADLINE_EXCEEDED,
                grpc.StatusCode.CANCELLED,
            )
        return True


def _page(port: int, page: str) -> str:
    """How a server answers a request of HTTP; empty if it refuses, or is none."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as made:
        made.sendall(f"GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        made.settimeout(2)
        first = made.recv(4096).split(b"\r\n", 1)[0]
        if first.startswith(b"HTTP/") and b" 200" in first:
            return first.decode(errors="replace")
    return ""


def _copy(place: Place, number: int) -> None:
    """One more film, none like another."""
    folder = place.work / "footage"
    folder.mkdir(exist_ok=True)
    film = folder / f"film{number}.mp4"
    film.write_bytes(place.material.film.read_bytes() + bytes([number]))
