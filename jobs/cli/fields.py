"""Config dataclasses as data: every key with its type, default, unit, meaning and limits.

In: a config dataclass (or an instance). Out: flat `ConfigKey`s for help, completion and near misses; errors
about values out of their limits.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.naming import closest_match

REQUIRED = "???"


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """One key of a job as a user types it, such as `shots.detector`.

    `path_like` if the value is a path; `words` if it is free text (a prompt), which is never treated
    as a URL.
    """

    path: str
    type: Any
    default: Any
    doc: str
    unit: str | None
    choices: tuple | None
    min: float | None
    max: float | None
    path_like: bool
    words: bool

    @property
    def type_name(self) -> str:
        """The type in words: `int or null`, `list of float`."""
        return _type_name(self.type)

    @property
    def is_map(self) -> bool:
        """Whether further keys may follow behind a dot."""
        return typing.get_origin(self.type) is dict

    @property
    def is_text(self) -> bool:
        """Whether it takes text, which is what was typed and nothing else."""
        return self.type in (str, str | None)

    @property
    def required(self) -> bool:
        return isinstance(self.default, str) and self.default == REQUIRED


_WORDS = {int: "int", float: "float", bool: "true or false", str: "text", type(None): "null"}


def _type_name(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type_name(a) for a in arguments)
    if origin is list:
        return f"list of {_type_name(arguments[0])}"
    if origin is dict:
        return "map" if arguments[1] is Any else f"map of {_type_name(arguments[1])}"
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind)))


def _default(field: dataclasses.Field) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return REQUIRED


def keys(
    config: Any, prefix: str = "", instance: Any = None, without: Collection[str] = ()
) -> Iterator[ConfigKey]:
    """Every leaf key of a config dataclass, depth first in the order written.

    Args:
        config: the dataclass type.
        instance: where given, `default` is taken from it (nested defaults that a parent overrides).
        without: its fields that are none of the user's, because the config that it is a part of sets them:
            what that says of a part as `wired` in the field's metadata.
    """
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        default = getattr(instance, field.name) if instance is not None else _default(field)
        path = f"{prefix}{field.name}"
        if field.name in without:
            continue
        if dataclasses.is_dataclass(hints[field.name]):
            nested = default if dataclasses.is_dataclass(default) else None
            yield from keys(hints[field.name], f"{path}.", nested, field.metadata.get("wired", ()))
            continue
        meta = field.metadata
        yield ConfigKey(
            path=path,
            type=hints[field.name],
            default=default,
            doc=meta.get("doc", ""),
            unit=meta.get("unit"),
            choices=meta.get("choices"),
            min=meta.get("min"),
            max=meta.get("max"),
            path_like=meta.get("path", False),
            words=meta.get("words", False),
        )


def with_absolute_paths(instance: Any) -> Any:
    """A copy of a config whose paths hold wherever they are read: workers have a working folder of their
    own."""
    changed: dict[str, Any] = {}
    hints = typing.get_type_hints(type(instance))
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if dataclasses.is_dataclass(hints[field.name]):
            changed[field.name] = with_absolute_paths(value)
        elif field.metadata.get("path") and isinstance(value, str) and value and "://" not in value:
            changed[field.name] = str(Path(value).absolute())
    return dataclasses.replace(instance, **changed)


def value_at(instance: Any, path: str) -> Any:
    """The value of a key in a config instance."""
    for name in path.split("."):
        instance = getattr(instance, name)
    return instance


def near_miss(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'coca'?`, or nothing when no known word is near."""
    known = list(known)
    group, _, name = word.rpartition(".")
    same = [k for k in known if group and k.rsplit(".", 1)[-1] == name]  # `gpu` for `workers.gpu`
    close = same[0] if len(same) == 1 else closest_match(word, known)
    if close is None and "." not in word:  # `lr` for `optim.lr`
        close = next((k for k in known if k.rsplit(".", 1)[-1] == word), None)
    return f"; did you mean '{close}'?" if close else ""


def matches_type(value: Any, kind: Any) -> bool:
    """Whether a value is of the kind that a key takes; whole numbers are numbers, true and false are none."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(matches_type(value, one) for one in arguments)
    if kind is Any:
        return True
    if origin is dict:
        return isinstance(value, dict) and all(
            isinstance(k, str) and matches_type(v, arguments[1]) for k, v in value.items()
        )
    if origin is list:
        return isinstance(value, list | tuple) and all(matches_type(one, arguments[0]) for one in value)
    if kind in (int, float):
        return isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    return isinstance(value, kind)


def describe_type(kind: Any) -> str:
    """What a key takes, as an error says it."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(describe_type(one) for one in typing.get_args(kind))
    return words.get(kind, _type_name(kind))


def check_values(instance: Any) -> None:
    """Hold every value against its type, and against the limits in its key's metadata.

    Raises:
        ValueError: naming the key as the user typed it, the value, what is allowed, and the near miss.
    """
    for key in keys(type(instance), instance=instance):
        value = key.default
        if value is None or key.required:
            continue
        if not matches_type(value, key.type):
            raise ValueError(f"{key.path}={value} is not {describe_type(key.type)}")
        for one in value if isinstance(value, list) else [value]:
            if key.choices is not None and one not in key.choices:
                allowed = ", ".join(str(c) for c in key.choices)
                guess = near_miss(str(one), [str(c) for c in key.choices])
                raise ValueError(f"{key.path}={one} is not known{guess or f'; it is one of {allowed}'}")
            if isinstance(one, bool) or not isinstance(one, int | float):
                continue
            unit = f" ({key.unit})" if key.unit else ""
            if math.isnan(one):
                raise ValueError(f"{key.path}={one} is no number{unit}")
            if key.min is not None and one < key.min:
                raise ValueError(f"{key.path}={one} is too small: at least {key.min}{unit}")
            if key.max is not None and one > key.max:
                raise ValueError(f"{key.path}={one} is too large: at most {key.max}{unit}")
