"""S3 access: one client per process, retries of transient errors, and range reads of any object.

In: `s3://bucket/key`, and the standard environment that every tool for S3 reads (credentials, profile,
endpoint, region). Out: exact bytes, or one of Python's own errors that says which bucket at which endpoint
and what to do. What passes (a cut connection, 503 SlowDown, a server that is starting again) is tried again
with growing, jittered pauses; a body that was cut goes on where it stopped. botocore's exceptions don't leave
this module and `pipelines.storage.s3_store`.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from pipelines.errors import MediaError, Reason
from pipelines.redact import check_no_secret, redact

logger = logging.getLogger(__name__)

RETRY_TIMEOUT_S = (
    120.0  # without any progress; a server that is killed and started again is back well within it
)
SHORT_RETRY_TIMEOUT_S = 3.0  # for the first look at what a user typed: a wrong endpoint is said soon
PAGE_KEYS = 1000  # of a listing; S3 gives no more
PIECE_BYTES = 8 * 1024**2
_READ_BYTES = 1024**2
_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 8.0
_CONNECT_S, _READ_S, _ATTEMPTS = 10, 60, 3
_HURRIED_READ_S = 15  # who has been reached may be slow, as in listing a prefix where much was deleted
_CONNECTIONS = 32
_ENVIRONMENT = (  # what decides which client one gets
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE",
)  # fmt: skip
_PASSING_CODES = (
    "SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "ThrottlingException",
    "RequestLimitExceeded", "ConditionalRequestConflict", "OperationAborted", "BadDigest", "IncompleteBody",
)  # fmt: skip
_OUR_CODES = (  # it is the credentials, whatever is asked for
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired",
    "RequestTimeTooSkewed",
    "InvalidClientTokenId", "AccountProblem",
)  # fmt: skip
T = TypeVar("T")

_patience_s = RETRY_TIMEOUT_S
_clients: dict[tuple[Any, ...], Any] = {}
_clients_lock = threading.Lock()


def is_s3(uri: str) -> bool:
    """Whether a URI names something in S3."""
    return uri.startswith("s3://")


def split(uri: str) -> tuple[str, str]:
    """(bucket, key) of an S3 URI; the key may be empty.

    Raises:
        ValueError: it names no bucket.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not is_s3(uri) or not bucket:
        raise BadNameError(f"{uri} names no bucket; use s3://bucket/prefix")
    return bucket, key


def client() -> Any:
    """The boto3 client of this process, safe for threads; another one once the environment names other
    credentials.

    Raises:
        ValueError: the environment names a profile or an endpoint that is none.
    """
    hurry = _patience_s < RETRY_TIMEOUT_S
    key = (os.getpid(), hurry, *(os.environ.get(name) for name in _ENVIRONMENT))
    with _clients_lock:  # a session is not safe for threads; the client that it makes is
        if key not in _clients:
            _clients[key] = _new_client(hurry)
        return _clients[key]


def _new_client(hurry: bool) -> Any:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        connect_timeout=SHORT_RETRY_TIMEOUT_S if hurry else _CONNECT_S,
        read_timeout=_HURRIED_READ_S if hurry else _READ_S,
        retries={"mode": "standard", "total_max_attempts": 1 if hurry else _ATTEMPTS},
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
        # Lengths and MD5 are checked here; not every server that speaks S3 knows the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        session = boto3.session.Session()
        # A region is part of every signature. Servers of one's own take any; AWS sends one on to the
        # bucket's.
        made = session.client("s3", config=config, region_name=session.region_name or "us-east-1")
    except (BotoCoreError, ValueError) as error:
        raise ValueError(
            f"S3 can't be used as the environment says ({redact(str(error))}); look at AWS_PROFILE, "
            "AWS_ENDPOINT_URL_S3 and AWS_CA_BUNDLE"
        ) from error
    check_no_secret("AWS_ENDPOINT_URL_S3", str(made.meta.endpoint_url))
    return made


@contextmanager
def short_timeouts() -> Iterator[None]:
    """Within the block, requests use short timeouts; for checks that a user waits for."""
    global _patience_s
    before, _patience_s = _patience_s, SHORT_RETRY_TIMEOUT_S
    try:
        yield
    finally:
        _patience_s = before


class RetryPolicy:
    """Retry policy: exponential backoff with jitter; gives up after a time without progress.

    Args:
        seconds: how long without progress; None for PATIENCE_S, or in a `short_timeouts` block IMPATIENCE_S.
    """

    def __init__(self, seconds: float | None = None):
        self._seconds = _patience_s if seconds is None else seconds
        self.reset()

    def reset(self) -> None:
        """Something came: begin to count anew."""
        self._pause_s, self._until_s = _PAUSE_S, time.monotonic() + self._seconds

    def wait(self, error: Exception, where: str) -> None:
        """Pause before the next attempt.

        Raises:
            Exception: the error itself, if it is none that passes, or patience has ended.
        """
        if not is_transient(error) or time.monotonic() + self._pause_s > self._until_s:
            raise error
        logger.info("%s: %s; trying again", where, error)
        time.sleep(self._pause_s * random.uniform(0.5, 1.0))
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)


class CutError(Exception):
    """A body ended before its length."""


class BadNameError(ValueError):
    """A URI that names no object that there could be."""


class AccessDeniedError(PermissionError):
    """The credentials are good, but this one thing is not theirs to read."""


class OddObjectError(OSError):
    """An object that can't be read as others are: archived, encrypted with a key of its owner's, in another
    region."""


SINGLE_OBJECT_ERRORS = (FileNotFoundError, AccessDeniedError, OddObjectError)
"""What is wrong with one object, rather than with the server or with the credentials."""


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed a moment later."""
    from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
    from botocore.exceptions import ConnectionError as NotReachedError
    from urllib3.exceptions import HTTPError

    if isinstance(error, ClientError):
        return code(error) in _PASSING_CODES or status(error) >= 500
    # HTTPError of urllib3 and Python's own come through while a body is read.
    passing = (NotReachedError, HTTPClientError, IncompleteReadError, HTTPError, CutError, ConnectionError)
    return isinstance(error, passing)


def code(error: Exception) -> str:
    """S3's code of an error, as `NoSuchKey`, or of an answer without a body its status, as `404`."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


def status(error: Exception) -> int:
    """The HTTP status of an error, 0 if there was none."""
    return int(getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def request_with_retries(action: Callable[[Any], T], uri: str, patience_s: float | None = None) -> T:
    """Send one request, with retries of transient errors.

    Args:
        action: gets the client, makes the request. May run more than once.
        uri: what it is about, for messages.

    Raises:
        OSError, ValueError: in words, see `as_python_error`; ClientError stays for statuses that callers
        decide by (412, 416).
    """
    patience = RetryPolicy(patience_s)
    while True:
        try:
            return action(client())
        except _foreign() as error:
            try:
                patience.wait(error, uri)
            except _foreign() as last:
                raise as_python_error(last, uri) from last


def _foreign() -> tuple[type[Exception], ...]:
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    return BotoCoreError, ClientError, HTTPError, CutError, ConnectionError


def as_python_error(error: Exception, uri: str) -> Exception:
    """botocore's error as one of Python's own that says where, and what to do."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
    )

    bucket, at = split(uri)[0], f"at {endpoint()}"
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return PermissionError(
            f"{uri}: no credentials for S3 {at}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE"
        )
    if isinstance(error, ClientError):
        if status(error) in (412, 416):
            return error
        if code(error) == "NoSuchBucket":
            return FileNotFoundError(
                f"{uri}: there is no bucket '{bucket}' {at}; make it, or look at AWS_ENDPOINT_URL_S3"
            )
        if status(error) == 404:
            return FileNotFoundError(f"{uri}: nothing is there ({at})")
        ours = (
            status(error) == 401 or code(error) in _OUR_CODES or error.operation_name.startswith("AssumeRole")
        )
        if ours or (status(error) == 403 and code(error) in ("AccessDenied", "403")):
            kind = PermissionError if ours or code(error) == "403" else AccessDeniedError
            return kind(
                f"{uri}: access to bucket '{bucket}' {at} was refused ({code(error)}); look at the "
                "credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE) and what they may do"
            )
        said = error.response.get("Error", {}).get("Message") or code(error)
        elsewhere = status(error) in (301, 307) or code(error) == "AuthorizationHeaderMalformed"
        hint = "; is AWS_REGION the region of its bucket?" if elsewhere else ""
        odd = OddObjectError if 300 <= status(error) < 500 else OSError
        return odd(f"{uri}: S3 {at} answers {status(error)}: {said}{hint}")
    if isinstance(error, ParamValidationError):
        return BadNameError(f"{uri}: S3 can't be asked for it: {error}")
    if isinstance(error, BotoCoreError) and not is_transient(error):
        return PermissionError(f"{uri}: S3 {at} can't be asked as the environment says: {error}")
    return ConnectionError(
        f"{uri}: S3 {at} does not answer ({error}); is it up, and AWS_ENDPOINT_URL_S3 its address?"
    )


def endpoint() -> str:
    """The address that requests go to, for messages."""
    return str(client().meta.endpoint_url)


def stream(
    bucket: str,
    key: str,
    first: int = 0,
    end: int | None = None,
    etag: str | None = None,
) -> Iterator[bytes]:
    """The bytes [first, end) of an object, in order, in pieces of whatever size; goes on where a connection
    was cut.

    Args:
        end: None for all there are.
        etag: only of the object as it was then; None for as it is at the first answer.

    Raises:
        EOFError: it has fewer bytes.
        MediaError: (missing) it is another object by now.
        OSError: see `as_python_error`.
    """
    from botocore.exceptions import ClientError

    uri, at, patience = f"s3://{bucket}/{key}", first, RetryPolicy()
    while end is None or at < end:
        wanted = {"Range": f"bytes={at}-{'' if end is None else end - 1}"} if at or end is not None else {}
        try:
            answer = client().get_object(
                Bucket=bucket, Key=key, **wanted, **({"IfMatch": f'"{etag}"'} if etag else {})
            )
            with closing(answer["Body"]) as body:
                length, etag = answer["ContentLength"], answer["ETag"].strip('"')
                if end is None:
                    end = at + length
                if wanted and not answer.get("ContentRange", "").startswith(f"bytes {at}-"):
                    raise OSError(f"{uri}: S3 at {endpoint()} does not read ranges")
                if at + length < end:
                    raise EOFError(
                        f"{uri} ends {end - at - length} bytes before offset {first} + size {end - first}"
                    )
                while at < end:
                    piece = body.read(min(_READ_BYTES, end - at))
                    if not piece:
                        raise CutError(f"cut at byte {at} of {end}")
                    at += len(piece)
                    patience.reset()
                    yield piece
        except _foreign() as error:
            if isinstance(error, ClientError) and status(error) == 412:
                raise MediaError(Reason.MISSING, f"{uri} has changed since it was listed") from error
            if isinstance(error, ClientError) and status(error) == 416:
                raise EOFError(f"{uri} ends before offset {at}") from error
            try:
                patience.wait(error, uri)
            except _foreign() as last:
                raise as_python_error(last, uri) from last


@dataclass(frozen=True, slots=True)
class S3Object:
    """One object of somebody's bucket, as it was when it was opened: read later, it is the same or an
    error."""

    uri: str
    size_bytes: int
    etag: str

    def read_range(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset`.

        Raises:
            EOFError: it ends before.
            MediaError: (missing) it has changed.
            FileNotFoundError, PermissionError, ConnectionError: with what to do.
        """
        if offset + size > self.size_bytes:
            raise EOFError(
                f"{self.uri} has {self.size_bytes} bytes, fewer than offset {offset} + size {size}"
            )
        return b"".join(stream(*split(self.uri), offset, offset + size, self.etag))

    def iter_chunks(self, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
        """The whole object in order, in pieces of this size; errors as of `read_range`."""
        held = bytearray()
        for piece in stream(*split(self.uri), 0, self.size_bytes, self.etag):
            held += piece
            while len(held) >= piece_bytes:
                yield bytes(held[:piece_bytes])
                del held[:piece_bytes]
        if held:
            yield bytes(held)


def open_object(uri: str) -> S3Object:
    """An object, by one HEAD.

    Raises:
        FileNotFoundError, PermissionError (`AccessDeniedError` if it is about this object alone),
            ConnectionError: with what to do.
    """
    bucket, key = split(uri)
    if not key:
        raise FileNotFoundError(f"{uri} is a bucket, not an object")
    try:
        head = request_with_retries(lambda s3: s3.head_object(Bucket=bucket, Key=key), uri)
    except (PermissionError, OddObjectError):
        # An answer to HEAD has no body that says whether the credentials are bad, or it is this object alone.
        request_with_retries(lambda s3: s3.get_object(Bucket=bucket, Key=key, Range="bytes=0-0"), uri)
        raise
    return S3Object(uri, head["ContentLength"], head["ETag"].strip('"'))


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object of a listing; `modified_s` is unix time."""

    key: str
    size_bytes: int
    etag: str
    modified_s: float


def _page(bucket: str, prefix: str, after: dict[str, str], client: Any) -> Any:
    """One page of a listing."""
    return client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=PAGE_KEYS, **after)


def list_objects(bucket: str, prefix: str) -> Iterator[ListedObject]:
    """All objects whose keys start with a prefix, in the order of the server (that of UTF-8, on AWS); a page
    at a time.

    Raises:
        OSError: see `as_python_error`.
    """
    uri, token = f"s3://{bucket}/{prefix}", None
    while True:
        page = request_with_retries(
            partial(_page, bucket, prefix, {"ContinuationToken": token} if token else {}), uri
        )
        for item in page.get("Contents", ()):
            yield ListedObject(
                item["Key"], item["Size"], item["ETag"].strip('"'), item["LastModified"].timestamp()
            )
        token = page.get("NextContinuationToken")
        if not token:
            return


def list_children(bucket: str, prefix: str) -> list[str]:
    """Names right below a prefix, folders ending in `/`; the first thousand, for hints in messages."""
    page = request_with_retries(
        lambda s3: s3.list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter="/"),
        f"s3://{bucket}/{prefix}",
        SHORT_RETRY_TIMEOUT_S,
    )
    keys = [item["Key"] for item in page.get("Contents", ())] + [
        p["Prefix"] for p in page.get("CommonPrefixes", ())
    ]
    return sorted(key.removeprefix(prefix) for key in keys if key != prefix)
