"""`rushes train_vae`: the video compression network, on a dataset's clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobs.cli.run_folder import Run
from jobs.training.config import TrainVaeConfig
from jobs.training.exports import EXPORT
from jobs.training.launch import check_launch, fit
from pipelines.batches.windows import HELD_OUT, plan_windows
from pipelines.dataset.reader import open_dataset


def check(cfg: TrainVaeConfig) -> None:
    """The dataset exists and has clips, the network can be built, and `out` holds no other run."""
    from model.config import vae_config

    kept = open_dataset(cfg.dataset).kept(["start_s", "end_s"])
    lengths = [row["end_s"] - row["start_s"] for row in kept]
    if not lengths:
        raise ValueError(
            f"dataset={cfg.dataset} has no kept clip; see why with: rushes inspect dataset={cfg.dataset}"
        )
    vae = vae_config(cfg.size, **cfg.model)
    if cfg.shapes.multiple % vae.stride_space:
        raise ValueError(
            f"shapes.multiple={cfg.shapes.multiple} is not a multiple of the VAE's stride "
            f"{vae.stride_space}; try {2 * vae.stride_space}"
        )
    if cfg.crop is not None and cfg.crop % vae.stride_space:
        raise ValueError(
            f"crop={cfg.crop} is not a multiple of the VAE's stride {vae.stride_space}; try "
            f"{cfg.crop // vae.stride_space * vae.stride_space}"
        )
    if not cfg.crop_aspects or min(cfg.crop_aspects) <= 0:
        raise ValueError(
            f"crop_aspects={list(cfg.crop_aspects)} must be widths over heights, like [1.0,1.6,0.625]"
        )
    if (
        cfg.perceptual.weight
        and cfg.perceptual.name == "lpips"
        and not Path(cfg.perceptual.weights or "").is_file()
    ):
        raise ValueError(
            f"perceptual.weights={cfg.perceptual.weights} is no file; lpips needs its weights, or choose "
            "perceptual.name=efficientnet"
        )
    if cfg.adversarial.weight and cfg.zero.stage == 3:
        raise ValueError(
            "adversarial.weight needs gradients at the reconstruction, for which ZeRO 3 has no weights at "
            "hand; use zero.stage=2"
        )
    if not any(
        w.split != HELD_OUT for length_s in lengths for w in plan_windows(length_s, cfg.shapes, cfg.windows)
    ):
        raise ValueError(
            f"dataset={cfg.dataset} has no window to train on; use longer clips, or lower "
            "windows.holdout_share or windows.min_frames"
        )
    check_launch(cfg)


def run_folder(cfg: TrainVaeConfig) -> Path:
    return Path(cfg.out)


def run(cfg: TrainVaeConfig, run: Run) -> dict[str, Any]:
    """Train; returns the held-out PSNR and the speed."""
    result = fit(cfg, run)
    run.write_json("metrics.json", result)
    psnr = result.get("val_psnr_db_last")
    held = "nothing was held out (windows.holdout_share)" if psnr is None else f"held-out PSNR {psnr:.2f} dB"
    run.say(f"train_vae: {result['steps']} steps; {held}; VAE in {Path(cfg.out) / EXPORT / 'vae'}")
    return result
