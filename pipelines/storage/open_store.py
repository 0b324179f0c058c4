"""What a user typed for a dataset → the store behind it.

In: a URI. Out: a `Store` in a folder or in S3, through which everything of a dataset goes; or a local path,
where only one will do.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipelines.storage.base import Store
from pipelines.storage.local_store import LocalStore
from pipelines.storage.s3 import is_s3


def open_store(uri: str) -> Store:
    """The store behind a dataset's URI: a local path, `file:` URI, or `s3://bucket/prefix`. Nothing is asked
    yet.

    Raises:
        ValueError: the scheme is none that is known, or no bucket is named.
    """
    if is_s3(uri):
        from pipelines.storage.s3_store import S3Store

        return S3Store(uri)
    return LocalStore(local_path(uri, what="dataset"))


def local_path(uri: str, what: str) -> Path:
    """The local path that a URI names, where only a local one will do.

    Args:
        uri: a path, or a `file:` URI.
        what: the key the user typed, for the message.

    Raises:
        ValueError: the scheme is none that is known, the URI names another machine, or `~` no home folder
        that is known.
    """
    scheme, separator, _ = uri.partition("://")
    if not separator:
        try:
            return Path(uri).expanduser()
        except RuntimeError as error:
            raise ValueError(
                f"{what}={uri}: no home folder is known for {uri.partition('/')[0]}; write the path out"
            ) from error
    if scheme != "file":
        raise ValueError(
            f"{what}={uri}: scheme '{scheme}' is not known; use a local path, file:///path or "
            "s3://bucket/prefix"
        )
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise ValueError(f"{what}={uri}: it is no URI ({error}); use a local path or file:///path") from error
    if parts.netloc not in ("", "localhost"):
        raise ValueError(
            f"{what}={uri}: it names the machine '{parts.netloc}'; a file: URI is of this one: use "
            "file:///path"
        )
    if parts.query or parts.fragment:
        raise ValueError(
            f"{what}={uri}: a file: URI ends with its path; write '?' as %3F and '#' as %23 in a name"
        )
    path = unquote(parts.path)
    if "\0" in path:
        raise ValueError(f"{what}={uri}: it holds a byte of zero, which no path may")
    return Path(path)
