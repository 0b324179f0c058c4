"""What a training leaves in its folder, by name, and where a user's path leads to one of them. Light.

In: a path that a user gave, and what must be there. Out: the folder that holds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

METRICS = "metrics.jsonl"
EXPORT = "export"
PIPELINE = "pipeline.json"
LORA = "lora"
SETTINGS = "settings.json"
FAILED_CLIPS = "unread.json"

PERCEPTUAL = ("efficientnet", "lpips")


@dataclass(frozen=True, slots=True)
class ExportPart:
    """What a path may lead to. places: below it, looked at in this order. missing: what is said when it is in
    none of them; hint: what the user does then.
    """

    places: tuple[str, ...]
    holds: Callable[[Path], bool]
    missing: str
    hint: str


def _holds_vae(folder: Path) -> bool:
    from model.checkpoint.weights import vae_files

    return all((folder / name).is_file() for name in vae_files(folder))


def _holds_dit(folder: Path) -> bool:
    from model.checkpoint.weights import read_record

    return (folder / "config.json").is_file() and read_record(folder)["kind"] == "dit"


def _holds_lora(folder: Path) -> bool:
    from model.checkpoint.lora import CONFIG

    return (folder / CONFIG).is_file()


PARTS = {
    "vae": ExportPart(
        ("", "vae", f"{EXPORT}/vae"),
        _holds_vae,
        "holds no VAE",
        "give the out= of rushes train_vae, or the folder of a published one, as this makes it: hf "
        "download <owner>/<name> --include 'vae/*' --local-dir <folder>",
    ),
    "dit": ExportPart(
        ("", "dit", f"{EXPORT}/dit"),
        _holds_dit,
        "holds no weights of a DiT",
        "give the out= of rushes train, or its export",
    ),
    "pipeline": ExportPart(
        ("", EXPORT),
        lambda folder: (folder / PIPELINE).is_file(),
        "holds no trained model",
        "give the out= of rushes train",
    ),
    "lora": ExportPart(
        ("", LORA, f"{EXPORT}/{LORA}"),
        _holds_lora,
        "holds no adapter",
        "give the out= of a rushes train with lora.rank=, or its export/lora",
    ),
}


def find_export(part: str, path: str, key: str) -> Path:
    """The folder that holds what a user names by its own folder, or by a training run's or a published
    pipeline's.

    Args:
        part: vae, dit, pipeline (a checkpoint that generates on its own) or lora.
        key: under which the user gave it.

    Raises:
        FileNotFoundError: it is not there, and how to get it.
    """
    wanted = PARTS[part]
    for place in wanted.places:
        if wanted.holds(folder := Path(path) / place):
            return folder.absolute()
    unfinished = " (that training has not finished: run it again)" if (Path(path) / SETTINGS).exists() else ""
    raise FileNotFoundError(f"{key}={path} {wanted.missing}{unfinished}; {wanted.hint}")
