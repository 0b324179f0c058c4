"""Names of files in a training run's folder, and of the perceptual distances. Light."""

from __future__ import annotations

from pathlib import Path

METRICS = "metrics.jsonl"
EXPORT = "export"
PIPELINE = "pipeline.json"
LORA = "lora"
SETTINGS = "settings.json"
UNREAD = "unread.json"

PERCEPTUAL = ("efficientnet", "lpips")


def vae_folder(path: str, key: str = "vae") -> Path:
    """The folder with the weights: as given, or inside a training run's or a published pipeline's.

    Args:
        key: under which the user gave it.

    Raises:
        FileNotFoundError: there are none.
    """
    from model.checkpoint.weights import vae_files

    for folder in (Path(path), Path(path) / "vae", Path(path) / EXPORT / "vae"):
        if all((folder / name).is_file() for name in vae_files(folder)):
            return folder.absolute()
    hint = " (that training has not finished: run it again)" if (Path(path) / "settings.json").exists() else ""
    raise FileNotFoundError(
        f"{key}={path} holds no VAE{hint}; give the out= of rushes train_vae, or the folder of a published one, "
        "as this makes it: hf download <owner>/<name> --include 'vae/*' --local-dir <folder>"
    )
