"""Does a model made here do what it is told? A rendered world, learned from its footage by the commands that
a user would give.

Goals on two cores: all of it in at most 30 minutes. Of videos made from captions, colour right in 98%,
direction in 95%, exactly one object of 50 to 150% of the true area in 95% of frames; of (colour, direction)
pairs that were never shown, colour 98%, direction 90%. Of videos made from given frames, too: these come back
within 1 dB of the VAE's own reconstruction, the step from them to the first generated frame is no larger than
other steps, and motion is as told in 90%.

    python -m benchmarks.tinyworld [seed=0] [colours=red,green,blue,yellow] [shapes=circle,square,triangle]
        [heldout=red:left,blue:up] [clips=320] [samples=128] [guidance=1] [visual_guidance=2] [folder=<where
        to keep it>] [again=<stage>]

In: nothing but these. Out: figures, and a sheet of frames (docs/images/tinyworld.png, and in `folder`).
`folder` keeps footage, dataset, VAE, latents and DiT, and how long each took: what is there is not made
again, unless `again` names it or a stage before it (footage, curate, train_vae, encode, train). How the
trainings are set up is in their experiments `tinyworld`.

`first_frame_gap_db` and its like are means over videos: decibels of the VAE's reconstruction of the true
video, less those of what was made, over the given frames. `seam_ratio` is the largest over all ends, and
`seam_ratio_vae` that of reconstructions, where nothing was generated.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.footage.tinyworld_footage import (
    FPS,
    SIDE_PX,
    Scene,
    World,
    parse_pairs,
    render,
    scenes,
    write_footage,
)
from benchmarks.footage.tinyworld_given import CONDITIONS, gap_db, psnr_db, step_ratio
from benchmarks.measure.options import given
from benchmarks.measure.results_file import RESULTS, report
from benchmarks.measure.tinyworld_judge import Seen, look
from benchmarks.measure.tinyworld_sheet import Row, sheet
from jobs.generation.pipeline import Pipeline, Size, VideoPrompt
from jobs.training.exports import find_export
from model.vae.pixels import encode_frames, to_uint8
from pipelines.precision import AUTO, decide

SIZE = Size(width=32, height=32, num_frames=17)
BATCH = 32
SHEET_ROWS = 3
PICTURE = RESULTS.parent.parent / "docs" / "images" / "tinyworld.png"
_TOLD, _KEPT = 101, 102  # scenes of seeds that nothing was chosen on: the two guidances were on 1 and 2
# all clips count: they look alike and are no copies, and there is no text, nudity or thing with a name to be
# found
CURATE = (
    "recipe=permissive", "shots.detector=content", "scores.text=false", "scores.nsfw=false",
    "scores.tags=false",
    "dedup.perceptual=false", "captioner.name=own_text",
)  # fmt: skip
ENCODE = (
    "shapes.max_pixels=1024",
    "shapes.multiple=8",
    "windows.stride_s=0.17",
    "windows.min_frames=17",
    "workers=2",
)  # as in train_vae
MADE = {  # what each stage leaves in the folder
    "footage": ("footage",),
    "curate": ("dataset",),
    "train_vae": ("vae",),
    "encode": ("dataset/latents", "dataset/texts"),
    "train": ("dit",),
}


def main() -> None:
    options = given(
        {
            "seed": "0", "colours": ",".join(World().colours), "shapes": ",".join(World().shapes),
            "heldout": ",".join(":".join(pair) for pair in World().held_out), "clips": "320",
            "samples": "128",
            "guidance": "1", "visual_guidance": "2", "folder": "", "again": "",
        }
    )  # fmt: skip
    seed, samples = int(options["seed"]), int(options["samples"])
    world = World(
        tuple(options["colours"].split(",")),
        tuple(options["shapes"].split(",")),
        parse_pairs(options["heldout"]),
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options["folder"] or scratch)
        minutes = make(folder, world, seed, int(options["clips"]), options["again"])
        began_s = time.monotonic()
        pipeline = Pipeline(
            find_export("pipeline", str(folder / "dit"), "checkpoint"), precision=decide(AUTO).name
        )
        weights = {name: float(options[name]) for name in ("guidance", "visual_guidance")}
        pipeline.sampling = replace(pipeline.sampling, **weights)
        told, rows = _told(pipeline, world, seed, samples)
        kept, more = _kept(pipeline, world, seed, samples // 4)
        minutes["generate"] = (time.monotonic() - began_s) / 60
        picture = cv2.cvtColor(sheet(rows + more), cv2.COLOR_RGB2BGR)
        for path in (folder / "sheet.png", PICTURE):
            cv2.imwrite(str(path), picture)
    figures = told | kept | {"minutes": sum(minutes.values())}
    report("tinyworld", figures | {f"minutes_{stage}": value for stage, value in minutes.items()})


def make(folder: Path, world: World, seed: int, clips: int, again: str = "") -> dict[str, float]:
    """From nothing to a trained model in `folder`/dit; returns the minutes of each stage, as measured when it
    was run.

    Raises:
        ValueError: `again` is no stage, or the folder holds another world.
    """
    if again and again not in MADE:
        raise ValueError(f"again={again} is not a stage; known: {', '.join(MADE)}")
    folder.mkdir(parents=True, exist_ok=True)
    account = folder / "minutes.json"
    asked = {"world": repr(world), "seed": seed, "clips": clips}
    kept = json.loads(account.read_text()) if account.exists() else {"asked": asked, "minutes": {}}
    if kept["asked"] != asked:
        raise ValueError(
            f"folder={folder} holds {kept['asked']}, and {asked} is asked for; give another folder"
        )
    minutes: dict[str, float] = kept["minutes"]
    stages = list(MADE)
    for stage in stages[stages.index(again) :] if again else ():
        minutes.pop(stage, None)
    learn = ("experiment=tinyworld", f"seed={seed}")
    commands = {
        "curate": (f"footage={folder / 'footage' / 'footage.csv'}", *CURATE),
        "train_vae": (f"out={folder / 'vae'}", *learn),
        "encode": (f"vae={folder / 'vae'}", *ENCODE),
        "train": (f"out={folder / 'dit'}", *learn),
    }
    for stage in stages:
        if stage in minutes:
            continue
        for name in MADE[stage]:  # what was broken off would go on, and its time be told too short
            shutil.rmtree(folder / name, ignore_errors=True)
        began_s = time.monotonic()
        if stage == "footage":
            write_footage(folder / "footage", scenes(world, world.pairs(), clips, seed))
        else:
            asked_of = (f"dataset={folder / 'dataset'}", "ray.num_cpus=2", *commands[stage])
            subprocess.run([sys.executable, "-m", "jobs.cli.main", stage, *asked_of], check=True)
        minutes[stage] = (time.monotonic() - began_s) / 60
        account.write_text(json.dumps(kept))
    return dict(minutes)


def _told(pipeline: Pipeline, world: World, seed: int, samples: int) -> tuple[dict[str, float], list[Row]]:
    """Videos from captions alone, of pairs that were shown and, half as many, of those that never were."""
    figures, rows = {}, []
    for prefix, pairs, count in (("", world.pairs(), samples), ("heldout_", world.held_out, samples // 2)):
        if not pairs:
            continue
        asked = scenes(world, pairs, count, seed + _TOLD)
        made = _generate(pipeline, asked)
        figures |= {f"{prefix}{name}": value for name, value in _obeyed(asked, made, world).items()}
        what = "made, never shown" if prefix else "made"
        rows += [
            Row((scene.caption, what), video)
            for scene, video in list(zip(asked, made, strict=True))[:SHEET_ROWS]
        ]
    return figures, rows


def _kept(pipeline: Pipeline, world: World, seed: int, samples: int) -> tuple[dict[str, float], list[Row]]:
    """Videos from captions and given frames, of scenes that nobody has seen."""
    asked = scenes(world, world.pairs(), samples, seed + _KEPT)
    truths = [_truth(scene) for scene in asked]
    through = [_reconstructed(pipeline, truth) for truth in truths]
    figures = {"vae_psnr_db": float(np.mean([psnr_db(a, b) for a, b in zip(truths, through, strict=True)]))}
    rows = [Row((asked[0].caption, "true"), truths[0]), Row(("", "through the VAE"), through[0])]
    seams, seams_vae, obeyed = [], [], []
    for name, condition in CONDITIONS.items():
        made = _generate(pipeline, asked, [condition.given(truth, FPS) for truth in truths])
        key, ends = name.replace(" ", "_"), condition.ends(SIZE.num_frames)
        gaps = [gap_db(truths, through, made, end) for end in ends]
        figures[f"{'tail' if key == 'last_frames' else key}_gap_db"] = max(gaps)
        for seam in condition.seams(SIZE.num_frames):
            seams.append(step_ratio(made, condition, seam))
            seams_vae.append(step_ratio(through, condition, seam))
            figures[f"seam_ratio_{key}_{seam}"] = seams[-1]
        obeyed.append(_obeyed(asked, made, world))
        rows += [
            Row((scene.caption, f"made, given {name}"), video, ends)
            for scene, video in list(zip(asked, made, strict=True))[:SHEET_ROWS]
        ]
    figures |= {"seam_ratio": max(seams), "seam_ratio_vae": max(seams_vae)}
    return figures | {f"conditioned_{name}": min(of[name] for of in obeyed) for name in obeyed[0]}, rows


def _obeyed(asked: Sequence[Scene], made: Sequence[np.ndarray], world: World) -> dict[str, float]:
    """Shares of videos that show what was asked for, and of frames with one object of the right size."""
    seen: list[Seen] = [look(video, world.colours) for video in made]
    figures = {
        what: float(np.mean([getattr(a, what) == getattr(b, what) for a, b in zip(asked, seen, strict=True)]))
        for what in ("colour", "direction", "shape")
    }
    return figures | {"area_ok": float(np.mean([one.area_ok for one in seen]))}


def _generate(pipeline: Pipeline, asked: Sequence[Scene], known: Sequence | None = None) -> list[np.ndarray]:
    conditions = [()] * len(asked) if known is None else known
    prompts = [
        VideoPrompt(scene.caption, seed, frames)
        for seed, (scene, frames) in enumerate(zip(asked, conditions, strict=True))
    ]
    videos = []
    for start in range(0, len(asked), BATCH):
        videos += pipeline.generate(prompts[start : start + BATCH], SIZE, FPS)
    return videos


def _truth(scene: Scene) -> np.ndarray:
    """As the model would have seen it."""
    frames = render(replace(scene, frames=SIZE.num_frames), SIDE_PX)
    return np.stack([cv2.resize(f, (SIZE.width, SIZE.height), interpolation=cv2.INTER_AREA) for f in frames])


def _reconstructed(pipeline: Pipeline, frames_THWC: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return to_uint8(pipeline.vae.decode_latents(encode_frames(pipeline.vae, frames_THWC)[None].float()))[
            0
        ]


if __name__ == "__main__":
    main()
