"""`rushes train`: the diffusion transformer, on cached latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobs.run_folder import Run
from jobs.training.config import TrainConfig
from jobs.training.launch import check_continues, fit
from jobs.training.names import EXPORT
from pipelines.latents import open_latents
from pipelines.store import open_store


def check(cfg: TrainConfig) -> None:
    """The dataset has the latents asked for, and `out` holds no other run."""
    from model.config import dit_config

    latents = open_latents(open_store(cfg.dataset), cfg.latents)
    dit_config(
        cfg.size,
        **{
            "latent_channels": latents.manifest["latent_channels"],
            "text_dim": latents.manifest["text_dim"],
            **cfg.model,
        },
    )
    check_continues(cfg)


def run_folder(cfg: TrainConfig) -> Path:
    return Path(cfg.out)


def run(cfg: TrainConfig, run: Run) -> dict[str, Any]:
    """Train; returns the first and last held-out losses and the speed."""
    result = fit(cfg, run)
    run.write_json("metrics.json", result)
    run.say(
        f"train: {result['steps']} steps; held-out loss {result['val_loss_first']:.3f} → {result['val_loss_last']:.3f}; "
        f"checkpoint in {Path(cfg.out) / EXPORT}"
    )
    return result
