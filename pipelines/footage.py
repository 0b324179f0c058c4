"""Footage → sources: what a folder, file, glob or list names, here or in S3, and what there is to ignore.

In: the URI the user gave. Out: sources in the order of their URIs, files that are ignored with why, and listed files
that are not there. Nothing is decoded; a file that does not end like media is sniffed, so `IMG_1` is found and
`notes.txt` is not.
"""

import csv
import difflib
import glob
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines import s3, s3_footage
from pipelines.errors import MediaError, Reason
from pipelines.ids import video_id, video_id_of
from pipelines.media.sniff import HEAD_BYTES, sniff
from pipelines.records import Ignored, Missing, Source
from pipelines.store import local_path

_VIDEO_NAMES = (
    "3g2 3gp asf avi dv f4v flv m2ts m4v mkv mov mp4 mpe mpeg mpg mts mxf ogg ogv qt ts vob webm wmv"  # sorted
)
MEDIA_SUFFIXES = frozenset(f".{name}" for name in _VIDEO_NAMES.split())
LIST_SUFFIXES = frozenset((".txt", ".csv", ".parquet"))
_LIST_FIELDS = ("text", "license", "dataset")


@dataclass(frozen=True, slots=True)
class Footage:
    """All files a footage URI names; each is exactly one of the three."""

    sources: tuple[Source, ...]
    ignored: tuple[Ignored, ...]
    missing: tuple[Missing, ...]


def find_footage(uri: str, limit: int | None = None) -> Footage:
    """List footage.

    Args:
        uri: a folder (taken recursively), a file, a glob, or a list (`.txt .csv .parquet` with `uri` and optional
            `text`, `license`, `dataset`); a list's relative URIs are relative to the list.
        limit: take only the first so many sources, in the order of their URIs.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: an unknown scheme, or a list without a `uri` column.
    """
    sources: dict[str, Source] = {}
    ignored: list[Ignored] = []
    missing: dict[str, Missing] = {}
    for found in _found(uri):
        if isinstance(found, Source):
            sources[found.uri] = found
        elif isinstance(found, Ignored):
            ignored.append(found)
        else:
            missing[found.source_uri] = found
    ordered = sorted(sources.values(), key=lambda source: source.uri)
    return Footage(tuple(ordered[:limit]), tuple(ignored), tuple(missing.values()))


def found_again(source: Mapping[str, Any]) -> tuple[int, str] | str:
    """Size and ETag now of the file of a row of the sources table; or, in words, why it is not what that row is about any more.

    A file whose size and time are the same is taken to be the same; else its bytes decide.

    Raises:
        OSError: the object store is away, or refuses everything: that says nothing of the file.
    """
    uri, size_bytes = source["uri"], source["size_bytes"]
    try:
        if s3.is_s3(uri):
            found = s3.open_object(uri)
            now = found.size_bytes, found.etag
            same = now == (size_bytes, source["etag"])
            same = same or (found.size_bytes == size_bytes and video_id_of(found.pieces()) == source["video_id"])
        else:
            path = Path(uri)
            stat = path.stat()
            now = stat.st_size, etag(stat)
            same = now == (size_bytes, source["etag"])
            same = same or (stat.st_size == size_bytes and video_id(path) == source["video_id"])
    except OSError as error:
        if s3.is_s3(uri) and not isinstance(error, s3.OF_ONE):
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


def check_footage(uri: str) -> None:
    """Raise at once what `find_footage` would raise, without listing: for a job's cheap check."""
    next(iter(_found(uri)), None)


def _found(uri: str) -> Iterator[Source | Ignored | Missing]:
    """What every file is that a URI names, one by one."""
    if s3.is_s3(uri):
        objects = s3_footage.named(uri)
        if isinstance(objects, s3.S3Object) and _is_list(objects.uri):
            rows = _list_rows(objects.uri, b"".join(objects.pieces()))
            yield from _listed(rows, base=objects.uri.rpartition("/")[0])
        elif isinstance(objects, s3.S3Object):
            yield Source(objects.uri, objects.size_bytes, objects.etag)
        else:
            yield from s3_footage.sources(objects, MEDIA_SUFFIXES, HEAD_BYTES, _not_media)
        return
    path = local_path(uri, what="footage")
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path)))
        yield from (_local(p.absolute()) for p in files)
    elif path.is_file() and _is_list(path.name):
        yield from _listed(_list_rows(str(path), path.read_bytes()), base=str(path.parent))
    elif path.is_file():
        yield _local(path.absolute(), {})
    elif glob.has_magic(str(path)) and (found := sorted(glob.glob(str(path), recursive=True))):
        yield from (_local(Path(p).absolute()) for p in found if Path(p).is_file())
    else:
        raise FileNotFoundError(f"footage={uri}: nothing is there{_near(path)}")


def _is_list(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in LIST_SUFFIXES


def _local(path: Path, about: Mapping[str, str] | None = None) -> Source | Ignored | Missing:
    """What a local file is; `about` is what its list says of it, None if it was found, not named."""
    if (spelled := _spelled(path)) != str(path):
        return Missing(spelled, "plan", Reason.UNREADABLE, "its name is not UTF-8; rename it")
    try:
        stat = path.stat()
        why = None if about is not None else _not_media_file(path)
    except OSError as error:
        message = error.strerror or type(error).__name__
        return Missing(str(path), "plan", Reason.MISSING, message, **(about or {}))
    if why:
        return Ignored(str(path), stat.st_size, why)
    return Source(str(path), stat.st_size, etag(stat), **(about or {}))


def _spelled(path: Path) -> str:
    """A path as text: what of it is none is spelled out in hexadecimal, as no table can hold it."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _near(path: Path) -> str:
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, siblings, n=1)
    return f"; did you mean '{path.parent / near[0]}'?" if near else "; give a folder, a file, a glob or a list"


def _not_media_file(path: Path) -> str | None:
    if path.suffix.lower() in MEDIA_SUFFIXES:
        return None
    with path.open("rb") as file:
        return _not_media(path.suffix, file.read(HEAD_BYTES))


def _not_media(suffix: str, head: bytes) -> str | None:
    """Why a found file is no footage; None if its name or its first bytes claim that it is."""
    if suffix.lower() in MEDIA_SUFFIXES:
        return None
    try:
        sniff(head)
    except MediaError:
        return f"not media: neither its name ({suffix or 'no suffix'}) nor its content says so"
    return None


def _listed(rows: Iterable[Mapping[str, str]], base: str) -> Iterator[Source | Missing]:
    """What listed files are; their URIs are relative to `base`, a folder or prefix without `/` at its end."""
    remote: list[tuple[str, dict[str, str]]] = []
    for row in rows:
        about = {name: row[name] for name in _LIST_FIELDS if row.get(name)}
        uri = row["uri"]
        if s3.is_s3(uri) or (s3.is_s3(base) and "://" not in uri):
            remote.append((uri if s3.is_s3(uri) else f"{base}/{uri.lstrip('/')}", about))
        else:
            found = _local((Path(base) / local_path(uri, what="uri")).absolute(), about)
            assert not isinstance(found, Ignored), "what a list names is taken at its word"
            yield found
    yield from s3_footage.listed(remote)


def _list_rows(name: str, content: bytes) -> Iterable[dict[str, str]]:
    """The rows of a list of footage.

    Raises:
        ValueError: it has no column `uri`, or is no text.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".parquet":
        from pipelines.schema import read_parquet

        rows = read_parquet(content)
        _need_uri(name, rows.column_names)
        return rows.select([field for field in ("uri", *_LIST_FIELDS) if field in rows.column_names]).to_pylist()
    text = content.decode()
    if suffix == ".txt":
        lines = (line.strip() for line in text.splitlines())
        return [{"uri": line} for line in lines if line and not line.startswith("#")]
    reader = csv.DictReader(io.StringIO(text, newline=""))
    _need_uri(name, reader.fieldnames or ())
    return list(reader)


def _need_uri(name: str, names: Iterable[str]) -> None:
    if "uri" not in names:
        near = difflib.get_close_matches("uri", list(names), n=1, cutoff=0.3)
        hint = f"; did you mean '{near[0]}' to be it?" if near else ""
        raise ValueError(f"footage={name}: the list has no column 'uri', only {', '.join(names) or 'nothing'}{hint}")
