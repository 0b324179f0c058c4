"""Footage → sources: the files of a folder, file, glob or list, local or in S3, and the files that are
ignored.

In: the URI the user gave. Out: sources in the order of their URIs, files that are ignored with why, and
listed files that are not there. Nothing is decoded; a file that does not end like media is sniffed, so
`IMG_1` is found and `notes.txt` is not.
"""

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.deadline import run_with_deadline
from pipelines.errors import MediaError, Reason
from pipelines.footage import s3_listing
from pipelines.footage.identity import file_id, object_id
from pipelines.footage.list_file import URI, BadRow, ListedFile, is_list, read_list
from pipelines.footage.walk import walk
from pipelines.media.config import LimitConfig
from pipelines.media.open_regular import regular_file, why_no_file
from pipelines.media.sniff import HEAD_BYTES, sniff
from pipelines.naming import closest_match
from pipelines.records import Ignored, Missing, Source
from pipelines.redact import contains_secret, redact
from pipelines.storage import s3
from pipelines.storage.open_store import local_path

_VIDEO_NAMES = (
    # sorted
    "3g2 3gp asf avi dv f4v flv m2ts m4v mkv mov mp4 mpe mpeg mpg mts mxf ogg ogv qt ts vob webm wmv"
)
_USUAL_LIMITS = LimitConfig()
MEDIA_SUFFIXES = frozenset(f".{name}" for name in _VIDEO_NAMES.split())


@dataclass(frozen=True, slots=True)
class Footage:
    """All files a footage URI names; each is exactly one of the three."""

    sources: tuple[Source, ...]
    ignored: tuple[Ignored, ...]
    missing: tuple[Missing, ...]


def find_footage(uri: str, limit: int | None = None, uri_column: str = URI) -> Footage:
    """List footage.

    Args:
        uri: a folder (taken recursively), a file, a glob, or a list (`.txt .csv .tsv .jsonl .parquet` with
            `uri` and optional `text`, `license`, `dataset`); a list's relative URIs are relative to the list.
        limit: take only the first so many sources, in the order of their URIs.
        uri_column: of a list, that names the files.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: an unknown scheme, or a list without such a column.
    """
    sources: dict[str, Source] = {}
    ignored: list[Ignored] = []
    missing: dict[str, Missing] = {}
    for found in _found(uri, uri_column):
        if isinstance(found, Source):
            sources[found.uri] = found
        elif isinstance(found, Ignored):
            ignored.append(found)
        else:
            missing[found.source_uri] = found
    ordered = sorted(sources.values(), key=lambda source: source.uri)
    return Footage(tuple(ordered[:limit]), tuple(ignored), tuple(missing.values()))


def recheck_source(source: Mapping[str, Any], limits: LimitConfig = _USUAL_LIMITS) -> tuple[int, str] | str:
    """The current size and ETag of a source of the sources table; or, as text, why the file is no longer the
    one in that row.

    A file whose size and time are the same is taken to be the same; else its bytes decide.

    Args:
        limits: how long its disk or server may take.

    Raises:
        OSError: the object store is away, or refuses everything: that says nothing of the file.
    """
    uri, size_bytes = source["uri"], source["size_bytes"]
    try:
        if s3.is_s3(uri):
            found = s3.open_object(uri)
            now = found.size_bytes, found.etag
            same = now == (size_bytes, source["etag"])
            same = same or (found.size_bytes == size_bytes and object_id(found, limits) == source["video_id"])
        else:
            path = Path(uri)
            stat = run_with_deadline(path.stat, limits.deadline_s)
            if no_file := why_no_file(stat):
                return no_file
            now = stat.st_size, etag(stat)
            same = now == (size_bytes, source["etag"])
            same = same or (
                stat.st_size == size_bytes and file_id(path, size_bytes, limits) == source["video_id"]
            )
    except OSError as error:
        if s3.is_s3(uri) and not isinstance(error, s3.SINGLE_OBJECT_ERRORS):
            raise
        return error.strerror or str(error) or type(error).__name__
    except EOFError as error:
        return str(error)
    except MediaError as error:
        return error.message
    return now if same else "the file has changed since it was curated"


def etag(stat: os.stat_result) -> str:
    """What changes when a local file does."""
    return f"mtime-{stat.st_mtime_ns}"


def check_footage(uri: str, uri_column: str = URI) -> None:
    """Raise at once what `find_footage` would raise, without listing: for a job's cheap check."""
    next(iter(_found(uri, uri_column)), None)


def _found(uri: str, uri_column: str) -> Iterator[Source | Ignored | Missing]:
    """What every file is that a URI names, one by one."""
    if s3.is_s3(uri):
        objects = s3_listing.resolve_uri(uri)
        if isinstance(objects, s3.S3Object) and is_list(objects.uri):
            base = objects.uri.rpartition("/")[0]
            there = lambda name: _in_store(f"{base}/{name}")  # noqa: E731
            rows = read_list(objects.uri, b"".join(objects.iter_chunks()), uri_column, there)
            yield from _listed(rows, base)
        elif isinstance(objects, s3.S3Object):
            yield Source(objects.uri, objects.size_bytes, objects.etag)
        else:
            yield from s3_listing.classify_objects(objects, MEDIA_SUFFIXES, HEAD_BYTES, _not_media)
        return
    path = local_path(uri, what="footage")
    if path.is_dir():
        yield from map(_walked, walk(_plain(path)))
    elif path.is_file() and is_list(path.name):
        there = lambda name: _is_file(path.parent / name)  # noqa: E731
        yield from _listed(read_list(str(path), _content(path), uri_column, there), base=str(path.parent))
    elif path.exists():
        yield _local(_plain(path), {})
    elif glob.has_magic(str(path)) and (found := _matching(_plain(path))):
        yield from map(_walked, found)
    else:
        raise FileNotFoundError(f"footage={uri}: nothing is there{_near(path)}")


def _content(path: Path) -> bytes:
    """All of a list."""

    def read() -> bytes:
        with regular_file(path) as file:
            return file.read()

    try:
        return run_with_deadline(read, _USUAL_LIMITS.deadline_s)
    except MediaError as error:
        raise ValueError(f"footage={path}: the list can't be read: {error.message}") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no name can be so long
        return False


def _in_store(uri: str) -> bool:
    try:
        return s3.open_object(uri) is not None
    except (*s3.SINGLE_OBJECT_ERRORS, s3.BadNameError):
        return False


def _plain(path: Path) -> Path:
    """Absolute, and without '..': one file has one name, however it was come to."""
    path = path.absolute()
    return Path(os.path.realpath(path.parent), path.name) if ".." in path.parts else path


def _walked(found: Path | Ignored | Missing) -> Source | Ignored | Missing:
    return _local(found) if isinstance(found, Path) else found


def _matching(pattern: Path) -> list[Path | Ignored | Missing]:
    """What of a folder's tree a glob matches: what a walk through the folder finds, and no more."""
    parts = pattern.parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    base, rest = Path(*parts[:first]), parts[first:]
    if not base.is_dir():
        return []
    expression = s3_listing.compile_glob("/".join(rest))
    depth = None if "**" in rest else len(rest) - 1
    return [
        found for found in walk(base, depth) if expression.fullmatch(str(_path_of(found).relative_to(base)))
    ]


def _path_of(found: Path | Ignored | Missing) -> Path:
    return (
        found
        if isinstance(found, Path)
        else Path(found.uri if isinstance(found, Ignored) else found.source_uri)
    )


def _local(path: Path, about: Mapping[str, str] | None = None) -> Source | Ignored | Missing:
    """What a local file is; `about` is what its list says of it, None if it was found, not named."""
    if (spelled := _spelled(path)) != str(path):
        return Missing(spelled, "plan", Reason.UNREADABLE, "its name is not UTF-8; rename it")
    try:
        stat = path.stat()
        if no_file := why_no_file(stat):
            return Missing.listed(str(path), Reason.UNREADABLE, no_file, about)
        why = None if about is not None else _not_media_file(path)
    except MediaError as error:
        return Missing.listed(str(path), error.reason, error.message, about)
    except OSError as error:
        message = error.strerror or type(error).__name__
        return Missing.listed(str(path), Reason.MISSING, message, about)
    if why:
        return Ignored(str(path), stat.st_size, why)
    return Source(str(path), stat.st_size, etag(stat), **(about or {}))


def _spelled(path: Path) -> str:
    """A path as text: what of it is none is spelled out in hexadecimal, as no table can hold it."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _near(path: Path) -> str:
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = closest_match(path.name, siblings)
    return f"; did you mean '{path.parent / near}'?" if near else "; give a folder, a file, a glob or a list"


def _not_media_file(path: Path) -> str | None:
    if path.suffix.lower() in MEDIA_SUFFIXES:
        return None
    return _not_media(path.suffix, run_with_deadline(lambda: _head(path), _USUAL_LIMITS.deadline_s))


def _head(path: Path) -> bytes:
    with regular_file(path) as file:
        return file.read(HEAD_BYTES)


def _not_media(suffix: str, head: bytes) -> str | None:
    """Why a found file is no footage; None if its name or its first bytes claim that it is."""
    if suffix.lower() in MEDIA_SUFFIXES:
        return None
    try:
        sniff(head)
    except MediaError:
        return f"not media: neither its name ({suffix or 'no suffix'}) nor its content says so"
    return None


def _listed(rows: Iterable[ListedFile | BadRow], base: str) -> Iterator[Source | Missing]:
    """What listed files are; their URIs are relative to `base`, a folder or prefix without `/` at its end."""
    remote: list[tuple[str, Mapping[str, str]]] = []
    for row in rows:
        if isinstance(row, BadRow):
            yield Missing(row.where, "plan", Reason.UNREADABLE, row.why)
            continue
        uri, about = row.uri, row.about
        if contains_secret(uri):
            why = (
                "a key or password stands in its address, which tables would keep; the keys of S3 come "
                "from the environment"
            )
            yield Missing.listed(redact(uri), Reason.UNREADABLE, why, about)
            continue
        if s3.is_s3(uri) or (s3.is_s3(base) and "://" not in uri):
            remote.append((uri if s3.is_s3(uri) else f"{base}/{uri.lstrip('/')}", about))
        else:
            try:
                path = _plain(Path(base) / local_path(uri, what="uri"))
            except ValueError as error:  # of another scheme
                yield Missing.listed(uri, Reason.UNREADABLE, str(error), about)
                continue
            found = _local(path, about)
            assert not isinstance(found, Ignored), "what a list names is taken at its word"
            yield found
    yield from s3_listing.resolve_list(remote)
