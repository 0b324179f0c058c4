"""Footage → sources: what a folder, file, glob or list names, and what there is to ignore.

In: the URI the user gave. Out: sources in the order of their URIs, files that are ignored with why, and listed files
that are not there. Nothing is decoded; a file that does not end like media is sniffed, so `IMG_1` is found and
`notes.txt` is not.
"""

import csv
import difflib
import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import MediaError, Reason
from pipelines.ids import video_id
from pipelines.media.sniff import HEAD_BYTES, sniff
from pipelines.records import Ignored, Quarantined, Source
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
    missing: tuple[Quarantined, ...]


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
    missing: list[Quarantined] = []
    for path, about in _entries(uri):
        if (spelled := _spelled(path)) != str(path):
            missing.append(Quarantined(spelled, "plan", Reason.UNREADABLE, "its name is not UTF-8; rename it"))
            continue
        try:
            stat = path.stat()
            why = None if about is not None else _not_media(path)
        except OSError as error:
            missing.append(Quarantined(str(path), "plan", Reason.MISSING, error.strerror or type(error).__name__))
            continue
        if why:
            ignored.append(Ignored(str(path), stat.st_size, why))
        else:
            sources[str(path)] = Source(str(path), stat.st_size, etag(stat), **(about or {}))
    ordered = sorted(sources.values(), key=lambda source: source.uri)
    return Footage(tuple(ordered[:limit]), tuple(ignored), tuple(missing))


def why_gone(source: Mapping[str, Any]) -> str | None:
    """Why the file of a row of the sources table is not what that row is about any more; None if it is.

    A file whose size and time are the same is taken to be the same; else its bytes decide.
    """
    path = Path(source["uri"])
    try:
        stat = path.stat()
        same = (stat.st_size, etag(stat)) == (source["size_bytes"], source["etag"])
        if same or (stat.st_size == source["size_bytes"] and video_id(path) == source["video_id"]):
            return None
    except OSError as error:
        return error.strerror or type(error).__name__
    return "the file has changed since it was curated"


def etag(stat: os.stat_result) -> str:
    """What changes when a local file does."""
    return f"mtime-{stat.st_mtime_ns}"


def check_footage(uri: str) -> None:
    """Raise at once what `find_footage` would raise, without listing: for a job's cheap check."""
    next(iter(_entries(uri)), None)


def _entries(uri: str) -> Iterator[tuple[Path, dict[str, str] | None]]:
    """Files, each with what its list says of it; None for files that were found, not listed."""
    path = local_path(uri, what="footage")
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path)))
        yield from ((p.absolute(), None) for p in files)
    elif path.is_file() and path.suffix.lower() in LIST_SUFFIXES:
        yield from _listed(path)
    elif path.is_file():
        yield path.absolute(), {}
    elif glob.has_magic(str(path)) and (found := sorted(glob.glob(str(path), recursive=True))):
        yield from ((Path(p).absolute(), None) for p in found if Path(p).is_file())
    else:
        raise FileNotFoundError(f"footage={uri}: nothing is there{_near(path)}")


def _spelled(path: Path) -> str:
    """A path as text: what of it is none is spelled out in hexadecimal, as no table can hold it."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _near(path: Path) -> str:
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, siblings, n=1)
    return f"; did you mean '{path.parent / near[0]}'?" if near else "; give a folder, a file, a glob or a list"


def _not_media(path: Path) -> str | None:
    """Why a found file is no footage; None if its name or its first bytes claim that it is."""
    if path.suffix.lower() in MEDIA_SUFFIXES:
        return None
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    try:
        sniff(head)
    except MediaError:
        return f"not media: neither its name ({path.suffix or 'no suffix'}) nor its content says so"
    return None


def _listed(path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    for row in _list_rows(path):
        listed = local_path(row["uri"], what="uri")
        about = {name: row[name] for name in _LIST_FIELDS if row.get(name)}
        yield (path.parent / listed).absolute(), about


def _list_rows(path: Path) -> Iterable[dict[str, str]]:
    if path.suffix.lower() == ".txt":
        lines = (line.strip() for line in path.read_text().splitlines())
        return [{"uri": line} for line in lines if line and not line.startswith("#")]
    if path.suffix.lower() == ".csv":
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            _need_uri(path, reader.fieldnames or ())
            return list(reader)
    from pipelines.schema import read_parquet

    rows = read_parquet(path.read_bytes())
    _need_uri(path, rows.column_names)
    return rows.select([name for name in ("uri", *_LIST_FIELDS) if name in rows.column_names]).to_pylist()


def _need_uri(path: Path, names: Iterable[str]) -> None:
    if "uri" not in names:
        near = difflib.get_close_matches("uri", list(names), n=1, cutoff=0.3)
        hint = f"; did you mean '{near[0]}' to be it?" if near else ""
        raise ValueError(f"footage={path}: the list has no column 'uri', only {', '.join(names) or 'nothing'}{hint}")
