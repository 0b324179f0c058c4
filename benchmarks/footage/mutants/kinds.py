"""The register of ways to break a file: each a function of a seeded random generator and a sound file.

In: `@kind(…)` above a function. Out: `KINDS`, by the function's name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

from benchmarks.footage.mutants.parts import Part, container_of, parts


@dataclass(frozen=True)
class Base:
    """A sound file. `what` says what is odd about it, where something is: `odd_size`, `ten_bit` …"""

    name: str
    data: bytes
    what: str = ""

    @property
    def suffix(self) -> str:
        return self.name.rpartition(".")[2]

    @cached_property
    def container(self) -> str:
        return container_of(self.data)

    @cached_property
    def parts(self) -> list[Part]:
        return parts(self.data)


@dataclass(frozen=True, slots=True)
class Outside:
    """What hostile files point to, and nobody may open: the path of a video elsewhere, and an address."""

    path: str
    url: str


@dataclass(frozen=True, slots=True)
class Draw:
    """What a way of breaking files may use: all its choices come from `rng`."""

    rng: Random
    base: Base
    others: Sequence[Base]
    outside: Outside


@dataclass(frozen=True, slots=True)
class File:
    """What comes out where the name matters as well; the stem is a number unless it is given."""

    suffix: str
    data: bytes
    stem: str | None = None


Make = Callable[[Draw], bytes | File]


@dataclass(frozen=True, slots=True)
class Kind:
    """A way of breaking files. It takes bases of `containers` only (any, if empty), and those that are odd as
    `what` says (any, if empty).

    `large`: it may make files of megabytes, or ones that take long: fewer of these are made. `damage`: what
    is left of its footage can be shown, and `benchmarks/fuzz.py` looks how much of it is.
    """

    name: str
    make: Make
    containers: frozenset[str]
    what: frozenset[str]
    large: bool
    damage: bool

    def takes(self, base: Base) -> bool:
        return (not self.what or base.what in self.what) and (
            not self.containers or base.container in self.containers
        )


KINDS: dict[str, Kind] = {}


def kind(
    *containers: str, what: str | tuple[str, ...] = (), large: bool = False, damage: bool = False
) -> Callable[[Make], Make]:
    """Register a way of breaking files under its function's name."""
    odd = frozenset((what,) if isinstance(what, str) else what)

    def register(make: Make) -> Make:
        assert make.__name__ not in KINDS, f"two kinds are called {make.__name__}"
        KINDS[make.__name__] = Kind(make.__name__, make, frozenset(containers), odd, large, damage)
        return make

    return register
