"""A bad road to an S3 server: answers 503 now and then, is slow, and cuts connections in the middle of
bodies, both ways.

In: the server's port, a seed, shares of requests. Out: an endpoint to use instead of the server's. Bytes that
pass are passed on as they are, with the Host header that the client signed.
"""

import contextlib
import random
import re
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass

_BUSY = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code>"
    b"<Message>Please reduce your request rate.</Message></Error>"
)


@dataclass(frozen=True)
class Faults:
    """Shares of requests."""

    busy: float = 0.0
    slow: float = 0.0
    cut_request: float = 0.0
    cut_answer: float = 0.0
    slow_s: float = 0.2


class Proxy:
    """Runs from `start` to `stop`; `did` counts what it did."""

    def __init__(self, port: int, faults: Faults, seed: int):
        self.did: Counter[str] = Counter()
        self._target, self._faults, self._random, self._lock = (
            port,
            faults,
            random.Random(seed),
            threading.Lock(),
        )
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.endpoint = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def start(self) -> "Proxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, _Ended), client:
            while True:  # requests of one kept connection, each with a connection of its own to the server
                self._one(client)

    def _one(self, client: socket.socket) -> None:
        head = _Reader(client)
        request = head.until_blank_line()
        size = _length(request)
        fault = self._fault()
        self.did["requests"] += 1
        self.did[fault] += 1
        if b"expect: 100-continue" in request.lower() and fault != "cut_request":
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            request = re.sub(rb"(?i)expect: 100-continue\r\n", b"", request)
        if fault == "busy":
            head.exactly(size)
            client.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: %d\r\n\r\n%b" % (len(_BUSY), _BUSY))
            return
        if fault == "slow":
            time.sleep(self._faults.slow_s)
        with socket.create_connection(("127.0.0.1", self._target), timeout=60) as server:
            if fault == "cut_request":
                server.sendall(request + head.exactly(size // 2))
                raise _Ended
            body = head.exactly(size)
            server.sendall(
                re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", request)[:-2]
                + b"Connection: close\r\n\r\n"
                + body
            )
            answer = bytearray()
            while piece := server.recv(1 << 16):
                answer += piece
        # The server closed; the client may go on with this connection if the answer tells its own length.
        answer_head, _, content = bytes(answer).partition(b"\r\n\r\n")
        answer_head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", answer_head)
        if fault == "cut_answer":  # the server has done it; who asked gets half of what it says
            client.sendall((answer_head + b"\r\n\r\n" + content)[: (len(answer_head) + len(content)) // 2])
            raise _Ended
        client.sendall(answer_head + b"\r\n\r\n" + content)
        if b"content-length:" not in answer_head.lower() and not re.match(
            rb"HTTP/1.1 (204|304)", answer_head
        ):
            raise _Ended

    def _fault(self) -> str:
        with self._lock:
            drawn = self._random.random()
        for name in ("busy", "slow", "cut_request", "cut_answer"):
            drawn -= getattr(self._faults, name)
            if drawn < 0:
                return name
        return "passed"


class _Ended(Exception):
    """Nothing more comes, or shall come, on this connection."""


class _Reader:
    def __init__(self, connection: socket.socket):
        self._connection, self._held = connection, b""

    def until_blank_line(self) -> bytes:
        while b"\r\n\r\n" not in self._held:
            self._more()
        head, mark, self._held = self._held.partition(b"\r\n\r\n")
        return head + mark

    def exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            self._more()
        data, self._held = self._held[:size], self._held[size:]
        return data

    def _more(self) -> None:
        piece = self._connection.recv(1 << 16)
        if not piece:
            raise _Ended
        self._held += piece


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(found[1]) if found else 0
