"""Attacks on our commands, by the line of the trust that they try to break: what `benchmarks/attack.py`
makes.

In: a place (`place.py`) and a seeded random generator. Out: cases, and the harms that came about. Each module
here is one line, or one kind of foreign thing; `names.py` generates what is hostile, `judging.py` says what a
harm is.
"""

from benchmarks.attacks import (  # they register their attacks
    bombs,
    checkpoints,
    decoder,
    devices,
    links,
    local_ray,
    losses,
    reports,
    states,
    supply,
    terminal,
    told_keys,
)
from benchmarks.attacks.registry import ATTACKS, LINES, Attack

__all__ = [
    "ATTACKS", "LINES", "Attack", "bombs", "checkpoints", "decoder", "devices", "links", "local_ray",
    "losses", "reports",
    "states", "supply", "terminal", "told_keys",
]  # fmt: skip
