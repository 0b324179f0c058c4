"""`rushes generate`: a sentence to a video, with a JSON beside it that says how it was made."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from jobs.cli.progress import progress
from jobs.cli.run_folder import Run, new_run_folder
from jobs.cli.terminal_text import dump_escaped_json
from jobs.cluster.connect import check_gpu
from jobs.generation.config import GenerateConfig
from jobs.generation.pipeline import Pipeline, Size, VideoPrompt, check_text, read_facts
from jobs.training.exports import find_export
from jobs.training.out_folder import check_local, check_note
from pipelines.batches.shapes import fit_shape
from pipelines.cutting.write_mp4 import write_mp4
from pipelines.durable import write_text
from pipelines.precision import decide

_WIDE = (1920, 1080)


def check(cfg: GenerateConfig) -> None:
    """The checkpoint and the adapter are there and the file's name is that of an mp4."""
    folder = find_export("pipeline", cfg.checkpoint, "checkpoint")
    read_facts(folder)
    check_text(folder, cfg.text_encoder)
    if Path(cfg.out).suffix.lower() != ".mp4":
        raise ValueError(f"out={cfg.out} does not end in .mp4")
    check_local("out", cfg.out)
    check_note(Path(cfg.out))
    check_gpu(cfg.gpu)
    if cfg.lora is not None:
        find_export("lora", cfg.lora, "lora")
    elif cfg.lora_scale != 1.0:
        raise ValueError(f"lora_scale={cfg.lora_scale} scales nothing; give lora=<an adapter>")


def run_folder(cfg: GenerateConfig) -> str:
    return new_run_folder(str(Path(cfg.out).parent), "generate")


def _size(cfg: GenerateConfig, facts: dict[str, Any], fps: float) -> Size:
    """What was asked for, completed by what the model was trained on."""
    if cfg.width is None or cfg.height is None:
        height, width = fit_shape(*_WIDE, facts["max_pixels"], facts["multiple"])
        if cfg.width is not None:
            height, width = round(cfg.width * _WIDE[1] / _WIDE[0]), cfg.width
        elif cfg.height is not None:
            height, width = cfg.height, round(cfg.height * _WIDE[0] / _WIDE[1])
    else:
        height, width = cfg.height, cfg.width
    frames = facts["max_frames"] if cfg.duration_s is None else max(1, round(cfg.duration_s * fps))
    return Size(width=width, height=height, num_frames=frames)


def run(cfg: GenerateConfig, run: Run) -> dict[str, Any]:
    """Generate; returns where and what."""
    precision = decide(cfg.precision, cfg.gpu)
    run.say(f"generate {precision}")
    folder, device = find_export("pipeline", cfg.checkpoint, "checkpoint"), "cuda" if cfg.gpu else "cpu"
    pipeline = Pipeline(folder, device, cfg.text_encoder, precision.name)
    if cfg.lora is not None:
        pipeline.adapt(find_export("lora", cfg.lora, "lora"), cfg.lora_scale)
    fps = cfg.fps or pipeline.facts["fps"]
    size = _size(cfg, pipeline.facts, fps)
    trained = pipeline.facts["max_pixels"], pipeline.facts["max_frames"] / pipeline.facts["fps"]
    if size.width * size.height > 1.5 * trained[0] or size.num_frames / fps > 1.5 * trained[1]:
        run.say(
            f"generate: this is larger or longer than what the model was trained on (up to {trained[0]} "
            f"pixels and {trained[1]:.1f} s); expect less"
        )
    _, cut = pipeline.texts([cfg.prompt])
    if cut:
        run.say(
            f"generate: the prompt has more than the {pipeline.text.max_tokens} tokens that text encoder "
            f"'{pipeline.text.name}' reads; the rest was cut, so say what matters first"
        )
    sampling = pipeline.sampling_with(cfg.steps, cfg.guidance)
    with progress("generate", total=sampling.steps, unit="steps") as bar:
        (video,) = pipeline.generate(
            [VideoPrompt(cfg.prompt, cfg.seed)], size, fps, sampling, lambda done, _: bar.update(done)
        )
    out = Path(cfg.out)
    write_mp4(out, video, fps)
    facts = {
        "prompt": cfg.prompt,
        "prompt_cut": bool(cut),
        "seed": cfg.seed,
        "fps": fps,
        "precision": precision.name,
        "steps": sampling.steps,
        **dataclasses.asdict(size),
        "checkpoint": str(folder),
    }
    if cfg.lora is not None:
        facts |= {"lora": str(find_export("lora", cfg.lora, "lora")), "lora_scale": cfg.lora_scale}
    facts["guidance"] = sampling.guidance
    write_text(out.with_suffix(".json"), dump_escaped_json(facts, indent=2, sort_keys=True) + "\n")
    run.write_json("metrics.json", {"precision": precision.name})
    run.say(f"generate: {out} ({size.width} × {size.height}, {size.num_frames} frames at {fps:g}/s)")
    return {"out": str(out), **facts}
