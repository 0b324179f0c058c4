"""Where a training of the DiT starts: from random weights of a named size, or from a checkpoint (`init=`),
whole or through an adapter.

In: the config, and the facts of the latents. Out: the network's config, and the network. What does not go
together is found before anything runs: another text encoder, another VAE, other channels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.encoding.plan import CAPTION_KINDS
from jobs.training.config import TrainConfig
from jobs.training.exports import PIPELINE, find_export
from model.checkpoint.lora import add_lora
from model.checkpoint.weights import load_dit, read_config, vae_files
from model.config import DIT_SIZES, DiTConfig, dit_config, unknown_name_message
from model.dit.network import DiT
from model.untrusted import read_object
from pipelines.batches.planner import draw_key
from pipelines.batches.windows import HELD_OUT
from pipelines.dataset.latents import ROOT, Latents
from pipelines.storage.base import Store

# Of the latents: what they were made of, which the trained model says on.
_NEEDED = (
    "latent_channels", "stride_time", "text_dim", "text_encoder", "text_encoder_fingerprint", "fps",
    "max_frames", "max_pixels", "multiple",
    "pieces", "vae",
)  # fmt: skip
_LONGER = "use longer clips, or lower windows.holdout_share or windows.min_frames of encode"


def with_absolute_init(cfg: TrainConfig) -> TrainConfig:
    """The same config, whatever folder it is read in: workers have one of their own."""
    return cfg if cfg.init is None else dataclasses.replace(cfg, init=str(Path(cfg.init).absolute()))


def network_config(cfg: TrainConfig, facts: Mapping[str, Any]) -> DiTConfig:
    """The network that is trained: the checkpoint's with `init=`, else of the named size for these latents;
    changed by `model.*`.

    Raises:
        ValueError: an unknown key, or the checkpoint was trained on latents or text of other channels.
    """
    fitting = {"latent_channels": facts["latent_channels"], "text_dim": facts["text_dim"]}
    if cfg.init is None:
        return dit_config(cfg.size, **{**fitting, **cfg.model})
    own = read_config(find_export("dit", cfg.init, "init"), "dit")
    known = [field.name for field in dataclasses.fields(DiTConfig)]
    for name in cfg.model:
        if name not in known:
            raise ValueError(unknown_name_message("dit setting", name, known))
    for name, value in fitting.items():
        if getattr(own, name) != value:
            raise ValueError(
                f"init={cfg.init} takes {name}={getattr(own, name)}, and the dataset's latents have {value}"
            )
    return dataclasses.replace(own, **cfg.model)


def check_start(cfg: TrainConfig, store: Store, latents: Latents) -> None:
    """What is started from exists, and fits the latents.

    Raises:
        FileNotFoundError: there are no such weights.
        ValueError: an adapter without `init=`, another size than the checkpoint has, other latents than it
            was trained on, a network that can't be, or latents that don't fit it.
    """
    if lacking := [name for name in _NEEDED if name not in latents.manifest]:
        raise ValueError(
            f"latents {latents.fingerprint} of dataset={cfg.dataset} don't say their {lacking[0]}; encode "
            "again"
        )
    network = network_config(cfg, latents.manifest)
    if all(row.split == HELD_OUT for row in latents.rows.values()):
        raise ValueError(
            f"dataset={cfg.dataset} has no window to train on: its latents were encoded with all of it held "
            f"out, or have none; {_LONGER}"
        )
    _check_patch(network, cfg, latents)
    _check_captions(cfg)
    if cfg.init is None:
        if cfg.lora.rank:
            raise ValueError(
                f"lora.rank={cfg.lora.rank} needs weights to adapt; give init=<a checkpoint>, or lora.rank=0"
            )
        return
    folder = find_export("dit", cfg.init, "init")
    own = read_config(folder, "dit")
    default = next(field.default for field in dataclasses.fields(cfg) if field.name == "size")
    for name, value in DIT_SIZES[cfg.size].items() if cfg.size != default else ():
        if name in ("width", "depth", "heads") and getattr(own, name) != value:
            raise ValueError(
                f"size={cfg.size} has {name}={value}, and init={cfg.init} has {getattr(own, name)}; leave "
                "size out: a checkpoint has its own"
            )
    pipeline = folder.parent / PIPELINE
    if pipeline.is_file():  # bare weights don't say what they were trained on
        _check_same_latents(cfg, store, latents, pipeline)


def _check_patch(network: DiTConfig, cfg: TrainConfig, latents: Latents) -> None:
    _, height, width = network.patch
    for row in latents.rows.values():
        if row.latent_height % height or row.latent_width % width:
            stride = row.height // row.latent_height
            raise ValueError(
                f"model.patch={network.patch} does not divide the latents of clip {row.clip_id}, "
                f"{row.latent_height} × {row.latent_width}; encode the dataset with "
                f"shapes.multiple={stride * math.lcm(height, width)}, or train with model.patch=[1,1,1]"
            )


def _check_captions(cfg: TrainConfig) -> None:
    for kind, weight in cfg.captions.items():
        if kind not in CAPTION_KINDS:
            raise ValueError(f"captions: {unknown_name_message('kind of caption', kind, CAPTION_KINDS)}")
        if weight < 0:
            raise ValueError(f"captions.{kind}={weight} is negative; 0 leaves it out")
    if not any(cfg.captions.values()):
        raise ValueError(
            "captions has no kind with a weight above 0; to train without text give model.text_drop=1"
        )


def count_without_text(cfg: TrainConfig, latents: Latents) -> tuple[int, int]:
    """(clips that have none of the captions asked for, clips in all)."""
    wanted = {kind for kind, weight in cfg.captions.items() if weight > 0}
    clips = {row.clip_id: row.texts for row in latents.rows.values()}
    without = sum(texts is not None and wanted.isdisjoint(texts.split(",")) for texts in clips.values())
    return without, len(clips)


def _check_same_latents(cfg: TrainConfig, store: Store, latents: Latents, pipeline: Path) -> None:
    facts = read_object(pipeline)
    key = "text_encoder_fingerprint"
    if facts.get(key) != latents.manifest[key]:
        raise ValueError(
            f"init={cfg.init} was trained with text encoder '{str(facts.get('text_encoder'))[:200]}', and "
            f"the dataset's latents are of '{latents.manifest['text_encoder']}' or of other weights of it; "
            "encode the dataset with that one"
        )
    vae = pipeline.parent / "vae"
    weights, config = vae_files(vae)
    # what scales a published VAE's latents is in its config, of ours in the weights
    for name in (weights,) if weights == "model.safetensors" else (weights, config):
        if (vae / name).read_bytes() != store.read(f"{ROOT}/{latents.fingerprint}/vae/{name}"):
            raise ValueError(
                f"init={cfg.init} was trained on latents of another VAE than the dataset's; make them with: "
                f"rushes encode dataset={cfg.dataset} vae={vae}, then choose them with latents="
            )


def build_network(cfg: TrainConfig, config: DiTConfig) -> DiT:
    """The network at step 0, equal on every rank; with an adapter if one is asked for, beside which
    everything is frozen.

    Raises:
        FileNotFoundError, ValueError: as `load_dit` and `add_lora`.
    """
    if cfg.init is None:
        dit = DiT(config, seed=draw_key(cfg.seed, "weights"))
    else:
        dit = load_dit(find_export("dit", cfg.init, "init"), config=config).train()
    if cfg.lora.rank:
        add_lora(dit, cfg.lora.rank, cfg.lora.alpha, seed=draw_key(cfg.seed, "lora"))
    return dit
