"""From what a user typed to a checked config instance, through Hydra.

In: a job and `key=value` arguments. Out: an instance of the job's config dataclass, and the same as YAML.
Text is what was typed, byte for byte: it goes through no grammar and nothing in it is interpolated. Numbers,
lists and maps are read by Hydra's grammar. Whatever is wrong becomes one ConfigError that names the key as
typed, with the near miss.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.cli.build_config import as_yaml, build_config
from jobs.cli.fields import REQUIRED, ConfigKey, check_values, describe_type, keys, matches_type, near_miss
from jobs.cli.registry import Job
from jobs.cluster.failures import first_line
from pipelines.redact import check_no_secret

_CONF = Path(__file__).resolve().parents[2] / "conf"
EXPERIMENT = "experiment"


class ConfigError(ValueError):
    """Wrong usage or configuration: exit code 2."""


@dataclass(frozen=True, slots=True)
class ComposedConfig:
    """A job's configuration, as an object and as text."""

    cfg: Any
    yaml: str


@dataclass(frozen=True, slots=True)
class Override:
    """One command line override: `name=value`, or `+name=value`, which adds to a map.

    `key` is the key that it is about: the one of that name, the map that an entry is of, or None for
    `experiment`.
    """

    name: str
    value: str
    adds: bool
    key: ConfigKey | None

    def __str__(self) -> str:
        return f"{'+' if self.adds else ''}{self.name}={self.value}"

    @property
    def is_text(self) -> bool:
        return self.key is not None and self.key.is_text

    @property
    def is_entry(self) -> bool:
        """Whether it sets one entry of a map."""
        return self.key is not None and self.key.is_map and self.name != self.key.path


def experiments(job: Job) -> list[str]:
    """Names that `experiment=` takes for a job."""
    return sorted(p.stem for p in (_CONF / job.name / EXPERIMENT).glob("*.yaml"))


def parse_overrides(job: Job, arguments: list[str]) -> list[Override]:
    """Arguments by what they are about.

    Raises:
        ConfigError: one is not key=value, or there is no such key.
    """
    known = {key.path: key for key in keys(job.config_class())}
    return [_typed(job, argument, known) for argument in arguments]


def _typed(job: Job, argument: str, known: dict[str, ConfigKey]) -> Override:
    name, equals, value = argument.partition("=")
    if not equals:
        raise ConfigError(f"'{argument}' is not key=value")
    adds = name.startswith("+")
    name = name.lstrip("+")
    if name == EXPERIMENT:
        return Override(name, value, adds, None)
    if name not in known and f"{name}.name" in known:  # `recipe=opensora`: what is chosen by name may be
        name = f"{name}.name"
    key = known.get(name) or next(
        (k for p, k in known.items() if k.is_map and name.startswith(f"{p}.")), None
    )
    if key is None:
        guess = near_miss(name, known) or f" (rushes {job.name} --help lists them)"
        raise ConfigError(f"{job.name} has no key '{name}'{guess}")
    if adds and not key.is_map:
        raise ConfigError(
            f"+{name}: only maps are added to, and this is {describe_type(key.type)}; give {name}=…"
        )
    return Override(name, value, adds, key)


def parse(text: str) -> Any:
    """Hydra's own override object.

    Raises:
        ConfigError: its value can't be read.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise ConfigError(f"'{text}' can't be read as key=value ({first_line(error)})") from error


def compose(job: Job, arguments: list[str]) -> ComposedConfig:
    """Compose, convert and check the configuration of a job.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or out of its limits, a required key that is
        missing.
    """
    given = parse_overrides(job, arguments)
    values = _composed(job, [one for one in given if one.key is None or not (one.is_text or one.key.is_map)])
    for one in given:
        if one.is_text:
            assert one.key is not None
            optional = one.key.type == (str | None)
            _set(values, one.name, None if optional and one.value == "null" else one.value)
        elif one.key is not None and one.key.is_map:
            _set_map(values, one)
    texts = {one.name for one in given if one.is_text}
    _require(job, values, texts)
    try:
        cfg = build_config(job.config_class(), values)
        check_values(cfg)
        _check_no_keys(cfg)
    except ValueError as error:
        raise ConfigError(f"{job.name}: {error}") from error
    return ComposedConfig(cfg=cfg, yaml=as_yaml(cfg))


def _composed(job: Job, given: list[Override]) -> dict[str, Any]:
    """The defaults, an experiment's values, and what is neither text nor map, by Hydra."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for one in given:
        _check_read(job, one)
    _register(job)
    GlobalHydra.instance().clear()
    folder = _CONF / job.name
    try:
        with initialize_config_dir(str(folder if folder.is_dir() else _CONF), version_base="1.3"):
            tree = hydra_compose(job.name, overrides=[str(one) for one in given])
        values = OmegaConf.to_container(tree, resolve=False)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"{job.name}: {_explain(error)}") from error
    assert isinstance(values, dict)
    return {str(name): value for name, value in values.items()}


def _register(job: Job) -> None:
    """Make a job's config dataclass known to Hydra, which finds a wrong key or type before anything runs, and
    an experiment of it."""
    from hydra.core.config_store import ConfigStore

    schema = f"{job.name}_schema"
    store = ConfigStore.instance()
    store.store(name=schema, node=job.config_class())
    store.store(name=job.name, node={"defaults": [schema, "_self_", {f"optional {EXPERIMENT}": None}]})


def _check_read(job: Job, one: Override) -> None:
    """Before Hydra says it in its own longer words."""
    override = parse(str(one))
    if override.is_sweep_override():
        raise ConfigError(f"{one}: several values are for a sweep: rushes {job.name} -m {one}")
    if one.key is not None:
        return
    names, chosen = experiments(job), str(override.value())
    if chosen not in names and override.value() is not None:
        listed = ", ".join(names) or "none exist for this job"
        raise ConfigError(
            f"experiment '{chosen}' is not known{near_miss(chosen, names)} (experiments of {job.name}: "
            f"{listed})"
        )


def _set(values: dict[str, Any], path: str, value: Any) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        values = values[parent]
    values[name] = value


def _set_map(values: dict[str, Any], one: Override) -> None:
    """A map given replaces the map; `+` adds to it, and so does one entry."""
    from omegaconf import OmegaConf

    assert one.key is not None
    override = parse(str(one))
    if override.is_sweep_override():
        raise ConfigError(f"{one}: several values are for a sweep, with -m")
    value = override.value()
    value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else _plain(value)
    kind = one.key.type
    if one.is_entry:
        name = one.name.removeprefix(f"{one.key.path}.")
        if not matches_type({name: value}, kind):
            raise ConfigError(f"{one.name}={one.value} is not {describe_type(kind.__args__[1])}")
        value = {name: value}
    elif not matches_type(value, kind):
        raise ConfigError(
            f"{one.name}={one.value} is not a {one.key.type_name}, such as {one.name}={{name: 1}}"
        )
    before = _get(values, one.key.path) if one.is_entry or one.adds else {}
    _set(values, one.key.path, {**before, **value})


def _plain(value: Any) -> Any:
    """A value without the marks that Hydra's grammar leaves on quoted text."""
    if isinstance(value, dict):
        return {str(_plain(name)): _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.text if hasattr(value, "text") and hasattr(value, "quote") else value


def _get(values: dict[str, Any], path: str) -> Any:
    for name in path.split("."):
        values = values[name]
    return values


def _require(job: Job, values: dict[str, Any], typed_texts: set[str]) -> None:
    needed = [
        f"{key.path}=… ({key.doc})"
        for key in keys(job.config_class())
        if key.path not in typed_texts and _get(values, key.path) == REQUIRED
    ]
    if needed:
        raise ConfigError(f"{job.name} needs {' and '.join(needed)}")


def _check_no_keys(cfg: Any) -> None:
    """Whatever is configured is printed by `--cfg`, written to config.yaml and shown by Ray: no address in it
    may hold a key."""
    for key in keys(type(cfg), instance=cfg):
        if not key.words:
            for one in _texts(key.default):
                check_no_secret(key.path, one)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def _explain(error: BaseException) -> str:
    """OmegaConf's reason under Hydra's wrapping, in one line with the key first."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error)
    key = re.search(r"full_key: (\S+)", text)
    reason = next(
        (line.strip() for line in text.splitlines() if line.strip() and not line.startswith("In '")), text
    )
    wrong = re.match(r"Value '(.*)' of type '\w+' could not be converted to (\w+)", reason)
    if wrong and key:
        kinds = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
        return f"{key[1]}={wrong[1]} is not {kinds.get(wrong[2], wrong[2])}"
    return f"{key[1]}: {reason}" if key else reason
