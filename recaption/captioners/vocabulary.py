"""ImageNet's words → what a person would say: groups of classes, and better names for some.

In: class names as in torchvision's ImageNet-1k categories, or their positions in it. Out: noun phrases, and
the groups that a class belongs to. A group is used when no single class is likely enough: five unlikely bird
classes together give `a bird`.
"""

from importlib import resources
from typing import Any

import yaml


def _read() -> dict[str, Any]:
    return yaml.safe_load(resources.files("recaption.captioners").joinpath("vocabulary.yaml").read_text())


_WORDS = _read()
_LIVING: dict[str, list[list[int]]] = _WORDS["living"]
_PHRASES: dict[str, str] = _WORDS["phrases"]
_SOUNDED_LIKE_CONSONANT = ("uni", "eu", "one", "use")

ANIMALS: tuple[int, int] = tuple(_WORDS["animals"])
VEHICLES, STREET, CLOTHING, BUILDINGS, INDOORS, SCREENS = (
    frozenset(_WORDS[name]) for name in ("vehicles", "street", "clothing", "buildings", "indoors", "screens")
)
LANDSCAPES: dict[str, str] = _WORDS["landscapes"]


def phrase(name: str) -> str:
    """An ImageNet class as a noun phrase: `sulphur-crested cockatoo` → `a sulphur-crested cockatoo`."""
    return _PHRASES.get(name) or f"{article(name)} {name}"


def article(noun: str) -> str:
    """a or an, by sound as far as spelling tells it."""
    word = noun.lower()
    vowel = word[0] in "aeiou" and not word.startswith(_SOUNDED_LIKE_CONSONANT)
    return "an" if vowel else "a"


def living_group(index: int) -> str | None:
    """The group of living things that a class belongs to, by its position in the list of classes."""
    for group, ranges in _LIVING.items():
        if any(start <= index < end for start, end in ranges):
            return group
    return None
