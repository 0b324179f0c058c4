"""The register of attacks: each a function of a place of its own and a seeded random generator.

In: `@attack(line=…)` above a function. Out: `ATTACKS`, by the function's name. `line` is that of `LINES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.attacks.place import Place

LINES = {
    1: "a model folder never runs code",
    2: "bombs",
    3: "no link leads out",
    4: "only regular files are footage",
    5: "report opens only what it was given",
    6: "stray names, states that are none",
    7: "the child that decodes",
    8: "keys are told nowhere",
    9: "a local Ray",
    10: "the terminal",
    11: "losing nothing",
    12: "supply",
}
"""What the cases of each line try to break."""


@dataclass(frozen=True, slots=True)
class Attack:
    """A way to attack. It calls `place.case` for each of its cases, before the command that the case is tried
    with.

    `quick`: it is part of the short round as well. `alone`: it measures what other work beside it would
    change.
    """

    name: str
    line: int
    make: Callable[[Place, Random], None]
    quick: bool
    alone: bool


ATTACKS: dict[str, Attack] = {}


def attack(
    line: int, quick: bool = False, alone: bool = False
) -> Callable[[Callable[[Place, Random], None]], Callable[[Place, Random], None]]:
    """Register an attack under its function's name."""
    assert line in LINES, f"there is no line {line}"

    def register(make: Callable[[Place, Random], None]) -> Callable[[Place, Random], None]:
        assert make.__name__ not in ATTACKS, f"two attacks are called {make.__name__}"
        ATTACKS[make.__name__] = Attack(make.__name__, line, make, quick, alone)
        return make

    return register
