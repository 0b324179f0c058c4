"""`rushes encode`: a dataset's latents and text embeddings, computed once and cached beside its shards.

In: a dataset and a VAE. Out: `latents/<fingerprint>/` in the dataset, and `texts/` with what a next VAE needs no more. What is there already is not made again: new clips make new shards.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.cluster import connect
from jobs.encoding.config import EncodeConfig
from jobs.progress import progress
from jobs.run_folder import Run, new_run_folder
from jobs.training.names import EXPORT
from pipelines.dataset import Dataset, open_dataset
from pipelines.ids import fingerprint
from pipelines.latents import ROOT, commit, has_shard
from pipelines.store import open_store

VERSION = 3
_CLIPS_PER_SHARD = 64


def vae_folder(path: str, key: str = "vae") -> Path:
    """The folder with the weights: as given, or inside a training run's or a published pipeline's.

    Args:
        key: under which the user gave it.

    Raises:
        FileNotFoundError: there are none.
    """
    from model.weights import vae_files

    for folder in (Path(path), Path(path) / "vae", Path(path) / EXPORT / "vae"):
        if all((folder / name).is_file() for name in vae_files(folder)):
            return folder.absolute()
    hint = " (that training has not finished: run it again)" if (Path(path) / "settings.json").exists() else ""
    raise FileNotFoundError(
        f"{key}={path} holds no VAE{hint}; give the out= of rushes train_vae, or the folder of a published one, "
        "as this makes it: hf download <owner>/<name> --include 'vae/*' --local-dir <folder>"
    )


def check(cfg: EncodeConfig) -> None:
    """The dataset has clips, the VAE and the text encoder are there, and the shapes fit the VAE."""
    from model.text import text_encoder
    from model.weights import read_vae_config

    if not open_dataset(cfg.dataset).kept():
        raise ValueError(f"dataset={cfg.dataset} has no kept clip; see why with: rushes inspect dataset={cfg.dataset}")
    stride = read_vae_config(vae_folder(cfg.vae))["stride_space"]
    if cfg.shapes.multiple % stride:
        raise ValueError(
            f"shapes.multiple={cfg.shapes.multiple} is not a multiple of the VAE's stride {stride}; try {2 * stride}"
        )
    text_encoder(cfg.text_encoder)


def run_folder(cfg: EncodeConfig) -> str:
    return new_run_folder(cfg.dataset, "encode")


def latents_fingerprint(cfg: EncodeConfig, vae: Path, text_fingerprint: str) -> str:
    """What cached latents depend on: code version, VAE weights, text encoder, shapes, windows."""
    from model.weights import PUBLISHED_WEIGHTS, vae_files

    weights_file, config_file = vae_files(vae)
    weights = hashlib.sha256((vae / weights_file).read_bytes()).hexdigest()
    if weights_file == PUBLISHED_WEIGHTS:  # these say by what latents are scaled in their config, ours in their weights
        weights += hashlib.sha256((vae / config_file).read_bytes()).hexdigest()
    settings = {"shapes": dataclasses.asdict(cfg.shapes), "windows": dataclasses.asdict(cfg.windows)}
    settings["pieces"] = dataclasses.asdict(cfg.pieces)
    return fingerprint({"version": VERSION, "vae": weights, "text": text_fingerprint, **settings})


def _shards(dataset: Dataset) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """(bucket, id, rows): the kept clips of each bucket in groups; the id is the hash of what is encoded."""
    by_bucket: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(dataset.kept(), key=lambda r: r["clip_id"]):
        by_bucket[row["bucket"]].append(row)
    shards = []
    for bucket, rows in sorted(by_bucket.items()):
        for start in range(0, len(rows), _CLIPS_PER_SHARD):
            group = rows[start : start + _CLIPS_PER_SHARD]
            contents = [[r["clip_id"], r["caption_short"], r["caption_dense"], r.get("source_text")] for r in group]
            shards.append((bucket, fingerprint({"clips": contents}), group))
    return shards


def run(cfg: EncodeConfig, run: Run) -> dict[str, Any]:
    """Encode what is missing; returns the fingerprint and counts."""
    from model.text import text_encoder
    from model.weights import read_vae_config, vae_files

    vae, store, dataset = vae_folder(cfg.vae), open_store(cfg.dataset), open_dataset(cfg.dataset)
    text = text_encoder(cfg.text_encoder)
    key = latents_fingerprint(cfg, vae, text.fingerprint)
    shards = _shards(dataset)
    missing = [s for s in shards if not has_shard(store, key, s[0], s[1])]
    for name in vae_files(vae):
        store.put_new(f"{ROOT}/{key}/vae/{name}", (vae / name).read_bytes())
    cut = 0
    if missing:
        absolute = dataclasses.replace(cfg, dataset=store.uri, text_encoder=text.name)
        with connect(cfg.ray):
            cut = _encode_on_ray(absolute, vae, key, text.fingerprint, missing)
    vae_config = read_vae_config(vae)
    facts = {
        "vae": {"config": vae_config}, "latent_channels": vae_config["latent_channels"], "stride_time": vae_config["stride_time"],
        "text_encoder": text.name, "text_encoder_fingerprint": text.fingerprint, "text_dim": text.dim,
        "fps": cfg.shapes.fps, "max_frames": cfg.shapes.max_frames, "max_pixels": cfg.shapes.max_pixels, "multiple": cfg.shapes.multiple,
        "windows": dataclasses.asdict(cfg.windows), "pieces": dataclasses.asdict(cfg.pieces),
    }  # fmt: skip
    commit(store, key, dataset.number, [(b, s) for b, s, _ in shards], facts)
    clips = sum(len(rows) for *_, rows in shards)
    result = {"latents": key, "clips": clips, "shards": len(shards), "shards_made": len(missing), "captions_cut": cut}
    run.write_json("metrics.json", result)
    made = f"{len(missing)} of {len(shards)} shards made" if missing else "all shards were there"
    run.say(f"encode: latents {key} of {clips} clips ({made}); captions cut to the text encoder's length: {cut}")
    return result


def _encode_on_ray(
    cfg: EncodeConfig, vae: Path, key: str, text: str, shards: Sequence[tuple[str, str, list[dict[str, Any]]]]
) -> int:
    """Encode shards on a pool of actors; returns how many captions were cut."""
    import ray
    from ray.util import ActorPool

    from jobs.encoding.encoder import Encoder

    remote = ray.remote(num_cpus=1, num_gpus=1 if cfg.gpu else 0, max_restarts=2, max_task_retries=2)(Encoder)
    pool = ActorPool([remote.remote(cfg, vae, key, text) for _ in range(min(cfg.workers, len(shards)))])
    cut = 0
    with progress("encode", total=sum(len(rows) for *_, rows in shards), unit="clips") as bar:
        sizes = {shard: len(rows) for _, shard, rows in shards}
        for shard, shard_cut in pool.map_unordered(lambda actor, s: actor.encode.remote(*s), list(shards)):
            cut += shard_cut
            bar.advance(sizes[shard])
    return cut
