"""Plain values → an instance of a config dataclass, checked, with nothing interpreted: text stays what it is.

In: nested maps, as YAML and JSON have them. Out: the instance, or an error that names the key as a user types
it. The way back is `as_yaml`.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from jobs.cli.fields import describe_type, matches_type, near_miss
from jobs.cli.terminal_text import has_control_characters


def build_config(config: type, values: Mapping[str, Any], prefix: str = "") -> Any:
    """An instance of a config dataclass; what `values` leaves out has its default.

    Raises:
        ValueError: a key is not known, or its value of another kind; or what the dataclass itself finds
        wrong.
    """
    hints = typing.get_type_hints(config)
    names = [field.name for field in dataclasses.fields(config)]
    for name in values:
        if name not in names:
            raise ValueError(f"key '{prefix}{name}' is not known{near_miss(str(name), names)}")
    made = {}
    for name in names:
        if name not in values:
            continue
        value, kind = values[name], hints[name]
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
            made[name] = build_config(kind, value, f"{prefix}{name}.")
            continue
        if not matches_type(value, kind):
            raise ValueError(f"{prefix}{name}={value} is not {describe_type(kind)}")
        made[name] = _as_kind(value, kind)
    return config(**made)


def _as_kind(value: Any, kind: Any) -> Any:
    """Whole numbers become numbers where those are wanted, so that equal settings are equal however they were
    typed."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return [_as_kind(one, arguments[0]) for one in value]
    if origin is dict:
        return {name: _as_kind(one, arguments[1]) for name, one in value.items()}
    wants_float = kind is float or (float in arguments and int not in arguments)
    return float(value) if wants_float and type(value) is int else value


def as_yaml(instance: Any) -> str:
    """A config as YAML, in the order of its fields."""
    import yaml

    values = dataclasses.asdict(instance)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=10_000)
    # What can't be seen is spelled out, as YAML can: it is shown as it is then, and reads back as it was.
    return yaml.safe_dump(values, sort_keys=False, width=10_000) if has_control_characters(text) else text
