"""The manifests of a dataset → what must stay, and what can go, in the order in which it can be removed.

In: a store, and how much is wanted away. Out: entries by kind, as a stream. A crash between any two removals
leaves every manifest that remains whole, and nothing that says a shard is finished which is not there.
"""

import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from pipelines.dataset.manifest import manifest_number
from pipelines.dataset.shards import shard_key
from pipelines.dataset.stages import rows_of
from pipelines.storage.base import Entry, Store
from pipelines.untrusted import MANIFEST_BYTES, parse_object

MANIFESTS, NOTES, TABLES, SHARDS, STAGES, SCRATCH = (
    "manifests",
    "notes",
    "tables",
    "shards",
    "stages",
    "scratch",
)
KINDS: dict[str, str] = {
    MANIFESTS: "manifests but the newest",
    NOTES: "notes that a shard is finished, of shards that go or are gone",
    TABLES: "tables that no manifest names",
    SHARDS: "shards that no manifest names",
    STAGES: "finished work under other settings",
    SCRATCH: "what killed processes left",
}
"""In the order of removal, and what they are."""

_TABLES = ("index", "sources", "quarantine", "looks")
_UNIT = r"[0-9a-f]{16,64}(/[0-9]{9,}-[0-9]{9,})?"
# Nothing that is called otherwise is a dataset's own, but for manifests, and nothing else is ever removed.
_NAMES = {
    NOTES: re.compile(r"stages/shards/[0-9a-f]{16}/[0-9a-f]{16}\.parquet"),
    TABLES: re.compile(rf"({'|'.join(_TABLES)})/[0-9a-f]{{32}}\.parquet"),
    SHARDS: re.compile(r"shards/[a-z0-9_]+/[0-9a-f]{16}\.tar"),
    STAGES: re.compile(r"stages/(?P<stage>[a-z0-9_]+)/(?P<print>[0-9a-f]{16})/" + _UNIT + r"\.parquet"),
}
_FOLDERS = ("manifests", *_TABLES, "shards", "stages")


@dataclass(frozen=True, slots=True)
class CleanRequest:
    """What `rushes clean` should remove.

    Attributes:
        used: fingerprints in use, by stage; None if no finished work is to go. Of stages that it does not
        have, nothing goes.
        min_age_s: nothing younger goes.
    """

    old_manifests: bool
    used: Mapping[str, frozenset[str]] | None
    min_age_s: float


class Reachable:
    """What the manifests that remain refer to, at one moment.

    Attributes:
        newest: the key of the newest manifest then.
        older: how many others there are.

    Raises:
        ValueError: a manifest that remains can't be read, so what it refers to is not known.
    """

    def __init__(self, store: Store, request: CleanRequest):
        self._store, self._wanted = store, request
        self._before = time.time() - request.min_age_s
        self._unread: list[str] = []
        entries = [entry for entry in store.entries("manifests/") if _is_manifest(entry.key)]
        self.newest = max(entries, key=lambda entry: _number(entry.key)).key
        older = [entry for entry in entries if entry.key != self.newest]
        self.older = len(older)
        self._old = older if request.old_manifests else []
        going = {entry.key for entry in self._old if self._aged(entry)}
        names = {entry.key: _named(store, entry.key) for entry in entries if entry.key not in going}
        self._named: set[str] = set().union(*names.values())
        old = {entry.key for entry in self._old}
        # By manifests that stay for good, not only for being too young to go.
        self._firm: set[str] = set().union(*(named for key, named in names.items() if key not in old))

    def still_newest(self) -> bool:
        """Whether no other run has committed since: its manifest may name what was free to go before."""
        numbers = [_number(key) for key in self._store.list("manifests/") if _is_manifest(key)]
        return max(numbers) == _number(self.newest)

    def removable(self, kind: str) -> Iterator[Entry]:
        """What can go of a kind."""
        return (entry for entry, now in self.candidates(kind) if now)

    def candidates(self, kind: str) -> Iterator[tuple[Entry, bool]]:
        """What can go of a kind, now or once it is old enough, and whether it can now."""
        if kind == MANIFESTS:
            yield from ((entry, self._aged(entry)) for entry in self._old if not entry.linked)
        elif kind == NOTES:
            yield from self._notes()[0]
        elif kind == TABLES:
            for folder in _TABLES:
                yield from self._unnamed(TABLES, f"{folder}/")
        elif kind == SHARDS:
            held = self._notes()[1]
            yield from (
                (entry, now and entry.key not in held) for entry, now in self._unnamed(SHARDS, "shards/")
            )
        elif kind == STAGES:
            yield from self._unused()
        else:
            assert kind == SCRATCH, f"{kind} is no kind"
            yield from ((entry, self._aged(entry)) for entry in self._store.abandoned(-math.inf))

    def unknown_files(self) -> Iterator[tuple[str, str]]:
        """Unknown files in the folders of a dataset, and files that may not be removed: (name, reason)."""
        for folder in _FOLDERS:
            yield from self._store.strays(f"{folder}/")
            for entry in self._store.entries(f"{folder}/"):
                if entry.linked:
                    yield entry.key, "reached through a link"
                elif not (
                    _is_manifest(entry.key) or any(name.fullmatch(entry.key) for name in _NAMES.values())
                ):
                    yield entry.key, "not called as anything of a dataset's own"
        yield from ((key, "its rows can't be read") for key in self._unread)
        yield from ((key, "no folder of work in progress") for key in self._store.stray_scratch())

    def _aged(self, entry: Entry) -> bool:
        return entry.modified_s <= self._before

    def _unnamed(self, kind: str, folder: str) -> Iterator[tuple[Entry, bool]]:
        """What no manifest names that stays in the end, and whether none names it now and it is old
        enough."""
        for entry in self._store.entries(folder):
            if _NAMES[kind].fullmatch(entry.key) and not entry.linked and entry.key not in self._firm:
                yield entry, entry.key not in self._named and self._aged(entry)

    def _notes(self) -> tuple[list[tuple[Entry, bool]], set[str]]:
        """Notes that must go before their shards do, else a later run would take those for written; and the
        shards whose notes are too young to go, so that they stay as well.
        """
        staying = {
            entry.key for entry in self._store.entries("shards/") if not self._aged(entry)
        } | self._named
        found, held = [], set()
        for entry in self._store.entries("stages/shards/"):
            if not _NAMES[NOTES].fullmatch(entry.key) or entry.linked:
                continue
            try:
                rows = rows_of(self._store, entry.key, ("bucket", "shard"))
                shards = {shard_key(row["bucket"], row["shard"]) for row in rows if row["shard"]}
            except FileNotFoundError:  # taken back since it was listed
                continue
            # nor will a run find anything in it: it is no note then
            except (pa.ArrowException, ValueError, KeyError):
                self._unread += [] if entry.key in self._unread else [entry.key]
                continue
            if shards - self._firm:
                found.append((entry, bool(shards - staying) and self._aged(entry)))
            if not self._aged(entry):
                held |= shards
        return found, held

    def _unused(self) -> Iterator[tuple[Entry, bool]]:
        used = self._wanted.used
        if used is None:
            return
        for entry in self._store.entries("stages/"):
            name = _NAMES[STAGES].fullmatch(entry.key)
            if (
                name
                and not entry.linked
                and name["stage"] in used
                and name["print"] not in used[name["stage"]]
            ):
                yield entry, self._aged(entry)


def _is_manifest(key: str) -> bool:
    return manifest_number(key.removeprefix("manifests/")) is not None


def _number(key: str) -> int:
    return int(key.removeprefix("manifests/").removesuffix(".json"))


def _named(store: Store, key: str) -> set[str]:
    """Everything that a manifest refers to, also one of an earlier version."""
    try:
        value = parse_object(store.read(key, MANIFEST_BYTES), key, MANIFEST_BYTES)
        tables = [name for folder in _TABLES for name in value.get(folder, ())]
        return {*tables, *(shard["key"] for shard in value["shards"])}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{key} of {store.uri} can't be read ({error!r}), so what it refers to is not known and nothing "
            "is removed: restore it, or remove it"
        ) from error
