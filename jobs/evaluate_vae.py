"""`rushes evaluate_vae`: held-out clips through the VAE and back, measured per shape, and shown beside the
originals.

In: a VAE and a dataset. Out: metrics.json with the figures of each shape and of all, and index.html. Held out
is what the training's own settings hold out: the same windows that its `val_psnr_db` is of.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.cli.progress import progress
from jobs.cli.run_folder import Run
from jobs.cluster.connect import check_gpu
from jobs.evaluation.config import EvaluateVaeConfig
from jobs.training.config import TrainVaeConfig
from jobs.training.exports import find_export
from jobs.training.out_folder import check_free
from jobs.training.resume import earlier_settings
from pipelines.batches.config import ShapeConfig, WindowConfig
from pipelines.batches.frames import ClipError
from pipelines.batches.planner import Item
from pipelines.dataset.reader import open_dataset
from pipelines.even_sample import even_sample
from pipelines.precision import autocast, decide

if TYPE_CHECKING:
    import torch

    from jobs.evaluation.measure import Figures
    from jobs.training.vae_task import VaeTask
    from model.vae.network import LatentNormalizer

_PAGE = "index.html"
_PICTURED_SHAPES = 8


def check(cfg: EvaluateVaeConfig) -> None:
    """The VAE is there, the dataset has held-out clips, and the perceptual distance can be made."""
    from jobs.training.perceptual import perceptual_distance

    find_export("vae", cfg.checkpoint, "checkpoint")
    check_free("out", cfg.out)
    check_gpu(cfg.gpu)
    if not _by_shape(_task(cfg), cfg.clips):
        raise ValueError(
            f"dataset={cfg.dataset} holds out nothing: it has no kept clip that is long enough; "
            f"look with: rushes inspect dataset={cfg.dataset}, or raise windows.holdout_share"
        )
    perceptual_distance(cfg.perceptual, cfg.perceptual_weights)


def run_folder(cfg: EvaluateVaeConfig) -> Path:
    return Path(cfg.out)


def run(cfg: EvaluateVaeConfig, run: Run) -> dict[str, Any]:
    """Measure every window, then look again at those that are shown."""
    import torch

    from jobs.evaluation.measure import measure, summary
    from jobs.training.perceptual import perceptual_distance
    from model.checkpoint.weights import load_vae

    precision = decide(cfg.precision, cfg.gpu)
    run.say(f"evaluate_vae {precision}")
    device = torch.device("cuda" if cfg.gpu else "cpu")
    vae, task = load_vae(find_export("vae", cfg.checkpoint, "checkpoint"), device), _task(cfg)
    distance, shapes = perceptual_distance(cfg.perceptual, cfg.perceptual_weights), _by_shape(task, cfg.clips)
    subject = _Subject(task, vae, device, precision.name)
    measured: dict[Item, Figures] = {}
    unread: dict[str, str] = {}
    with (
        progress("evaluate_vae", total=sum(map(len, shapes.values())), unit="windows") as bar,
        torch.no_grad(),
    ):
        for items in shapes.values():
            for item in items:
                try:
                    both = subject.reconstruct(item)
                except ClipError as error:
                    unread[item.clip_id] = str(error)
                else:
                    measured[item] = measure(*both, distance)
                bar.advance()
    for why in unread.values():
        run.say(f"evaluate_vae: left out: {why}")
    if not measured:
        raise RuntimeError(
            f"none of the {len(unread)} clips can be read; see what is wrong with: rushes verify "
            f"dataset={cfg.dataset}"
        )
    shapes = {shape: [item for item in items if item in measured] for shape, items in shapes.items()}
    shapes = {shape: items for shape, items in shapes.items() if items}
    overall = {**summary(list(measured.values())), "clips": len({item.clip_id for item in measured})}
    result = {
        "precision": precision.name,
        "clips_unread": len(unread),
        "perceptual_distance": cfg.perceptual,
        "overall": overall,
        "shapes": [
            {
                **dict(zip(("num_frames", "height", "width"), shape, strict=True)),
                **summary([measured[item] for item in items]),
                "clips": len({item.clip_id for item in items}),
            }
            for shape, items in shapes.items()
        ],
    }
    run.write_json("metrics.json", result)
    run.write_text(_PAGE, _page(cfg, subject, shapes, measured, result))
    run.say(f"evaluate_vae: {_line(overall)}; {run.uri}/{_PAGE} shows them, opens in any browser, offline")
    return result


def _task(cfg: EvaluateVaeConfig) -> VaeTask:
    from jobs.training.vae_task import VaeTask

    shapes, windows = split_settings(cfg)
    return VaeTask(TrainVaeConfig(dataset=cfg.dataset, out=cfg.out, shapes=shapes, windows=windows))


def split_settings(cfg: EvaluateVaeConfig) -> tuple[ShapeConfig, WindowConfig]:
    """At which shapes a clip is seen and what of it is held out, as in the training; for bare weights as the
    command says.

    Raises:
        ValueError: the command asks for others than the training had.
    """
    settings = earlier_settings(Path(cfg.checkpoint))
    if not settings:
        return cfg.shapes, cfg.windows
    shapes, windows = ShapeConfig(**settings["shapes"]), WindowConfig(**settings["windows"])
    for group, its in (("shapes", shapes), ("windows", windows)):
        given, default = getattr(cfg, group), type(its)()
        for field in dataclasses.fields(its):
            value, own = getattr(given, field.name), getattr(its, field.name)
            if value not in (own, getattr(default, field.name)):
                raise ValueError(
                    f"{group}.{field.name}={value} is not what this VAE was trained with ({own}), "
                    f"so what it never saw would not be known; leave it out, or give its bare weights: "
                    f"checkpoint={find_export('vae', cfg.checkpoint, 'checkpoint')}"
                )
    return shapes, windows


def _by_shape(task: VaeTask, most_clips: int | None) -> dict[tuple[int, int, int], list[Item]]:
    """Held-out windows by (frames, height, width), of at most so many clips each."""
    found: dict[tuple[int, int, int], list[Item]] = defaultdict(list)
    for item in sorted(task.held_out()):
        found[item.shape].append(item)
    for shape, items in found.items():
        clips = sorted({item.clip_id for item in items})
        chosen = set(clips if most_clips is None else even_sample(clips, most_clips))
        found[shape] = [item for item in items if item.clip_id in chosen]
    return dict(sorted(found.items()))


@dataclasses.dataclass(frozen=True, slots=True)
class _Subject:
    """The VAE that is measured, and the task that reads held-out videos for it."""

    task: VaeTask
    vae: LatentNormalizer
    device: torch.device
    precision: str

    def reconstruct(self, item: Item) -> tuple[torch.Tensor, torch.Tensor]:
        """A window's original and its reconstruction from the posterior's mean, each (1, 3, T, H, W).

        Raises:
            ClipError: the clip can't be read.
        """
        x = self.task.held_out_pixels(item).to(self.device)
        with autocast(self.device.type, self.precision):
            return x, self.vae.decode(self.vae.encode(x).mean, size=(x.shape[-2], x.shape[-1])).float()


def _page(
    cfg: EvaluateVaeConfig,
    subject: _Subject,
    shapes: Mapping[tuple[int, int, int], Sequence[Item]],
    measured: Mapping[Item, Figures],
    result: Mapping[str, Any],
) -> str:
    import torch

    from jobs.reporting.reconstructions import make_comparison, render
    from model.vae.pixels import to_uint8

    kept = open_dataset(cfg.dataset).kept(["clip_id", "source_uri", "start_s"])
    rows = {row["clip_id"]: row for row in kept}
    shown = {
        shape: _worst_to_best(shapes[shape], measured, cfg.shown)
        for shape in even_sample([*shapes], _PICTURED_SHAPES)
    }
    groups = []
    with (
        progress("evaluate_vae: pictures", total=sum(map(len, shown.values())), unit="clips") as bar,
        torch.no_grad(),
    ):
        for shape, items in shown.items():
            clips = []
            for item in items:
                original, made = (to_uint8(v)[0] for v in subject.reconstruct(item))
                row, task = rows[item.clip_id], subject.task
                fps = task.cfg.shapes.fps
                clips.append(make_comparison(row, original, made, fps, task.start_s(item), measured[item]))
                bar.advance()
            groups.append((shape, len({item.clip_id for item in shapes[shape]}), clips))
    return render(cfg.checkpoint, cfg.dataset, result, groups)


def _worst_to_best(items: Sequence[Item], measured: Mapping[Item, Figures], most: int) -> list[Item]:
    """Each clip's worst window by PSNR; of the clips, some at even distances from the worst on."""
    ordered = sorted(items, key=lambda item: (measured[item]["psnr_db"], item))
    worst: dict[str, Item] = {}
    for item in ordered:
        worst.setdefault(item.clip_id, item)
    return even_sample(list(worst.values()), most)


def _line(overall: Mapping[str, Any]) -> str:
    from jobs.cli.formatting import format_number

    parts = [
        f"PSNR {overall['psnr_db']:.2f} dB",
        f"SSIM {format_number(overall['ssim'])}",
        f"perceptual distance {format_number(overall['perceptual'])}",
        f"flicker {format_number(overall['flicker'])} levels",
        f"motion sharpness {format_number(overall['motion_sharpness'])}",
    ]
    return f"{', '.join(parts)} over {overall['windows']:,} held-out windows of {overall['clips']:,} clips"
