"""Sound video files → broken, lying and hostile ones, by a seed: what `benchmarks/fuzz.py` curates.

In: sound files, what hostile ones point to, a seed, a count. Out: mutants, no two the same. Pure: mutant
`number` of a seed depends on these alone, so one can be made again by itself. Each module here is one family
of ways to break files.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from benchmarks.footage.mutants import (  # they register their kinds
    behind,
    boxes,
    changes,
    damage,
    foreign,
    losses,
    others,
    presentation,
    streams,
)
from benchmarks.footage.mutants.kinds import KINDS, Base, Draw, File, Kind, Outside

__all__ = [
    "KINDS", "Base", "Mutant", "Outside", "behind", "boxes", "changes", "damage", "foreign", "losses",
    "mutants", "others",
    "presentation", "streams",
]  # fmt: skip

_LARGE_EVERY = 4  # of so many turns through the kinds, those that make large files take part in one
_TRIES = 50


@dataclass(frozen=True, slots=True)
class Mutant:
    """A file to be curated. `base` is what it was made of; `stem` and `suffix` its name."""

    number: int
    kind: str
    base: str
    stem: str
    suffix: str
    data: bytes

    @property
    def name(self) -> str:
        """Relative path, one of a kind whatever the stem."""
        return f"{self.kind}/{self.number:05d}/{self.stem}" + (f".{self.suffix}" if self.suffix else "")


def mutants(
    bases: Sequence[Base], outside: Outside, seed: int, count: int, kinds: Collection[str] = ()
) -> Iterator[Mutant]:
    """So many mutants; of each kind nearly as many, of large ones fewer.

    Args:
        bases: at least one that each kind takes.
        kinds: only these; all, if none are named.

    Raises:
        ValueError: no base is what a kind takes.
    """
    seen: set[bytes] = set()
    turns = _turns([kind for kind in KINDS.values() if not kinds or kind.name in kinds])
    for number in range(count):
        kind = turns[number % len(turns)]
        for attempt in range(_TRIES):
            mutant = _mutant(bases, outside, Random(f"{seed}/{number}/{attempt}"), number, kind)
            digest = hashlib.sha256(mutant.data).digest()
            if digest not in seen:
                break
        else:
            raise AssertionError(f"{kind.name} makes the same files again and again")
        seen.add(digest)
        yield mutant


def _turns(kinds: Sequence[Kind]) -> list[Kind]:
    """Kinds take turns; the large ones once with all others, and then not for a while."""
    usual = [kind for kind in kinds if not kind.large]
    return [*kinds, *usual * (_LARGE_EVERY - 1)]


def _mutant(bases: Sequence[Base], outside: Outside, rng: Random, number: int, kind: Kind) -> Mutant:
    takes = [base for base in bases if kind.takes(base)]
    if not takes:
        raise ValueError(
            f"none of {len(bases)} bases is what {kind.name} takes: "
            f"{sorted(kind.what) or sorted(kind.containers)}"
        )
    base = rng.choice(takes)
    made = kind.make(Draw(rng, base, bases, outside))
    file = made if isinstance(made, File) else File(base.suffix, made)
    return Mutant(number, kind.name, base.name, file.stem or f"{number:05d}", file.suffix, file.data)
