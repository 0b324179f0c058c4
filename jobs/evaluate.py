"""`rushes evaluate`: videos from a dataset's own short captions, several seeds each, and whether each is
nearest to its own clip.

In: a checkpoint and a dataset. Out: `<clip_id>_<seed>.mp4` and metrics.json with `retrieval_share` and the
distance of every video to every clip.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from jobs.cli.progress import Bar, progress
from jobs.cli.run_folder import Run
from jobs.cluster.connect import check_gpu
from jobs.generation.config import EvaluateConfig
from jobs.generation.pipeline import Pipeline, Size, VideoPrompt, check_text, read_facts
from jobs.training.exports import find_export
from jobs.training.out_folder import check_free
from pipelines.batches.frames import CLIP_COLUMNS, ClipError, FrameReader
from pipelines.batches.shapes import fit_frames, fit_shape
from pipelines.cutting.write_mp4 import write_mp4
from pipelines.dataset.reader import open_dataset
from pipelines.precision import decide

_COLUMNS = (*CLIP_COLUMNS, "width", "height", "caption_short")


def check(cfg: EvaluateConfig) -> None:
    """The checkpoint is there, the dataset has clips with captions, and nobody else's files are in the
    way."""
    folder = find_export("pipeline", cfg.checkpoint, "checkpoint")
    read_facts(folder)
    check_text(folder, cfg.text_encoder)
    check_free("out", cfg.out)
    check_gpu(cfg.gpu)
    texts = [row["caption_short"] for row in open_dataset(cfg.dataset).kept(["caption_short"])]
    if not texts:
        raise ValueError(
            f"dataset={cfg.dataset} has no kept clip; see why with: rushes inspect dataset={cfg.dataset}"
        )
    if not any(texts):
        raise ValueError(
            f"dataset={cfg.dataset} has no clip with a short caption, which are the prompts; caption it "
            "with: rushes curate"
        )


def run_folder(cfg: EvaluateConfig) -> Path:
    return Path(cfg.out)


def _advance(bar: Bar, done: float, steps: int, total: int) -> None:
    """Draws on a bar that `steps` more are done than before this clip."""
    bar.update(done + steps)


def run(cfg: EvaluateConfig, run: Run) -> dict[str, Any]:
    """Generate and measure."""
    from jobs.evaluation.retrieval import distance, thumbnails

    precision = decide(cfg.precision, cfg.gpu)
    run.say(f"evaluate {precision}")
    device = "cuda" if cfg.gpu else "cpu"
    pipeline = Pipeline(
        find_export("pipeline", cfg.checkpoint, "checkpoint"), device, cfg.text_encoder, precision.name
    )
    facts, dataset = pipeline.facts, open_dataset(cfg.dataset)
    captioned = (row for row in dataset.kept(_COLUMNS) if row["caption_short"])
    asked = sorted(captioned, key=lambda row: row["clip_id"])[: cfg.clips]
    reader = FrameReader(dataset, facts["fps"])
    rows, sizes, clips = [], {}, {}
    for row in asked:
        height, width = fit_shape(row["width"], row["height"], facts["max_pixels"], facts["multiple"])
        try:
            frames = reader.clip(row, height, width)
        except ClipError as error:
            run.say(f"evaluate: left out: {error}")
            continue
        rows.append(row)
        sizes[row["clip_id"]] = Size(width, height, fit_frames(len(frames), facts["max_frames"]))
        clips[row["clip_id"]] = thumbnails(frames)
    if not rows:
        raise RuntimeError(
            f"none of the {len(asked)} clips can be read; see what is wrong with: rushes verify "
            f"dataset={cfg.dataset}"
        )
    sampling = pipeline.sampling_with(cfg.steps, cfg.guidance)
    steps = sampling.steps
    videos, seeds = [], list(range(cfg.seeds))
    with progress("evaluate", total=len(rows) * steps, unit="steps") as bar:
        for row in rows:
            clip_id, prompt, done = row["clip_id"], row["caption_short"], bar.done
            made = pipeline.generate(
                [VideoPrompt(prompt, seed) for seed in seeds],
                sizes[clip_id],
                facts["fps"],
                sampling,
                partial(_advance, bar, done),
            )
            for seed, frames in zip(seeds, made, strict=True):
                file = f"{clip_id}_{seed}.mp4"
                write_mp4(Path(cfg.out) / file, frames, facts["fps"])
                small = thumbnails(frames)
                distances = {other: distance(small, clip) for other, clip in clips.items()}
                nearest = min(distances, key=lambda c: distances[c])
                videos.append(
                    {
                        "clip_id": clip_id,
                        "prompt": prompt,
                        "seed": seed,
                        "file": file,
                        "nearest": nearest,
                        "distances": distances,
                    }
                )
    share = sum(v["nearest"] == v["clip_id"] for v in videos) / len(videos)
    result = {
        "precision": precision.name,
        "retrieval_share": share,
        "chance": 1 / len(rows),
        "clips": len(rows),
        "seeds": len(seeds),
        "steps": steps,
        "videos": videos,
    }
    run.write_json("metrics.json", result)
    run.say(
        f"evaluate: {len(videos)} videos in {cfg.out}; {share:.0%} are nearest to their own clip (by chance "
        f"{1 / len(rows):.0%})"
    )
    return result
