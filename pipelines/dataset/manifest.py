"""Numbered immutable manifests: the newest one is the dataset.

In: the content of a dataset after a run. Out: `manifests/000007.json`, published create-if-absent: of two
writers the second gets LostRaceError, re-reads and retries. A manifest equal to the newest one is not
written.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.dataset.schema import SCHEMA_VERSION
from pipelines.fault_injection import kill_point
from pipelines.ids import canonical_json
from pipelines.storage.base import Store
from pipelines.untrusted import MANIFEST_BYTES, parse_object

_FOLDER = "manifests/"
_NAME = re.compile(r"[0-9]{6,}\.json")


class LostRaceError(Exception):
    """Another writer published this number first: re-read the newest manifest and go on from there."""


class BadManifestError(ValueError):
    """The content of the file is not a valid manifest."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard of the dataset; `sha256` is of the whole tar."""

    id: str
    bucket: str
    key: str
    sha256: str
    bytes: int
    clips: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a dataset consists of. Holds no times and no run ids: the same content is the same manifest.

    `recipe` has name, hash and rules; `settings` is the configuration of curation that made it, as far as it
    changes what is made: what deciding again goes on with. Of a dataset that an early version made, neither
    the rules nor the settings are known.
    """

    schema: int
    shards: tuple[Shard, ...]
    index: tuple[str, ...]
    looks: tuple[str, ...]
    sources: tuple[str, ...]
    quarantine: tuple[str, ...]
    recipe: dict[str, Any]
    captions: dict[str, str]
    settings: dict[str, Any]

    def to_json(self) -> bytes:
        return (
            json.dumps(json.loads(canonical_json(asdict(self))), indent=1, sort_keys=True) + "\n"
        ).encode()


def newest(store: Store) -> tuple[int, Manifest | None]:
    """The newest manifest and its number; (0, None) before the first.

    Raises:
        ValueError: it was written by a later version of this project, or is larger than any manifest.
        BadManifestError: it is damaged.
        PermissionError: where manifests would be is a link that leads out.
    """
    number = max(numbers(store, _FOLDER), default=0)
    if not number:
        store.exists(manifest_key(1))
        return 0, None
    key = manifest_key(number)
    return number, _parse(store.read(key, MANIFEST_BYTES), key, store.uri)


def numbers(store: Store, folder: str) -> list[int]:
    """The numbers of the manifests in a folder of a store. Other files there (.DS_Store, backup copies) are
    skipped.
    """
    found = (manifest_number(key.removeprefix(folder)) for key in store.list(folder))
    return [number for number in found if number]


def manifest_number(name: str) -> int | None:
    """The number of a manifest by the name of its file; None if it is not called as one: 000007.json, and
    nothing else."""
    if not _NAME.fullmatch(name):
        return None
    number = int(name.removesuffix(".json"))
    return number if manifest_name(number) == name else None


def manifest_name(number: int) -> str:
    """The name of a manifest's file."""
    return f"{number:06d}.json"


def current_recipe(store: Store) -> dict[str, Any] | None:
    """The recipe of the newest manifest: name, hash and rules; None before the first manifest."""
    _, manifest = newest(store)
    return None if manifest is None else manifest.recipe


def current_settings(store: Store) -> dict[str, Any]:
    """The configuration that the dataset was last curated with; {} before the first manifest."""
    _, manifest = newest(store)
    return manifest.settings if manifest else {}


def publish(store: Store, base: int, manifest: Manifest) -> int:
    """Publish a manifest as the one after `base`; the number that now holds it.

    Nothing is written, and `base` returned, if `base` says the same already.

    Raises:
        LostRaceError: another writer was first with something else.
    """
    data = manifest.to_json()
    if base and store.read(manifest_key(base)) == data:
        return base
    kill_point("manifest:before")
    if store.put_new(manifest_key(base + 1), data) or store.read(manifest_key(base + 1)) == data:
        kill_point("manifest:after")
        return base + 1
    raise LostRaceError(f"manifest {base + 1} of {store.uri} was published by another run")


def manifest_key(number: int) -> str:
    """Where the manifest of a number is."""
    return f"{_FOLDER}{manifest_name(number)}"


def _parse(data: bytes, key: str, uri: str) -> Manifest:
    """A manifest's bytes as a manifest, every value of which is of its kind."""
    where = f"{key} of dataset {uri}"
    try:
        value = parse_object(data, where, MANIFEST_BYTES, finite=False)  # a setting may have no bound
    except ValueError as error:
        raise BadManifestError(str(error)) from error
    schema = value.get("schema")
    if type(schema) is int and schema > SCHEMA_VERSION:
        raise ValueError(
            f"dataset {uri} has schema {schema}, which a later version of rushes made; this one reads up to "
            f"{SCHEMA_VERSION}: use a version that reads {schema}"
        )
    # Schema 1 knew neither looks nor settings, and named its recipe without its rules; nor did 2 at first.
    fields = {"looks": [], "settings": {}} | {name: value.get(name, []) for name in _LISTS} | value
    for name, kind in _KINDS.items():
        if not isinstance(fields.get(name), kind) or isinstance(fields[name], bool):
            raise BadManifestError(
                f"{where} is damaged: its {name} is not what it should be, but {str(fields.get(name))[:80]}"
            )
    for name in ("name", "hash"):
        if not isinstance(fields["recipe"].get(name), str):
            raise BadManifestError(f"{where} is damaged: its recipe has no {name}")
    for name in _LISTS:
        for key in fields[name]:
            if not isinstance(key, str):
                raise BadManifestError(
                    f"{where} is damaged: its {name} names {str(key)[:80]}, which is no key"
                )
        _check_once(fields[name], name, where)
    shards = tuple(_shard(shard, where) for shard in fields["shards"])
    _check_once([shard.key for shard in shards], "shards", where)
    return Manifest(
        schema=fields["schema"],
        shards=shards,
        recipe=fields["recipe"],
        captions=fields["captions"],
        settings=fields["settings"],
        **{name: tuple(fields[name]) for name in _LISTS},
    )


def _check_once(keys: list[str], name: str, where: str) -> None:
    """Rejects duplicate keys: a reader that follows each of them would read one small file without end."""
    if len(set(keys)) < len(keys):
        twice = next(key for key, count in Counter(keys).items() if count > 1)
        raise BadManifestError(f"{where} is damaged: its {name} names {twice[:80]} more than once")


def _shard(value: Any, where: str) -> Shard:
    texts, numbers = ("id", "bucket", "key", "sha256"), ("bytes", "clips")
    if (
        not isinstance(value, dict)
        or value.keys() != {*texts, *numbers}
        or not all(isinstance(value[name], str) for name in texts)
        or not all(type(value[name]) is int and value[name] >= 0 for name in numbers)
    ):
        raise BadManifestError(f"{where} is damaged: {str(value)[:80]} is no shard")
    return Shard(**value)


_LISTS = ("index", "looks", "sources", "quarantine")
_KINDS: Mapping[str, type] = {
    "schema": int, "shards": list, "recipe": dict, "captions": dict, "settings": dict,
    **dict.fromkeys(_LISTS, list)
}  # fmt: skip
