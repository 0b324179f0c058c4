"""Who is asked for a Ray and is none says so within seconds, and in a line that tells what is there
instead."""

import http.server
import socket
import subprocess
import sys
import threading

import pytest

from jobs.cluster.ray_address import check_answers, check_dashboard


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_an_address_where_nothing_listens():
    with pytest.raises(ConnectionError, match=r"nothing listens at .* start a Ray there"):
        check_answers(f"127.0.0.1:{free_port()}")


def test_an_address_where_something_else_listens():
    server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for prefix in ("", "ray://"):
            with pytest.raises(ConnectionError, match="something listens there, but no Ray"):
                check_answers(f"{prefix}127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()


def test_a_port_that_takes_connections_and_never_answers():
    with socket.socket() as silent:
        silent.bind(("0.0.0.0", 0))
        silent.listen()
        with pytest.raises(ConnectionError, match="something listens there, but no Ray"):
            check_answers(f"127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize(
    ("address", "said"),
    [("nowhere", "Invalid address"), ("ray://nowhere", "that is no address"),
        ("no.such.host.invalid:6379", "nothing listens at|resolved")],
)  # fmt: skip
def test_what_is_no_address(address, said):
    with pytest.raises((ConnectionError, ValueError), match=said):
        check_answers(address)


def test_a_ray_answers(shared_ray):
    check_answers(shared_ray.address)


def test_a_dashboard_answers_or_what_is_there_is_said(shared_ray):
    check_dashboard(shared_ray.dashboard)
    with pytest.raises(ConnectionError, match="no Ray dashboard answers there"):
        check_dashboard(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ValueError, match="no dashboard's address"):
        check_dashboard("127.0.0.1:8265")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(ConnectionError, match="it says 404"):
            check_dashboard(f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "and this machine has none"),
        ({"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "f" * 32}, "and this machine has none"),
        ({"RAY_AUTH_TOKEN": "f" * 32}, "and that of this machine is another"),
    ],
)
def test_a_client_without_the_clusters_token_is_told_so(shared_ray, tmp_path, environ, said):
    """A Ray that `ray.init` starts wants a token; whoever comes without it, or with another, is told that and
    not "no Ray"."""
    script = (
        "import sys; from jobs.cluster.ray_address import check_answers, check_dashboard\n"
        "for check, address in zip((check_answers, check_dashboard), sys.argv[1:]):\n"
        "    try: check(address)\n"
        "    except ConnectionError as error: print(error)\n"
    )
    command = [sys.executable, "-c", script, shared_ray.address, shared_ray.dashboard]
    environ = {"PATH": "/usr/bin", "HOME": str(tmp_path), **environ}  # a home without ~/.ray/auth_token
    told = subprocess.run(
        command, env=environ, text=True, capture_output=True, check=True
    ).stdout.splitlines()
    assert len(told) == 2
    assert all(line.startswith("this cluster wants a token") and said in line for line in told)
