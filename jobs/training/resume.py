"""Resuming a training: whether a command continues the run in its folder, from which step and in which
precision.

In: a training config, and what an earlier command left in `out=`: settings.json and checkpoints. Out: the
config with its precision decided, what is to be said about going on, or why it can't be done.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from jobs.training.checkpoint_files import BadStateError, damaged, latest_checkpoint, read_state_facts
from jobs.training.config import TrainingConfig
from jobs.training.exports import SETTINGS
from jobs.training.optimizer import learning_rate
from pipelines.precision import AUTO, Precision, decide
from pipelines.untrusted import read_object

# What may differ between a run and its continuation: none of it changes what a step computes, but max_steps,
# which stretches the cosine of the learning rate: that is said.
_FREE = (
    "out",
    "workers",
    "zero",
    "ray",
    "log_every",
    "validate_every",
    "validate_windows",
    "sample_every",
    "checkpoint_every",
    "keep_checkpoints",
    "max_steps",
    "license",
    "recompute",
    "attention",
    "compile",
)


def settings(cfg: TrainingConfig) -> dict[str, Any]:
    """What a step's result depends on."""
    return {k: v for k, v in dataclasses.asdict(cfg).items() if k not in _FREE}


def earlier_settings(out: Path) -> dict[str, Any]:
    """Those of the run in a folder; {} if there is none.

    Raises:
        ValueError: they can't be read.
    """
    path = out / SETTINGS
    if not path.exists():
        return {}
    try:
        return read_object(path, finite=False)
    except ValueError as error:
        raise ValueError(f"{error}; it says what the run in this folder was started with") from error


def resolve_precision(cfg: TrainingConfig) -> tuple[TrainingConfig, Precision]:
    """The config in the numbers that all workers of the run compute in, and of all its continuations."""
    precision = decide(cfg.precision, cfg.workers.gpu, earlier_settings(Path(cfg.out)).get("precision"))
    return dataclasses.replace(cfg, precision=precision.name), precision


def check_resume(cfg: TrainingConfig) -> None:
    """A run is gone on with under its own settings only, and from a state that can be read.

    Raises:
        ValueError: naming what differs, or what is damaged.
    """
    out = Path(cfg.out)
    then = _flat(earlier_settings(out))
    if then:
        now = _flat(json.loads(json.dumps(settings(cfg))))
        if cfg.precision == AUTO:
            now["precision"] = then.get("precision")
        for key in sorted(then.keys() | now.keys()):
            if then.get(key) != now.get(key):
                raise ValueError(
                    f"out={cfg.out} holds a run with {key}={then.get(key)}, and this one has "
                    f"{now.get(key)}; give it back, or another out="
                )
    try:
        latest_checkpoint(out)
    except BadStateError as error:
        raise ValueError(str(error)) from error


def resume_notes(cfg: TrainingConfig) -> list[str]:
    """Messages on resuming: the step, checkpoints that are skipped, and a changed learning rate."""
    out = Path(cfg.out)
    state = latest_checkpoint(out)
    lines = [f"{path} can't be read ({why}) and is left out" for path, why in damaged(out)]
    if state is None:
        return lines
    facts = read_state_facts(state)
    if facts["step"] >= cfg.max_steps:
        return [
            *lines,
            f"this run has {facts['step']} steps already; its last state is exported, nothing is trained",
        ]
    lines.append(f"going on from step {facts['step']}")
    before = facts.get("max_steps")
    if before is None or before == cfg.max_steps:
        return lines
    then, now = (learning_rate(facts["step"], steps, cfg.optim) for steps in (before, cfg.max_steps))
    if then != now:
        lines.append(
            f"max_steps is {cfg.max_steps} instead of {before}, which stretches the {cfg.optim.schedule}: "
            f"the learning rate goes on at {now:.3g} instead of {then:.3g}"
        )
    return lines


def _flat(tree: dict, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
