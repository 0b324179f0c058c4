"""`rushes encode`: a dataset's latents and text embeddings, computed once and cached beside its shards.

In: a dataset and a VAE. Out: `latents/<fingerprint>/` in the dataset, and `texts/` with what a next VAE needs
no more. Existing shards are not encoded again; clips that can't be read are skipped, reported, and retried by
the next run.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.cli.progress import progress
from jobs.cli.run_folder import Run, new_run_folder
from jobs.cluster.connect import check_fits, connect
from jobs.encoding.config import EncodeConfig
from jobs.encoding.plan import Chunk, chunks, split_finished
from jobs.training.exports import find_export
from pipelines.dataset.latents import ROOT, commit, fingerprints
from pipelines.dataset.reader import open_dataset
from pipelines.ids import fingerprint
from pipelines.precision import BF16, FP32, Precision, decide
from pipelines.storage.base import Store
from pipelines.storage.open_store import open_store

VERSION = 4
_TOLD_CLIPS = 5


def check(cfg: EncodeConfig) -> None:
    """The dataset has clips, the VAE and the text encoder are there, and the shapes fit the VAE."""
    from model.checkpoint.weights import read_vae_config
    from model.text.registry import text_encoder

    if next(open_dataset(cfg.dataset).kept(["clip_id"]), None) is None:
        raise ValueError(
            f"dataset={cfg.dataset} has no kept clip; see why with: rushes inspect dataset={cfg.dataset}"
        )
    stride = read_vae_config(find_export("vae", cfg.vae, "vae"))["stride_space"]
    if cfg.shapes.multiple % stride:
        raise ValueError(
            f"shapes.multiple={cfg.shapes.multiple} is not a multiple of the VAE's stride {stride}; try "
            f"{2 * stride}"
        )
    text_encoder(cfg.text_encoder)
    check_fits(cfg.ray, "workers", cfg.workers, 1, cfg.gpu)


def run_folder(cfg: EncodeConfig) -> str:
    return new_run_folder(cfg.dataset, "encode")


def latents_fingerprint(cfg: EncodeConfig, vae: Path, text_fingerprint: str) -> str:
    """What cached latents depend on: code version, VAE weights, text encoder, shapes, windows, and the
    precision.

    Args:
        cfg: with a precision that is decided.
    """
    from model.checkpoint.weights import vae_files
    from model.vae.published import WEIGHTS as PUBLISHED_WEIGHTS

    weights_file, config_file = vae_files(vae)
    weights = hashlib.sha256((vae / weights_file).read_bytes()).hexdigest()
    # these say by what latents are scaled in their config, ours in their weights
    if weights_file == PUBLISHED_WEIGHTS:
        weights += hashlib.sha256((vae / config_file).read_bytes()).hexdigest()
    settings: dict[str, Any]
    settings = {"shapes": dataclasses.asdict(cfg.shapes), "windows": dataclasses.asdict(cfg.windows)}
    settings |= {"pieces": dataclasses.asdict(cfg.pieces), "precision": cfg.precision}
    return fingerprint({"version": VERSION, "vae": weights, "text": text_fingerprint, **settings})


def _decided(cfg: EncodeConfig, store: Store, vae: Path, text_fingerprint: str) -> tuple[Precision, str]:
    """The precision, and the fingerprint that follows: latents that are there are gone on with as they
    began."""
    prints = {
        name: latents_fingerprint(dataclasses.replace(cfg, precision=name), vae, text_fingerprint)
        for name in (BF16, FP32)
    }
    there = set(fingerprints(store))
    begun = [name for name, print_ in prints.items() if print_ in there]
    precision = decide(cfg.precision, cfg.gpu, begun[0] if len(begun) == 1 else None)
    return precision, prints[precision.name]


def run(cfg: EncodeConfig, run: Run) -> dict[str, Any]:
    """Encode what is missing; returns the fingerprint and counts.

    Raises:
        RuntimeError: no clip can be read, or something else than a clip is wrong; names the cause.
    """
    from model.checkpoint.weights import read_vae_config, vae_files
    from model.text.registry import text_encoder

    vae, store, dataset = (
        find_export("vae", cfg.vae, "vae"),
        open_store(cfg.dataset),
        open_dataset(cfg.dataset),
    )
    text = text_encoder(cfg.text_encoder)
    precision, key = _decided(cfg, store, vae, text.fingerprint)
    run.say(f"encode {precision}")
    wanted = chunks(dataset)
    finished, missing = split_finished(store, key, wanted)
    for name in vae_files(vae):
        store.put_new(f"{ROOT}/{key}/vae/{name}", (vae / name).read_bytes())
    made: list[Chunk] = []
    unread: dict[str, str] = {}
    cut = 0
    if missing:
        absolute = dataclasses.replace(
            cfg, dataset=store.uri, text_encoder=text.name, precision=precision.name
        )
        with connect(cfg.ray):
            made, cut, unread = _encode_on_ray(absolute, vae, key, text.fingerprint, missing)
    shards = finished + made
    if not shards:
        raise RuntimeError(
            f"none of the {len(unread)} clips can be read, such as {next(iter(unread.values()))}"
        )
    vae_config = read_vae_config(vae)
    facts = {
        "vae": {"config": vae_config}, "latent_channels": vae_config["latent_channels"],
        "stride_time": vae_config["stride_time"],
        "text_encoder": text.name, "text_encoder_fingerprint": text.fingerprint, "text_dim": text.dim,
        "fps": cfg.shapes.fps, "max_frames": cfg.shapes.max_frames, "max_pixels": cfg.shapes.max_pixels,
        "multiple": cfg.shapes.multiple,
        "windows": dataclasses.asdict(cfg.windows), "pieces": dataclasses.asdict(cfg.pieces),
        "precision": precision.name,
    }  # fmt: skip
    commit(store, key, dataset.number, [(chunk.bucket, chunk.id) for chunk in shards], facts)
    result = {
        "latents": key, "precision": precision.name, "clips": sum(len(chunk.rows) for chunk in shards),
        "clips_unread": len(unread),
        "shards": len(shards), "shards_made": len(made), "captions_cut": cut,
    }  # fmt: skip
    run.write_json("metrics.json", result | {"unread": unread})
    _say(run, cfg.dataset, result, unread)
    return result


def _say(run: Run, dataset: str, result: dict[str, Any], unread: dict[str, str]) -> None:
    for why in list(unread.values())[:_TOLD_CLIPS]:
        run.say(f"encode: left out: {why}")
    if unread:
        more = (
            f", of which the first {_TOLD_CLIPS} are named above and all in metrics.json"
            if len(unread) > _TOLD_CLIPS
            else ""
        )
        run.say(
            f"encode: {len(unread)} clips can't be read and are left out{more}; the next run tries them "
            f"again. See what is wrong with: rushes verify dataset={dataset}"
        )
    made = (
        f"{result['shards_made']} of {result['shards']} shards made"
        if result["shards_made"]
        else "all shards were there"
    )
    run.say(
        f"encode: latents {result['latents']} of {result['clips']} clips ({made}); "
        f"captions cut to the text encoder's length: {result['captions_cut']}"
    )


def _encode_on_ray(
    cfg: EncodeConfig, vae: Path, key: str, text: str, missing: Sequence[Chunk]
) -> tuple[list[Chunk], int, dict[str, str]]:
    """Encode chunks on a pool of actors; returns what is in shards now, how many captions were cut, and what
    can't be read."""
    import ray
    from ray.util import ActorPool

    from jobs.encoding.encoder import ClipEncoder

    remote: Any = ray.remote(num_cpus=1, num_gpus=1 if cfg.gpu else 0, max_restarts=2)(ClipEncoder)
    actors = [remote.remote(cfg, vae, key, text) for _ in range(min(cfg.workers, len(missing)))]
    made: list[Chunk] = []
    unread: dict[str, str] = {}
    cut = 0
    try:
        with progress("encode", total=sum(len(chunk.rows) for chunk in missing), unit="clips") as bar:
            for done in ActorPool(actors).map_unordered(
                lambda actor, chunk: actor.encode.options(max_task_retries=2).remote(chunk), list(missing)
            ):
                made += [done.written] if done.written else []
                cut += done.num_truncated
                unread |= done.failed_clips
                bar.advance(len(done.failed_clips) + (len(done.written.rows) if done.written else 0))
    finally:
        # on a Ray that stays, they would keep their cores for as long as anything refers to them
        for actor in actors:
            actor.__ray_terminate__.remote()
    return made, cut, unread
