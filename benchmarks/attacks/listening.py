"""An address on this machine that records what is asked of it: what foreign files point to, and where keys
would be sent.

Out: a URL, and the requests, each with its head and body. It refuses all of them, but for those that it is
told how to answer.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def listener(answers: Mapping[str, Any] = {}) -> Iterator[tuple[str, list[bytes]]]:
    """For the length of a block: `http://127.0.0.1:port`, and what was asked there so far.

    Args:
        answers: JSON values, by method and path.
    """
    asked: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            asked.append(f"{self.command} {self.path}\n{self.headers}".encode() + self.rfile.read(length))
            known = answers.get(f"{self.command} {self.path.partition('?')[0]}")
            # of a dashboard, for code
            found = known is not None or (bool(answers) and "/packages/" in self.path)
            content = json.dumps(known).encode() if known is not None else b""
            self.send_response(200 if found else 403)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing on the console."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
