"""Tags, colours and measurements → English: one short sentence, a few dense ones, and structured tags.

In: what was seen of a clip. Out: text, the same for the same facts. Says what a thing is when one class is
sure, what kind of thing when only its group is, and what it resembles otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recaption.base import Tags
from recaption.captioners.vocabulary import (
    ANIMALS,
    BUILDINGS,
    CLOTHING,
    INDOORS,
    LANDSCAPES,
    SCREENS,
    STREET,
    VEHICLES,
    article,
    living_group,
    phrase,
)

_SURE = 0.2  # one class speaks for itself
_TOGETHER = 0.25  # a group of classes speaks together
_PLACE = 0.35  # tags agree on where it is
_ALSO = 0.4  # a further tag is named if it is at least this share of the first


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """Facts about one clip: `tags` (position, class, probability), likeliest first, one at the least;
    `colours` (name, share), largest first; `scores` as in the index.
    """

    tags: Sequence[tuple[int, str, float]]
    colours: Sequence[tuple[str, float]]
    scores: Mapping[str, Any]


def write_caption(facts: ClipFacts) -> tuple[str, str, Tags]:
    """(short, dense, tags) of one clip."""
    subject, named = _subject(facts.tags)
    # a seashore is not at the seashore
    setting = "" if LANDSCAPES.keys() & set(named) else _setting(facts.tags)
    light, pace, camera = _light(facts.scores), _pace(facts.scores), facts.scores["camera"] or ""
    colours = [name for name, _ in facts.colours[:3]]
    painted = f"in {_and(colours[:2])}" if colours else ""
    place = f" {setting}" if setting else ""
    short = ", ".join(
        part
        for part in (f"{subject}{place}", pace, painted, f"{light} light", _CAMERA_SHORT.get(camera))
        if part
    )
    others = [phrase(name) for _, name, _ in facts.tags if name not in named][:2]
    dense = " ".join(
        (
            f"The clip shows {subject}{place}; it also has something of {_and(others)}.",
            f"{_colours(colours)}, and the light is {light}.",
            *([f"{_CAMERA_DENSE[camera]}, and {_PACE_DENSE[pace]}."] if camera and pace else ()),
            f"The picture is {_focus(facts.scores)}.",
        )
    )
    tags = Tags(
        subject=tuple(named),
        setting=(setting,) if setting else (),
        camera=(camera,) if camera else (),
        light=(light,),
        motion=(pace,) if pace else (),
        style=(_focus(facts.scores), *colours),
    )
    return short[0].upper() + short[1:] + ".", dense, tags


def _subject(tags: Sequence[tuple[int, str, float]]) -> tuple[str, list[str]]:
    """A noun phrase for what is seen, and the classes it names."""
    _, first, sureness = tags[0]
    near = [name for _, name, p in tags[1:4] if p >= _ALSO * sureness]
    worn = [name for name in (first, *near) if name in CLOTHING][:2]
    if first in CLOTHING and _mass(tags, CLOTHING) >= _TOGETHER:
        return f"a person wearing {_and([phrase(name) for name in worn])}", worn
    if sureness >= _SURE:
        named = [first, *near[:1]]
        return _and([phrase(name) for name in named]), named
    kind = _kind(tags)
    if kind:
        return f"{kind} resembling {phrase(first)}", [first]
    named = [first, *near[:1]]
    return f"something like {_and([phrase(name) for name in named])}", named


def _kind(tags: Sequence[tuple[int, str, float]]) -> str | None:
    """The group that the likeliest class belongs to, if the group is sure together."""
    position, first, _ = tags[0]
    group = living_group(position)
    if group and sum(p for i, _, p in tags if living_group(i) == group) >= _TOGETHER:
        return f"{article(group)} {group}"
    if ANIMALS[0] <= position < ANIMALS[1] and sum(p for i, _, p in tags if i < ANIMALS[1]) >= _TOGETHER:
        return "an animal"
    for kind, members in (("a vehicle", VEHICLES), ("a building", BUILDINGS)):
        if first in members and _mass(tags, members) >= _TOGETHER:
            return kind
    return None


def _setting(tags: Sequence[tuple[int, str, float]]) -> str:
    """Where it is, if the tags agree on it."""
    landscape = max(((p, name) for _, name, p in tags if name in LANDSCAPES), default=(0.0, ""))
    places = [
        (_mass(tags, STREET), "on a street"),
        (_mass(tags, INDOORS), "indoors"),
        (_mass(tags, SCREENS), "on a screen"),
        (landscape[0], LANDSCAPES.get(landscape[1], "")),
    ]
    mass, place = max(places)
    return place if mass >= _PLACE else ""


def _mass(tags: Sequence[tuple[int, str, float]], members: frozenset[str]) -> float:
    return sum(p for _, name, p in tags if name in members)


def _light(scores: Mapping[str, Any]) -> str:
    level, spread = scores["luma_mean"], scores["luma_std"]
    if level < 50:
        return "dark"
    if level < 95:
        return "dim"
    if level < 140:
        return "soft" if spread < 45 else "contrasty" if spread >= 65 else "even"
    return "bright"


def _pace(scores: Mapping[str, Any]) -> str:
    motion = scores["motion_mean"]
    if motion is None:  # a clip of a few frames
        return ""
    for limit, pace in ((0.01, "almost still"), (0.04, "moving slowly"), (0.12, "moving steadily")):
        if motion < limit:
            return pace
    return "moving fast"


def _focus(scores: Mapping[str, Any]) -> str:
    sharpness = scores["sharpness"]
    if sharpness is None:
        return "of unmeasured sharpness"
    return "soft" if sharpness < 40 else "clear" if sharpness < 300 else "crisp and detailed"


def _colours(colours: Sequence[str]) -> str:
    if not colours:
        return "Many colours are mixed"
    return (
        f"The colours are mainly {_and(colours)}"
        if len(colours) > 1
        else f"Nearly everything is {colours[0]}"
    )


def _and(words: Sequence[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


_PACE_DENSE = {
    "almost still": "hardly anything moves",
    "moving slowly": "things move slowly",
    "moving steadily": "things move at a steady pace",
    "moving fast": "things move fast",
}

_MOVES = {
    "pan right": ("camera panning right", "The camera pans to the right"),
    "pan left": ("camera panning left", "The camera pans to the left"),
    "tilt up": ("camera tilting up", "The camera tilts up"),
    "tilt down": ("camera tilting down", "The camera tilts down"),
    "zoom in": ("camera moving closer", "The camera comes closer"),
    "zoom out": ("camera moving away", "The camera moves away"),
    "roll": ("camera rolling", "The camera rolls"),
    "handheld": ("handheld camera", "The camera is handheld and sways a little"),
    "static": ("static camera", "The camera stands still"),
}
_CAMERA_SHORT = {label: short for label, (short, _) in _MOVES.items()}
_CAMERA_DENSE = {label: dense for label, (_, dense) in _MOVES.items()}
