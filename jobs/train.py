"""`rushes train`: the diffusion transformer, on cached latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobs.cli.run_folder import Run
from jobs.training.config import TrainConfig
from jobs.training.exports import EXPORT
from jobs.training.launch import check_launch, fit
from pipelines.dataset.latents import open_latents
from pipelines.storage.open_store import open_store


def check(cfg: TrainConfig) -> None:
    """The dataset has the latents asked for, what is started from fits them, and `out` holds no other run."""
    from jobs.training.initial_weights import check_start, with_absolute_init

    store = open_store(cfg.dataset)
    check_start(cfg, store, open_latents(store, cfg.latents))
    check_launch(with_absolute_init(cfg))


def run_folder(cfg: TrainConfig) -> Path:
    return Path(cfg.out)


def run(cfg: TrainConfig, run: Run) -> dict[str, Any]:
    """Train; returns the first and last held-out losses and the speed."""
    from jobs.training.initial_weights import count_without_text, with_absolute_init

    without, clips = count_without_text(cfg, open_latents(open_store(cfg.dataset), cfg.latents))
    kinds = ", ".join(kind for kind, weight in cfg.captions.items() if weight > 0)
    note = (
        f"{without} of {clips} clips have no caption of the kinds asked for ({kinds}); they are trained "
        "without text"
    )
    result = fit(with_absolute_init(cfg), run, [note] if without else [])
    run.write_json("metrics.json", result)
    run.say(f"train: {result['steps']} steps; {held_out(result)}; checkpoint in {Path(cfg.out) / EXPORT}")
    return result


def held_out(result: dict[str, Any]) -> str:
    """The held-out loss in words; a dataset need not hold anything out."""
    if "val_loss_last" not in result:
        return "nothing was held out, so no loss is known of what it has not seen (windows.holdout_share)"
    return f"held-out loss {result['val_loss_first']:.3f} → {result['val_loss_last']:.3f}"
