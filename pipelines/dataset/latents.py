"""Cached latents and text embeddings of a dataset, sharded in the same buckets as its clips.

    latents/<fingerprint>/shards/<bucket>/<id>.tar      WebDataset: <clip_id>.safetensors — latents of each
                                                        window and of each piece (a stretch encoded alone),
                                                        text embeddings, all float16
    latents/<fingerprint>/index/<hash>.parquet          a row per window
    latents/<fingerprint>/shards/unread/<id>.json       which clips of a shard could not be read, when it was
    to be made latents/<fingerprint>/manifests/000001.json         immutable, numbered; the newest counts
    latents/<fingerprint>/vae/                          the VAE that made them, so that they can always be
    decoded

Reads and writes numpy arrays and plain values; independent of models and devices. A shard's id is the hash of
its content, so an existing shard is not written again.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath
from threading import Lock
from typing import Any

import numpy as np

from pipelines.dataset.manifest import manifest_name, manifest_number, numbers
from pipelines.dataset.schema import check_names
from pipelines.storage.base import Store
from pipelines.storage.parquet import read_parquet
from pipelines.untrusted import (
    JSON_BYTES,
    MANIFEST_BYTES,
    TABLE_BYTES,
    check_safetensors_header,
    parse_json,
    parse_object,
)

ROOT = "latents"
SCHEMA_VERSION = 3
_READABLE = (
    2,
    SCHEMA_VERSION,
)  # 2 doesn't say in the index which texts a clip has; 1 has no pieces, which training needs


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One cached window: which stretch of which clip, at which shape, and where its latents lie."""

    clip_id: str
    window: int
    split: str
    start_s: float
    num_frames: int
    fps: float
    height: int
    width: int
    latent_frames: int
    latent_height: int
    latent_width: int
    shard: str
    offset: int
    size: int
    texts: str | None = None
    """Kinds of the clip's texts, sorted, with commas between; None if it was written before they were
    noted."""


@dataclass(frozen=True, slots=True)
class EncodedClip:
    """What is cached of a clip. Rows lack their place in the shard.

    windows: window number → (C, T, H, W). pieces: (first frame of the clip, number of frames) → the same of
    that stretch, encoded alone; windows share them. texts: caption kind → (L, E).
    """

    clip_id: str
    windows: Mapping[int, np.ndarray]
    pieces: Mapping[tuple[int, int], np.ndarray]
    texts: Mapping[str, np.ndarray]
    rows: Sequence[dict[str, Any]]


def shard_key(fingerprint: str, bucket: str, shard: str) -> str:
    """Where a shard lies in the dataset."""
    return f"{ROOT}/{fingerprint}/shards/{bucket}/{shard}.tar"


def _rows_key(fingerprint: str, shard: str) -> str:
    return f"{ROOT}/{fingerprint}/shards/rows/{shard}.json"


def has_shard(store: Store, fingerprint: str, bucket: str, shard: str) -> bool:
    """Whether a shard is finished: its rows are written after its tar."""
    return store.exists(shard_key(fingerprint, bucket, shard)) and store.exists(_rows_key(fingerprint, shard))


def _unread_key(fingerprint: str, shard: str) -> str:
    return f"{ROOT}/{fingerprint}/shards/unread/{shard}.json"


def write_failed_clips(store: Store, fingerprint: str, shard: str, clip_ids: Sequence[str]) -> None:
    """Record the clips of a shard that could not be read. The other clips form a shard of their own."""
    store.put_new(_unread_key(fingerprint, shard), json.dumps(sorted(clip_ids)).encode())


def read_failed_clips(store: Store, fingerprint: str, shard: str) -> frozenset[str]:
    """The clips of a shard that could not be read; empty if it was not attempted, or if no clip of it could
    be read."""
    try:
        unread = parse_json(
            store.read(_unread_key(fingerprint, shard), JSON_BYTES), _unread_key(fingerprint, shard)
        )
    except FileNotFoundError:
        return frozenset()
    return (
        frozenset(one for one in unread if isinstance(one, str)) if isinstance(unread, list) else frozenset()
    )


def write_shard(
    store: Store, fingerprint: str, bucket: str, shard: str, clips: Sequence[EncodedClip]
) -> None:
    """Write clips as one reproducible tar, then the rows that say where their members lie."""
    import tarfile

    import webdataset
    from safetensors.numpy import save

    buffer = io.BytesIO()
    with webdataset.TarWriter(buffer, mtime=0, user="rushes", group="rushes", encoder=False) as writer:
        for clip in sorted(clips, key=lambda c: c.clip_id):
            tensors = {f"window_{i:04d}": _half(z) for i, z in clip.windows.items()}
            tensors |= {_piece_name(*stretch): _half(z) for stretch, z in clip.pieces.items()}
            tensors |= {f"text_{kind}": _half(e) for kind, e in clip.texts.items()}
            writer.write({"__key__": clip.clip_id, "safetensors": save(tensors)})
    data = buffer.getvalue()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        places = {
            member.name.partition(".")[0]: (member.offset_data, member.size) for member in tar.getmembers()
        }
    rows = []
    for clip in clips:
        offset, size = places[clip.clip_id]
        place: dict[str, Any] = {"shard": shard_key(fingerprint, bucket, shard)}
        place |= {"offset": offset, "size": size}
        texts = ",".join(sorted(clip.texts))
        rows += [asdict(WindowRow(**row, **place, texts=texts)) for row in clip.rows]
    store.put_new(shard_key(fingerprint, bucket, shard), data)
    store.put_new(_rows_key(fingerprint, shard), json.dumps(rows, sort_keys=True).encode())


def _piece_name(first_frame: int, num_frames: int) -> str:
    return f"piece_{first_frame:06d}_{num_frames:04d}"


def _half(x: np.ndarray) -> np.ndarray:
    """float16 in C order: safetensors writes an array's memory as it lies, and a permuted one would come back
    scrambled."""
    return np.ascontiguousarray(x, dtype=np.float16)


def commit(
    store: Store, fingerprint: str, number: int, shards: Sequence[tuple[str, str]], facts: Mapping[str, Any]
) -> str:
    """Publish the manifest of a finished encoding, unless the newest says the same; returns the key of the
    one that does.

    Args:
        number: of the dataset's manifest that was encoded.
        shards: (bucket, id) of every shard.
        facts: the metadata that readers need: VAE, text encoder, shapes, windows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    keys = [_rows_key(fingerprint, shard) for _, shard in sorted(shards)]
    rows = [row for key in keys for row in parse_json(store.read(key, JSON_BYTES), f"{key} of {store.uri}")]
    rows.sort(key=lambda r: (r["clip_id"], r["window"]))
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    index = f"{ROOT}/{fingerprint}/index/{hashlib.sha256(sink.getvalue()).hexdigest()[:16]}.parquet"
    store.put_new(index, sink.getvalue())
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "index": index,
        "shards": [{"bucket": bucket, "id": shard} for bucket, shard in sorted(shards)],
        "dataset_manifest": number,
        **facts,
    }
    data = (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()
    folder = f"{ROOT}/{fingerprint}/manifests/"
    while True:
        newest = max(numbers(store, folder), default=0)
        if newest and store.read(f"{folder}{manifest_name(newest)}") == data:
            return f"{folder}{manifest_name(newest)}"
        key = f"{folder}{manifest_name(newest + 1)}"
        if store.put_new(key, data):
            return key


def fingerprints(store: Store) -> list[str]:
    """Which latents a dataset has finished."""
    parts = (key.split("/") for key in store.list(f"{ROOT}/"))
    return sorted(
        {part[1] for part in parts if len(part) == 4 and part[2] == "manifests" and manifest_number(part[3])}
    )


def open_latents(store: Store, fingerprint: str | None) -> Latents:
    """The newest manifest of some latents; None takes the only ones there are.

    Raises:
        FileNotFoundError: there are none, or not these.
        ValueError: there are several and none was named.
    """
    known = fingerprints(store)
    if not known:
        raise FileNotFoundError(
            f"dataset {store.uri} has no cached latents; make them with: rushes encode dataset={store.uri} "
            "vae=<folder of train_vae>"
        )
    if fingerprint is None:
        if len(known) > 1:
            raise ValueError(
                f"dataset {store.uri} has several latents; choose one with latents=<one of "
                f"{', '.join(known)}>"
            )
        fingerprint = known[0]
    if fingerprint not in known:
        raise FileNotFoundError(
            f"dataset {store.uri} has no latents '{fingerprint}'; it has {', '.join(known)}"
        )
    folder = f"{ROOT}/{fingerprint}/manifests/"
    newest = f"{folder}{manifest_name(max(numbers(store, folder)))}"
    manifest = parse_object(store.read(newest, MANIFEST_BYTES), f"{newest} of {store.uri}", MANIFEST_BYTES)
    return Latents(store, fingerprint, manifest)


_NUMBERS = {
    "latent_channels": (1, 1024), "stride_time": (1, 64), "text_dim": (1, 2**16), "fps": (0.01, 1000.0),
    "max_frames": (1, 2**16),
    "max_pixels": (1, 2**26), "multiple": (1, 2**12),
}  # fmt: skip
_TEXTS = ("index", "text_encoder", "text_encoder_fingerprint")
_MOST_TAILS = 64


def _check_facts(manifest: Mapping[str, Any], where: str) -> None:
    """Raises ValueError if what a manifest says is not of its kind, or out of all bounds."""
    for name in ("index", "latent_channels"):
        if name not in manifest:
            raise ValueError(f"{where} is damaged: it has no {name}; encode again")
    for name in _TEXTS:
        if not isinstance(manifest.get(name, ""), str):
            raise ValueError(f"{where} is damaged: its {name} is no text; encode again")
    for name, (least, most) in _NUMBERS.items():
        value = manifest.get(name, least)
        if type(value) not in (int, type(most)) or not least <= value <= most:
            raise ValueError(
                f"{where} is damaged: {name}={str(value)[:80]} is no number of {least:g} to {most:,g}; "
                "encode again"
            )
    pieces, vae = (
        manifest.get("pieces", {"tails": [], "keyframes": False}),
        manifest.get("vae", {"config": {}}),
    )
    if not isinstance(vae, dict) or not isinstance(vae.get("config"), dict):
        raise ValueError(f"{where} is damaged: its vae is no object with a config; encode again")
    if (
        not isinstance(pieces, dict)
        or not isinstance(pieces.get("tails"), list)
        or len(pieces["tails"]) > _MOST_TAILS
        or not all(type(one) is int and 1 <= one <= _NUMBERS["max_frames"][1] for one in pieces["tails"])
        or not isinstance(pieces.get("keyframes"), bool)
    ):
        raise ValueError(f"{where} is damaged: its pieces are not tails and keyframes; encode again")


def _rows(store: Store, index: str, channels: int) -> dict[tuple[str, int], WindowRow]:
    """The index of latents. What a row says of a window's size is no more than what its clip has bytes for.

    Raises:
        ValueError: a row is none.
    """
    known = {field.name: field.type for field in fields(WindowRow)}
    rows = {}
    table = read_parquet(store.read(index, TABLE_BYTES))
    check_names(table, ("clip_id",))
    for told in table.to_pylist():
        if not known.keys() - {"texts"} <= told.keys() <= known.keys() or not all(
            isinstance(value, _OF_TYPE[str(known[name])]) for name, value in told.items()
        ):
            raise ValueError(f"{index} of {store.uri} is no index of latents; encode again")
        row = WindowRow(**told)
        latents = channels * row.latent_frames * row.latent_height * row.latent_width
        least = min(
            row.num_frames, row.height, row.width, row.latent_frames, row.latent_height, row.latent_width
        )
        if least < 1 or not 0 < row.fps <= _NUMBERS["fps"][1] or 2 * latents > row.size:
            raise ValueError(f"{index} of {store.uri} says of clip {row.clip_id} what can't be; encode again")
        rows[row.clip_id, row.window] = row
    return rows


_OF_TYPE = {"str": str, "int": int, "float": int | float, "str | None": str | None}


class Latents:
    """Reader of cached latents and texts. Clips stay in a bounded cache; safe to share between threads."""

    def __init__(
        self, store: Store, fingerprint: str, manifest: Mapping[str, Any], cache_bytes: int = 1 << 30
    ):
        schema = manifest.get("schema_version")
        if schema not in _READABLE:
            todo = "encode again"
            if isinstance(schema, int) and schema > SCHEMA_VERSION:
                todo = f"a later version of rushes made them: use one that reads {schema}"
            raise ValueError(
                f"latents {fingerprint} in {store.uri} have schema {schema}, this version reads "
                f"{' and '.join(map(str, _READABLE))}; {todo}"
            )
        where = f"the manifest of latents {fingerprint} in {store.uri}"
        _check_facts(manifest, where)
        self._store, self.fingerprint, self.manifest = store, fingerprint, manifest
        self.rows = _rows(store, manifest["index"], manifest["latent_channels"])
        self._cache: OrderedDict[str, dict[str, np.ndarray]] = OrderedDict()
        self._cache_bytes, self._lock = cache_bytes, Lock()

    def _clip(self, row: WindowRow) -> dict[str, np.ndarray]:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        with self._lock:
            if row.clip_id in self._cache:
                self._cache.move_to_end(row.clip_id)
                return self._cache[row.clip_id]
        try:
            data = self._store.read_range(row.shard, row.offset, row.size)
            check_safetensors_header(data, f"clip {row.clip_id}")
            tensors = load(data)
        except (FileNotFoundError, EOFError, SafetensorError, ValueError) as error:
            raise ValueError(
                f"clip {row.clip_id} in {row.shard} of {self._store.uri} can't be read ({error}); remove "
                f"that file and its rows in {_rows_key(self.fingerprint, PurePosixPath(row.shard).stem)}, "
                "and encode again"
            ) from error
        with self._lock:
            self._cache[row.clip_id] = tensors
            while (
                len(self._cache) > 1
                and sum(t.nbytes for c in self._cache.values() for t in c.values()) > self._cache_bytes
            ):
                self._cache.popitem(last=False)
        return tensors

    def window(self, clip_id: str, window: int) -> np.ndarray:
        """Normalised latents (C, T, H, W), float16."""
        row = self.rows[clip_id, window]
        latents = self._clip(row)[f"window_{window:04d}"]
        if latents.shape != (
            self.manifest["latent_channels"],
            row.latent_frames,
            row.latent_height,
            row.latent_width,
        ):
            raise ValueError(
                f"window {window} of clip {clip_id} in {row.shard} has another shape than the index says; "
                "encode again"
            )
        return latents

    def piece(self, clip_id: str, window: int, first_frame: int, num_frames: int) -> np.ndarray:
        """Latents (C, T, H, W) float16 of a window's frames from `first_frame` on, encoded alone.

        Raises:
            KeyError: that stretch is not one of the manifest's `pieces`.
        """
        row = self.rows[clip_id, window]
        return self._clip(row)[_piece_name(round(row.start_s * row.fps) + first_frame, num_frames)]

    def texts(self, clip_id: str, window: int) -> dict[str, np.ndarray]:
        """Embeddings (L, E) float16 by caption kind."""
        tensors = self._clip(self.rows[clip_id, window])
        return {
            name.removeprefix("text_"): value for name, value in tensors.items() if name.startswith("text_")
        }
