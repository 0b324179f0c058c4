"""State of a training run on disk: safetensors and JSON, free of world size and ZeRO stage, whole or not there.

In: an engine. Out: `checkpoints/step_00000400/{state.safetensors, state.json}`; loaded again on any number of ranks.
A folder gets its name only when it is complete, so a killed save leaves nothing that could be mistaken for a state.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch.distributed as dist
from safetensors import safe_open

from jobs.training.engine import Engine
from jobs.training.states import FACTS, FOLDER, PREFIX, TENSORS, read_state_facts, why_bad
from model.shards import write_tensors


def save(engine: Engine, out: Path, step: int, facts: dict[str, Any], keep: int) -> Path:
    """Gather the state on rank 0 and write it. All ranks call this together.

    Args:
        step: the next step to run.
        facts: what else `state.json` should say.
        keep: how many of the newest states stay.
    """
    first = dist.get_rank() == 0
    final = out / FOLDER / f"{PREFIX}{step:08d}"
    tensors = {}
    for name, tensor in engine.state():  # a collective per tensor: every rank must go through all of them
        if first:
            tensors[name] = tensor.contiguous().clone()
    if first and (not final.exists() or why_bad(final)):
        partial = out / FOLDER / f".{final.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_tensors(partial / TENSORS, tensors)
        facts = {**facts, "step": step, "adam_step": engine.adam_step}
        (partial / FACTS).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")
        shutil.rmtree(final, ignore_errors=True)  # a damaged one
        partial.rename(final)
        for old in sorted((out / FOLDER).glob(f"{PREFIX}*"))[:-keep]:
            shutil.rmtree(old)
    dist.barrier()
    return final


def load(engine: Engine, state: Path) -> int:
    """Put a state back; returns the next step to run. All ranks call this together."""
    facts = read_state_facts(state)
    with safe_open(state / TENSORS, framework="pt") as file:
        engine.load({name: file.get_tensor(name) for name in file.keys()}, facts["adam_step"])  # noqa: SIM118 (not a dict)
    return facts["step"]
