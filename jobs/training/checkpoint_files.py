"""The states of a training that lie on disk, and which of them can be read. Light.

    checkpoints/step_00000400/{state.safetensors, state.json}

In: a run's folder. Out: its newest state that is whole; those that are not, and why. A disk that was full, or
a copy that was cut off, leaves a state that is none: the one before it is gone on from, and
`keep_checkpoints` keeps one for that.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pipelines.untrusted import check_safetensors_file, read_object

FOLDER = "checkpoints"
TENSORS, FACTS = "state.safetensors", "state.json"
_NAME = re.compile(r"step_[0-9]{8,}")
_PARTIAL = re.compile(r"\.step_[0-9]{8,}\.partial")


class BadStateError(ValueError):
    """There are states, and none of them can be read."""


def latest_checkpoint(out: Path) -> Path | None:
    """The newest state of a run that can be read; None if it has none at all. Newer ones that can't be are
    passed over: see `damaged`.

    Raises:
        BadStateError: it has some, and all are damaged.
    """
    states = all_states(out)
    for state in reversed(states):
        if find_corruption(state) is None:
            return state
    if states:
        raise BadStateError(
            f"no state of this run can be read: {states[-1]}: {find_corruption(states[-1])}; restore it "
            f"from a copy, or remove {out / FOLDER} to start again"
        )
    return None


def damaged(out: Path) -> list[tuple[Path, str]]:
    """States that are newer than the newest that can be read, and what is wrong with each."""
    found = []
    for state in reversed(all_states(out)):
        why = find_corruption(state)
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


def find_corruption(state: Path) -> str | None:
    """What is wrong with a state; None if it can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        facts = read_state_facts(state)
    except (OSError, ValueError) as error:
        return f"{FACTS}: {error}"
    try:
        check_safetensors_file(state / TENSORS)
        with safe_open(
            state / TENSORS, framework="np"
        ) as file:  # compares the length of the file with what its head says
            empty = not file.keys()
    except (OSError, ValueError, SafetensorError) as error:
        return f"{TENSORS}: {error}"
    if not all(_is_number(facts.get(name)) for name in ("step", "adam_step")):
        return f"{FACTS} names no step"
    if state_name(facts["step"]) != state.name:
        return f"{FACTS} is of step {facts['step']}"
    return f"{TENSORS} is empty" if empty else None


def state_name(step: int) -> str:
    """The name of a state's folder."""
    return f"step_{step:08d}"


def partial_name(step: int) -> str:
    """The name of a state's folder while it is written."""
    return f".{state_name(step)}.partial"


def all_partial(out: Path) -> list[Path]:
    """What saves that were killed have left."""
    return [path for path in (out / FOLDER).iterdir() if _PARTIAL.fullmatch(path.name) and is_ours(path)]


def all_states(out: Path) -> list[Path]:
    """All checkpoint folders by name, oldest first; other entries are ignored."""
    try:
        found = list((out / FOLDER).iterdir())
    except FileNotFoundError:
        return []
    numbers = {path: int(path.name[5:]) for path in found if _NAME.fullmatch(path.name)}
    return sorted(
        (path for path in numbers if state_name(numbers[path]) == path.name), key=lambda path: numbers[path]
    )


def is_ours(state: Path) -> bool:
    """Whether a folder that is called as a state holds what a state holds and nothing else: one that a person
    has put something into, or a link in place of it, is not ours to remove.
    """
    try:
        if state.is_symlink() or not state.is_dir():
            return False
        held = {path.name: path for path in state.iterdir()}
        return held.keys() <= {TENSORS, FACTS} and all(
            path.is_file() and not path.is_symlink() for path in held.values()
        )
    except OSError:
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
