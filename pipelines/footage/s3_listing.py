"""Footage in S3 → sources: what a prefix, an object, a glob or a list names there, page by page.

In: an `s3://` URI. Out: what the objects are, with the sizes and ETags of the listing. Only objects whose
names don't say what they are are looked into, by one small range read each, several at once.
"""

import glob
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import PurePosixPath
from typing import TypeVar

from pipelines.errors import MediaError, Reason
from pipelines.naming import closest_match
from pipelines.records import Ignored, Missing, Source
from pipelines.storage import s3

_THREADS = 16
_AT_ONCE = 1000  # as a page of a listing
_MAGIC = re.compile(r"[*?[]")
_OF_ONE = (*s3.SINGLE_OBJECT_ERRORS, EOFError, MediaError)
T = TypeVar("T")
U = TypeVar("U")


def resolve_uri(uri: str) -> s3.S3Object | Iterator[s3.S3Object]:
    """What a URI names: one object, or all below a prefix or of a glob, hidden ones left out.

    Raises:
        FileNotFoundError: nothing is there; names what is like it.
        OSError: see `s3.in_words`.
    """
    bucket, key = s3.split(uri)
    if key and not key.endswith("/"):
        try:
            return s3.open_object(uri)
        except FileNotFoundError as error:
            if "no bucket" in str(error):
                raise
    pattern = compile_glob(key) if glob.has_magic(key) else None
    if magic := _MAGIC.search(key) if pattern else None:
        prefix = key[: magic.start()]
    else:
        prefix = key if not key or key.endswith("/") else f"{key}/"
    listing = s3.list_objects(bucket, prefix)
    wanted = (
        item
        for item in listing
        if not item.key.endswith("/")
        and (pattern.fullmatch(item.key) if pattern else not _hidden(item.key.removeprefix(prefix)))
    )
    first = next(wanted, None)
    if first is None and (pattern or next(s3.list_objects(bucket, prefix), None) is None):
        raise FileNotFoundError(f"footage={uri}: nothing is there (at {s3.endpoint()}){_near(bucket, key)}")
    return (
        s3.S3Object(f"s3://{bucket}/{item.key}", item.size_bytes, item.etag)
        for item in chain((first,) if first else (), wanted)
    )


def classify_objects(
    objects: Iterable[s3.S3Object],
    suffixes: frozenset[str],
    head_bytes: int,
    not_media: Callable[[str, bytes], str | None],
) -> Iterator[Source | Ignored | Missing]:
    """What objects that were found are.

    Args:
        suffixes: whose names are enough to be footage.
        head_bytes: how much `not_media` needs of the others.
        not_media: (suffix, head) → why it is none, or None.

    Raises:
        OSError: of all alike, such as a server that is away.
    """

    def what(item: s3.S3Object) -> Source | Ignored | Missing:
        suffix = PurePosixPath(item.uri).suffix
        if suffix.lower() not in suffixes:
            try:
                why = not_media(suffix, item.read_range(0, min(head_bytes, item.size_bytes)))
            except _OF_ONE as error:
                return _missing(item.uri, error)
            if why:
                return Ignored(item.uri, item.size_bytes, why)
        return Source(item.uri, item.size_bytes, item.etag)

    return _at_once(what, objects)


def resolve_list(rows: Iterable[tuple[str, Mapping[str, str]]]) -> Iterator[Source | Missing]:
    """What the objects of a list are, each with what the list says of it.

    Raises:
        OSError: of all alike, such as a server that is away or bad credentials: nobody is missing for that.
    """

    def what(row: tuple[str, Mapping[str, str]]) -> Source | Missing:
        uri, about = row
        if any(part in (".", "..") for part in uri.split("/")):
            why = "S3 knows no '.' and '..' in names; write the URI out"
            return Missing.listed(uri, Reason.MISSING, why, about)
        try:
            found = s3.open_object(uri)
        except (*_OF_ONE, s3.BadNameError) as error:
            return _missing(uri, error, about)
        return Source(uri, found.size_bytes, found.etag, **about)

    rows = iter(rows)
    if first := next(rows, None):
        s3.client()  # what is wrong with the environment is said of it, not of each object
        yield from _at_once(what, chain((first,), rows))


def _missing(uri: str, error: Exception, about: Mapping[str, str] | None = None) -> Missing:
    return Missing.listed(uri, Reason.MISSING, getattr(error, "message", None) or str(error), about)


def _at_once(what: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """In order, several at a time, never more than a page of them ahead."""
    items = iter(items)
    with ThreadPoolExecutor(_THREADS) as pool:
        while page := list(islice(items, _AT_ONCE)):
            yield from pool.map(what, page)


def _hidden(relative: str) -> bool:
    return any(part.startswith(".") for part in relative.split("/"))


def compile_glob(pattern: str) -> re.Pattern[str]:
    """A glob as the `glob` module reads it: `*` and `?` stay within a name, `**` crosses folders, neither
    finds what is hidden."""
    *folders, name = pattern.split("/")
    text = "".join(r"(?:(?!\.)[^/]+/)*" if part == "**" else f"{_part(part)}/" for part in folders)
    return re.compile(text + (r"(?:(?!\.)[^/]+/)*(?!\.)[^/]+" if name == "**" else _part(name)), re.DOTALL)


def _part(part: str) -> str:
    """The expression for one name of a glob."""
    shown = r"(?!\.)" if part[:1] in ("*", "?", "[") else ""
    return shown + "".join(_piece(piece) for piece in re.findall(r"\[!?\]?[^]]*\]|.", part, re.DOTALL))


def _piece(piece: str) -> str:
    if len(piece) > 1:  # a set of characters
        inside = piece[1:-1].replace("\\", r"\\")
        return f"(?!/)[^{inside[1:]}]" if inside.startswith("!") else f"(?!/)[{inside}]"
    return {"*": "[^/]*", "?": "[^/]"}.get(piece) or re.escape(piece)


def _near(bucket: str, key: str) -> str:
    folder, _, name = key.rstrip("/").rpartition("/")
    prefix = f"{folder}/" if folder else ""
    near = closest_match(name, [n.rstrip("/") for n in s3.list_children(bucket, prefix)])
    return (
        f"; did you mean 's3://{bucket}/{prefix}{near}'?"
        if near
        else "; give a prefix, an object, a glob or a list"
    )
