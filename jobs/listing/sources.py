"""A source as a person names it → its URIs in a dataset.

In: a file's name, the end of its path, a path, a URI, or a pattern of one of these. Out: the URIs that it
means; or one line that says what is there instead.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from jobs.listing.single_line import single_line
from pipelines.dataset.reader import Dataset
from pipelines.naming import closest_match

_SHOWN = 5


def matching(name: str, uris: Iterable[str]) -> list[str]:
    """URIs that a name means: exactly it, or one that ends so; else those that it is a pattern of."""
    uris = list(uris)
    here = os.path.abspath(name)
    exact = [uri for uri in uris if uri in (name, here)] or [uri for uri in uris if uri.endswith(f"/{name}")]
    return exact or [uri for uri in uris if fnmatchcase(uri, name) or fnmatchcase(uri, f"*/{name}")]


def videos_of(dataset: Dataset, name: str) -> list[str]:
    """Videos that a name means, sorted: of files with the same bytes the one that stands for them, whose URI
    clips have.

    Raises:
        ValueError: there is none; says what became of the sources that are called so, or which has nearly
        that name.
    """
    sources = list(dataset.sources(["uri", "status", "why", "video_id"]).rows())
    found = set(matching(name, (row["uri"] for row in sources)))
    stands = {row["video_id"]: row["uri"] for row in sources if row["status"] == "video"}
    meant = (row for row in sources if row["uri"] in found and row["status"] in ("video", "duplicate"))
    videos = sorted({stands[row["video_id"]] for row in meant if row["video_id"] in stands})
    if videos:
        return videos
    others = [row for row in sources if row["uri"] in found]
    if others:
        raise ValueError(f"source={name} has no clips: {_why(dataset, others[0])}{_and_more(others)}")
    raise ValueError(f"source={name}: no source of {dataset.store.uri} is called so{_near(name, sources)}")


def the_video(dataset: Dataset, name: str) -> str:
    """The one video that a name means.

    Raises:
        ValueError: there is none, or more than one; names them.
    """
    videos = videos_of(dataset, name)
    if len(videos) > 1:
        some = ", ".join(map(single_line, videos[:_SHOWN])) + (" …" if len(videos) > _SHOWN else "")
        raise ValueError(
            f"source={name}: {len(videos)} sources are called so ({some}); give more of the path"
        )
    return videos[0]


def name_of(uri: str) -> str:
    """The file's own name, as a terminal may show it."""
    return single_line(PurePosixPath(uri).name or uri)


def _why(dataset: Dataset, row: dict[str, Any]) -> str:
    uri = row["uri"]
    if row["status"] == "ignored":
        return single_line(f"{uri} was ignored: {row['why']}")
    bad = next((entry for entry in dataset.quarantine().rows() if entry["source_uri"] == uri), None)
    said = f"{bad['stage']}: {bad['reason']}: {bad['message']}" if bad else row["why"]
    return single_line(f"{uri} is in quarantine: {said}")


def _and_more(others: Collection[object]) -> str:
    return f" (and {len(others) - 1} more are called so)" if len(others) > 1 else ""


def _near(name: str, sources: list[dict[str, Any]]) -> str:
    known: dict[str, str] = {}
    for own in (name_of(row["uri"]) for row in sources):
        known |= {own.lower(): own, PurePosixPath(own).stem.lower(): own}
    near = closest_match(PurePosixPath(name).name.strip("*").lower(), known)
    return (
        f"; did you mean '{known[near]}'?" if near else "; rushes clips columns=source dataset=… lists them"
    )
