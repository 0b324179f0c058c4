"""Cached latents and text embeddings of a dataset, sharded in the same buckets as its clips.

    latents/<fingerprint>/shards/<bucket>/<id>.tar      WebDataset: <clip_id>.safetensors — latents of each window and of each piece
                                                        (a stretch encoded alone), text embeddings, all float16
    latents/<fingerprint>/index/<hash>.parquet          a row per window
    latents/<fingerprint>/shards/unread/<id>.json       which clips of a shard could not be read, when it was to be made
    latents/<fingerprint>/manifests/000001.json         immutable, numbered; the newest counts
    latents/<fingerprint>/vae/                          the VAE that made them, so that they can always be decoded

In: numpy arrays and plain facts. Out: the same again. Knows neither models nor devices. A shard's id is the hash of what is in it, so a
shard that is there already is not made again.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from threading import Lock
from typing import Any

import numpy as np

from pipelines.manifest import manifest_name, manifest_number, numbers
from pipelines.schema import read_parquet
from pipelines.store import Store

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
    """Kinds of the clip's texts, sorted, with commas between; None if it was written before they were noted."""


@dataclass(frozen=True, slots=True)
class EncodedClip:
    """What is cached of a clip. Rows lack their place in the shard.

    windows: window number → (C, T, H, W). pieces: (first frame of the clip, number of frames) → the same of that stretch, encoded
    alone; windows share them. texts: caption kind → (L, E).
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


def write_unread(store: Store, fingerprint: str, shard: str, clip_ids: Sequence[str]) -> None:
    """Note which clips of a shard could not be read, while others could: those then are a shard of their own."""
    store.put_new(_unread_key(fingerprint, shard), json.dumps(sorted(clip_ids)).encode())


def read_unread(store: Store, fingerprint: str, shard: str) -> frozenset[str]:
    """The clips of a shard that could not be read when it was to be made; none if it wasn't tried, or none could."""
    try:
        return frozenset(json.loads(store.read(_unread_key(fingerprint, shard))))
    except FileNotFoundError:
        return frozenset()


def write_shard(store: Store, fingerprint: str, bucket: str, shard: str, clips: Sequence[EncodedClip]) -> None:
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
        places = {member.name.partition(".")[0]: (member.offset_data, member.size) for member in tar.getmembers()}
    rows = []
    for clip in clips:
        offset, size = places[clip.clip_id]
        place = {"shard": shard_key(fingerprint, bucket, shard), "offset": offset, "size": size}
        texts = ",".join(sorted(clip.texts))
        rows += [asdict(WindowRow(**row, **place, texts=texts)) for row in clip.rows]
    store.put_new(shard_key(fingerprint, bucket, shard), data)
    store.put_new(_rows_key(fingerprint, shard), json.dumps(rows, sort_keys=True).encode())


def _piece_name(first_frame: int, num_frames: int) -> str:
    return f"piece_{first_frame:06d}_{num_frames:04d}"


def _half(x: np.ndarray) -> np.ndarray:
    """float16 in C order: safetensors writes an array's memory as it lies, and a permuted one would come back scrambled."""
    return np.ascontiguousarray(x, dtype=np.float16)


def commit(
    store: Store, fingerprint: str, number: int, shards: Sequence[tuple[str, str]], facts: Mapping[str, Any]
) -> str:
    """Publish the manifest of a finished encoding, unless the newest says the same; returns the key of the one that does.

    Args:
        number: of the dataset's manifest that was encoded.
        shards: (bucket, id) of every shard.
        facts: what a reader must know: VAE, text encoder, shapes, windows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [row for _, shard in sorted(shards) for row in json.loads(store.read(_rows_key(fingerprint, shard)))]
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
    return sorted({part[1] for part in parts if len(part) == 4 and part[2] == "manifests" and manifest_number(part[3])})


def open_latents(store: Store, fingerprint: str | None) -> Latents:
    """The newest manifest of some latents; None takes the only ones there are.

    Raises:
        FileNotFoundError: there are none, or not these.
        ValueError: there are several and none was named.
    """
    known = fingerprints(store)
    if not known:
        raise FileNotFoundError(
            f"dataset {store.uri} has no cached latents; make them with: rushes encode dataset={store.uri} vae=<folder of train_vae>"
        )
    if fingerprint is None:
        if len(known) > 1:
            raise ValueError(
                f"dataset {store.uri} has several latents; choose one with latents=<one of {', '.join(known)}>"
            )
        fingerprint = known[0]
    if fingerprint not in known:
        raise FileNotFoundError(f"dataset {store.uri} has no latents '{fingerprint}'; it has {', '.join(known)}")
    folder = f"{ROOT}/{fingerprint}/manifests/"
    newest = f"{folder}{manifest_name(max(numbers(store, folder)))}"
    return Latents(store, fingerprint, json.loads(store.read(newest)))


class Latents:
    """Reader of cached latents and texts. Clips stay in a bounded cache; safe to share between threads."""

    def __init__(self, store: Store, fingerprint: str, manifest: Mapping[str, Any], cache_bytes: int = 1 << 30):
        schema = manifest["schema_version"]
        if schema not in _READABLE:
            todo = "encode again"
            if schema > SCHEMA_VERSION:
                todo = f"a later version of rushes made them: use one that reads {schema}"
            raise ValueError(
                f"latents {fingerprint} in {store.uri} have schema {schema}, this version reads "
                f"{' and '.join(map(str, _READABLE))}; {todo}"
            )
        self._store, self.fingerprint, self.manifest = store, fingerprint, manifest
        table = read_parquet(store.read(manifest["index"]))
        self.rows = {(r["clip_id"], r["window"]): WindowRow(**r) for r in table.to_pylist()}
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
            tensors = load(self._store.read_range(row.shard, row.offset, row.size))
        except (FileNotFoundError, EOFError, SafetensorError, ValueError) as error:
            raise ValueError(
                f"clip {row.clip_id} in {row.shard} of {self._store.uri} can't be read ({error}); remove that file and its rows in "
                f"{_rows_key(self.fingerprint, PurePosixPath(row.shard).stem)}, and encode again"
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
        return self._clip(self.rows[clip_id, window])[f"window_{window:04d}"]

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
        return {name.removeprefix("text_"): value for name, value in tensors.items() if name.startswith("text_")}
