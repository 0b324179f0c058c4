"""State of a training run on disk: safetensors and JSON, free of world size and ZeRO stage, whole or not
there.

In: an engine. Out: `checkpoints/step_00000400/{state.safetensors, state.json}`; loaded again on any number of
ranks. A folder gets its name only when it is complete and on the disk, so neither a killed save nor a power
cut leaves anything that could be mistaken for a state; older ones go only then.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import torch.distributed as dist
from safetensors import safe_open

from jobs.training.checkpoint_files import (
    FACTS,
    FOLDER,
    TENSORS,
    all_partial,
    all_states,
    find_corruption,
    is_ours,
    partial_name,
    read_state_facts,
    state_name,
)
from jobs.training.engine import Engine
from model.checkpoint.shards import write_tensors
from pipelines.durable import sync_file, sync_folder

logger = logging.getLogger(__name__)


def save(engine: Engine, out: Path, step: int, facts: dict[str, Any], keep: int) -> Path:
    """Gather the state on rank 0 and write it. All ranks call this together.

    Of the folders in `checkpoints` only those go that are called as a state and hold nothing but one.

    Args:
        step: the next step to run.
        facts: what else `state.json` should say.
        keep: how many of the newest states that can be read stay.
    """
    first = dist.get_rank() == 0
    final = out / FOLDER / state_name(step)
    tensors = {}
    for name, tensor in engine.state():  # a collective per tensor: every rank must go through all of them
        if first:
            tensors[name] = tensor.contiguous().clone()
    if first and (not final.exists() or find_corruption(final)):
        partial = out / FOLDER / partial_name(step)
        _clear(partial)
        partial.mkdir(parents=True)
        write_tensors(partial / TENSORS, tensors)
        facts = {**facts, "step": step, "adam_step": engine.adam_step}
        (partial / FACTS).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")
        for written in (partial / TENSORS, partial / FACTS):
            sync_file(written)
        sync_folder(partial)
        _clear(final)  # a damaged one
        partial.rename(final)
        sync_folder(final.parent)
        _remove_older(out, keep)
    dist.barrier()
    return final


def _clear(path: Path) -> None:
    """Nothing has this name afterwards. What is ours goes; anything else gets another name."""
    if not os.path.lexists(path):
        return
    if is_ours(path):
        shutil.rmtree(path)
        return
    aside = path.with_name(f"{path.name}.aside-{secrets.token_hex(4)}")
    path.rename(aside)
    logger.warning("%s was in the way of a state, and is no state: it is called %s now", path, aside)


def _remove_older(out: Path, keep: int) -> None:
    """All states that are older than those that stay, and what killed saves left."""
    for left in all_partial(out):
        shutil.rmtree(left)
    states = all_states(out)
    staying = [state for state in states if find_corruption(state) is None][-keep:]
    for old in states[: states.index(staying[0])] if staying else ():
        if is_ours(old):
            shutil.rmtree(old)
        else:
            logger.warning("%s stays: something in it is not a state's", old)


def load(engine: Engine, state: Path) -> int:
    """Put a state back; returns the next step to run. All ranks call this together."""
    facts = read_state_facts(state)
    with safe_open(state / TENSORS, framework="pt") as file:
        engine.load({name: file.get_tensor(name) for name in file.keys()}, facts["adam_step"])  # noqa: SIM118 (not a dict)
    return facts["step"]
