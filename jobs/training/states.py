"""The states of a training that lie on disk, and which of them can be read. Light.

    checkpoints/step_00000400/{state.safetensors, state.json}

In: a run's folder. Out: its newest state that is whole; those that are not, and why. A disk that was full, or a copy that was cut off,
leaves a state that is none: the one before it is gone on from, and `keep_checkpoints` keeps one for that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.foreign import check_head_of, read_object

FOLDER, PREFIX = "checkpoints", "step_"
TENSORS, FACTS = "state.safetensors", "state.json"


class BadStateError(ValueError):
    """There are states, and none of them can be read."""


def newest(out: Path) -> Path | None:
    """The newest state of a run that can be read; None if it has none at all.

    Raises:
        BadStateError: it has some, and all are damaged.
    """
    states = _states(out)
    for state in reversed(states):
        if why_bad(state) is None:
            return state
    if states:
        raise BadStateError(
            f"no state of this run can be read: {states[-1]}: {why_bad(states[-1])}; restore it from a copy, or remove {out / FOLDER} "
            "to start again"
        )
    return None


def damaged(out: Path) -> list[tuple[Path, str]]:
    """States that are newer than the newest that can be read, and what is wrong with each."""
    found = []
    for state in reversed(_states(out)):
        why = why_bad(state)
        if why is None:
            break
        found.append((state, why))
    return found


def read_state_facts(state: Path) -> dict[str, Any]:
    """What state.json says: `step`, the next to run; `adam_step`; and facts of the run that saved it."""
    return read_object(state / FACTS, finite=False)


def read_step(state: Path) -> int:
    """The step that a state goes on from."""
    return read_state_facts(state)["step"]


def why_bad(state: Path) -> str | None:
    """What is wrong with a state; None if it can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        facts = read_state_facts(state)
    except (OSError, ValueError) as error:
        return f"{FACTS}: {error}"
    try:
        check_head_of(state / TENSORS)
        with safe_open(
            state / TENSORS, framework="np"
        ) as file:  # compares the length of the file with what its head says
            empty = not file.keys()
    except (OSError, ValueError, SafetensorError) as error:
        return f"{TENSORS}: {error}"
    if not all(type(facts.get(name)) is int and facts[name] >= 0 for name in ("step", "adam_step")):
        return f"{FACTS} names no step"
    return f"{TENSORS} is empty" if empty else None


def _states(out: Path) -> list[Path]:
    return sorted((out / FOLDER).glob(f"{PREFIX}*"))
