"""Whether a Ray answers at an address, found out in seconds: Ray itself asks for up to nine minutes, and in
silence.

In: an address as `ray.address` takes it. Out: nothing, or an error that says what is there instead, and what
to do.
"""

from __future__ import annotations

import http.client
import os
import socket
import urllib.error
import urllib.request
from urllib.parse import urlsplit

_ANSWER_S = 4.0  # for each of two questions: whoever can be reached answers within a fraction of it
_CLIENT = "ray://"
# Calls that change nothing, of the head and of the server that clients of ray:// speak with.
_HEAD_CALL = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_CLIENT_CALL = "/ray.rpc.RayletDriver/ClusterInfo"


def check_answers(address: str) -> None:
    """Check that a Ray cluster answers at the address.

    Raises:
        ConnectionError: nothing listens there, what listens is no Ray, or it wants another token than this
        machine has.
        ValueError: it is no address.
    """
    host, port = _endpoint(address)
    try:
        socket.create_connection((host, port), timeout=_ANSWER_S).close()
    except OSError as error:
        raise ConnectionError(
            f"nothing listens at {host}:{port} ({error.strerror or error}); start a Ray there (ray start "
            "--head), or leave the key out for a local one"
        ) from error
    _ask(address, host, port)


def check_dashboard(address: str) -> None:
    """The same of a cluster's dashboard, as `rushes submit` takes its address.

    Raises:
        ConnectionError: nothing listens there, what listens is no dashboard, or it wants another token than
        this machine has.
        ValueError: it is no such address.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("that is no dashboard's address; give http://host:8265")
    token = _token()
    request = urllib.request.Request(
        f"{address.rstrip('/')}/api/version", headers={"Authorization": token} if token else {}
    )
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_S):
            return
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise _token_wanted(token) from error
        raise ConnectionError(
            f"no Ray dashboard answers there (it says {error.code}); `ray start --head` prints its address"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)
        raise ConnectionError(
            f"no Ray dashboard answers there ({why}); `ray start --head` prints its address"
        ) from error


def _token_wanted(token: str) -> ConnectionError:
    return ConnectionError(
        "this cluster wants a token, and "
        f"{'that of this machine is another' if token else 'this machine has none'}; set "
        "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to what `ray get-auth-token` "
        "prints on its head"
    )


def _endpoint(address: str) -> tuple[str, int]:
    """Host and port that an address means."""
    from ray._private.services import canonicalize_bootstrap_address

    plain: str | None = address.removeprefix(_CLIENT)
    try:
        plain = plain if plain != address else canonicalize_bootstrap_address(address)
    except OSError as error:
        raise ConnectionError(f"its name can't be resolved ({error.strerror or error})") from error
    if plain is None:
        raise ConnectionError(
            "no Ray runs on this machine; start one (ray start --head), or leave the key out for a local one"
        )
    host, colon, port = plain.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError("that is no address; give host:6379, ray://host:10001 or auto")
    return host.strip("[]"), int(port)


def _ask(address: str, host: str, port: int) -> None:
    import grpc

    client = address.startswith(_CLIENT)
    token = _token()
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with grpc.insecure_channel(where) as channel:
        call = channel.unary_unary(_CLIENT_CALL if client else _HEAD_CALL)
        try:
            call(b"", timeout=_ANSWER_S, metadata=(("authorization", token),) if token else ())
        except grpc.RpcError as error:
            code = error.code()
        else:
            return
    if code == grpc.StatusCode.UNAUTHENTICATED:
        raise _token_wanted(token)
    if code == grpc.StatusCode.UNIMPLEMENTED and not client:
        raise ConnectionError(f"this is not a head's port; if it is the one for clients, give ray://{where}")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        raise ConnectionError(
            "something listens there, but no Ray; its head prints its address when it starts"
        )


def _token() -> str:
    """What Ray would show of us, as an HTTP header; empty without a token."""
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]  # compiled, without stubs

    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return ""
    loader = AuthenticationTokenLoader.instance()
    if not loader.has_token(ignore_auth_mode=True):
        return ""
    return loader.get_token_for_http_header(ignore_auth_mode=True)["authorization"]
