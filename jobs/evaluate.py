"""`rushes evaluate`: videos from a dataset's own short captions, several seeds each, and whether each is nearest to its own clip.

In: a checkpoint and a dataset. Out: `<clip_id>_<seed>.mp4` and metrics.json with `retrieval_share` and the distance of every video to every clip.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobs.generation.config import EvaluateConfig
from jobs.generation.pipeline import Pipeline, Size, checkpoint_folder, write_mp4
from jobs.progress import progress
from jobs.run_folder import Run
from pipelines.batches.frames import FrameReader
from pipelines.batches.shapes import fit_frames, fit_shape
from pipelines.dataset import open_dataset


def check(cfg: EvaluateConfig) -> None:
    """The checkpoint is there, and the dataset has clips."""
    checkpoint_folder(cfg.checkpoint)
    if not open_dataset(cfg.dataset).kept():
        raise ValueError(f"dataset={cfg.dataset} has no kept clip; see why with: rushes inspect dataset={cfg.dataset}")


def run_folder(cfg: EvaluateConfig) -> Path:
    return Path(cfg.out)


def run(cfg: EvaluateConfig, run: Run) -> dict[str, Any]:
    """Generate and measure."""
    from jobs.generation.retrieval import distance, thumbnails

    pipeline = Pipeline(checkpoint_folder(cfg.checkpoint), "cuda" if cfg.gpu else "cpu", cfg.text_encoder)
    facts, dataset = pipeline.facts, open_dataset(cfg.dataset)
    rows = sorted(dataset.kept(), key=lambda r: r["clip_id"])[: cfg.clips]
    reader = FrameReader(dataset, facts["fps"])
    sizes, clips = {}, {}
    for row in rows:
        height, width = fit_shape(row["width"], row["height"], facts["max_pixels"], facts["multiple"])
        frames = reader.clip(row, height, width)
        sizes[row["clip_id"]] = Size(width, height, fit_frames(len(frames), facts["max_frames"]))
        clips[row["clip_id"]] = thumbnails(frames)
    steps = cfg.steps or pipeline.sampling.steps
    videos, seeds = [], list(range(cfg.seeds))
    with progress("evaluate", total=len(rows) * steps, unit="steps") as bar:
        for row in rows:
            clip_id, prompt, done = row["clip_id"], row["caption_short"], bar.done
            made = pipeline.generate(
                [prompt] * len(seeds),
                sizes[clip_id],
                seeds,
                facts["fps"],
                steps,
                cfg.guidance,
                lambda n, _, done=done: bar.update(done + n),
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
        "retrieval_share": share,
        "chance": 1 / len(rows),
        "clips": len(rows),
        "seeds": len(seeds),
        "steps": steps,
        "videos": videos,
    }
    run.write_json("metrics.json", result)
    run.say(
        f"evaluate: {len(videos)} videos in {cfg.out}; {share:.0%} are nearest to their own clip (by chance {1 / len(rows):.0%})"
    )
    return result
