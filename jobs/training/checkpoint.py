"""State of a training run on disk: safetensors and JSON, free of world size and ZeRO stage, whole or not there.

In: an engine. Out: `checkpoints/step_00000400/{state.safetensors, state.json}`; the newest is found and loaded again on any number of ranks.
A folder gets its name only when it is complete, so a killed save leaves nothing that could be mistaken for a state.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import save_file

from jobs.training.engine import Engine

_FOLDER, _PREFIX = "checkpoints", "step_"


def newest(out: Path) -> Path | None:
    """The newest complete state of a run."""
    found = sorted((out / _FOLDER).glob(f"{_PREFIX}*"))
    return found[-1] if found else None


def read_step(state: Path) -> int:
    """The step that a state goes on from."""
    return json.loads((state / "state.json").read_text())["step"]


def save(engine: Engine, out: Path, step: int, facts: dict[str, Any], keep: int) -> Path:
    """Gather the state on rank 0 and write it. All ranks call this together.

    Args:
        step: the next step to run.
        facts: what else `state.json` should say.
        keep: how many of the newest states stay.
    """
    first = dist.get_rank() == 0
    final = out / _FOLDER / f"{_PREFIX}{step:08d}"
    tensors = {}
    for name, tensor in engine.state():  # a collective per tensor: every rank must go through all of them
        if first:
            tensors[name] = tensor.contiguous().clone()
    if first and not final.exists():
        partial = out / _FOLDER / f".{final.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(tensors, str(partial / "state.safetensors"))
        facts = {**facts, "step": step, "adam_step": engine.adam_step}
        (partial / "state.json").write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")
        partial.rename(final)
        for old in sorted((out / _FOLDER).glob(f"{_PREFIX}*"))[:-keep]:
            shutil.rmtree(old)
    dist.barrier()
    return final


def load(engine: Engine, state: Path) -> int:
    """Put a state back; returns the next step to run. All ranks call this together."""
    facts = json.loads((state / "state.json").read_text())
    with safe_open(state / "state.safetensors", framework="pt") as file:
        engine.load({name: file.get_tensor(name) for name in file.keys()}, facts["adam_step"])  # noqa: SIM118 (not a dict)
    return facts["step"]
