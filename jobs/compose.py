"""From what a user typed to a checked config instance, through Hydra.

In: a job and `key=value` overrides. Out: an instance of the job's config dataclass, and the same as YAML.
Whatever is wrong becomes one ConfigError that names the key as typed, with the near miss.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.fields import check_values, keys, near_miss
from jobs.registry import Job

_CONF = Path(__file__).resolve().parent.parent / "conf"


class ConfigError(ValueError):
    """Wrong usage or configuration: exit code 2."""


@dataclass(frozen=True, slots=True)
class Composed:
    """A job's configuration, as an object and as text."""

    cfg: Any
    yaml: str


def experiments(job: Job) -> list[str]:
    """Names that `experiment=` takes for a job."""
    return sorted(p.stem for p in (_CONF / job.name / "experiment").glob("*.yaml"))


def parse(overrides: list[str]) -> list:
    """Hydra's own override objects.

    Raises:
        ConfigError: an override is not `key=value`.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    parsed = []
    for text in overrides:
        if "=" not in text:
            raise ConfigError(f"'{text}' is not key=value")
        try:
            parsed += OverridesParser.create().parse_overrides([text])
        except OverrideParseException as error:
            hint = "quote values that hold spaces or commas: 'prompt=\"a red kite, flying\"'"
            raise ConfigError(f"'{text}' can't be read as key=value ({_first_line(error)}); {hint}") from error
    return parsed


def compose(job: Job, overrides: list[str]) -> Composed:
    """Compose, convert and check the configuration of a job.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or out of its limits, a required key that is missing.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from conf.register import register

    overrides = _literal(job, [_named(job, override) for override in overrides])
    _check_names(job, overrides)
    register({job.name: job.config_class()})
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(_CONF / job.name), version_base="1.3"):
            tree = hydra_compose("config", overrides=overrides)
        _require(job, set(OmegaConf.missing_keys(tree)))
        OmegaConf.resolve(tree)
        cfg = OmegaConf.to_object(tree)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"{job.name}: {_explain(error)}") from error
    except ConfigError:
        raise
    except ValueError as error:  # raised by a __post_init__
        raise ConfigError(f"{job.name}: {error}") from error
    try:
        check_values(cfg)
    except ValueError as error:
        raise ConfigError(f"{job.name}: {error}") from error
    return Composed(cfg=cfg, yaml=OmegaConf.to_yaml(OmegaConf.structured(cfg)))


def _require(job: Job, missing: set[str]) -> None:
    needed = [f"{k.path}=… ({k.doc})" for k in keys(job.config_class()) if k.path in missing]
    if needed:
        raise ConfigError(f"{job.name} needs {' and '.join(needed)}")


def _named(job: Job, override: str) -> str:
    """`recipe=opensora` means `recipe.name=opensora`: what is chosen by name may be."""
    name, equals, value = override.partition("=")
    known = {k.path for k in keys(job.config_class())}
    return f"{name}.name={value}" if equals and name not in known and f"{name}.name" in known else override


def _literal(job: Job, overrides: list[str]) -> list[str]:
    """Hydra's grammar without its traps: text is taken as typed (a prompt may hold commas and brackets), maps take new keys."""
    known = list(keys(job.config_class()))
    text_keys = {k.path: ("",) if k.type is str else ("", "null") for k in known if k.type in (str, str | None)}
    maps = tuple(f"{k.path}." for k in known if k.is_map)
    quoted = []
    for override in overrides:
        name, equals, value = override.partition("=")
        if equals and value not in text_keys.get(name, (value,)) and value[0] not in "'\"":
            escaped = (
                value.replace("\\", "\\\\").replace('"', '\\"') if value.endswith("\\") else value.replace('"', '\\"')
            )
            override = f'{name}="{escaped}"'
        elif name.startswith(maps):
            override = f"++{override}"
        quoted.append(override)
    return quoted


def _check_names(job: Job, overrides: list[str]) -> None:
    """Unknown keys and experiments, before Hydra says it in its own longer words."""
    known = {k.path: k for k in keys(job.config_class())}
    parents = {path[:i] for path in known for i, c in enumerate(path) if c == "."}
    for override in parse(overrides):
        name = override.key_or_group
        if name == "experiment":
            names = experiments(job)
            chosen = str(override.value())
            if chosen not in names and override.value() is not None:
                listed = ", ".join(names) or "none exist for this job"
                raise ConfigError(
                    f"experiment '{chosen}' is not known{near_miss(chosen, names)} (experiments of {job.name}: {listed})"
                )
            continue
        in_map = any(name.startswith(f"{path}.") and key.is_map for path, key in known.items())
        if name not in known and name not in parents and not in_map:
            guess = near_miss(name, known) or f" (rushes {job.name} --help lists them)"
            raise ConfigError(f"{job.name} has no key '{name}'{guess}")


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _explain(error: BaseException) -> str:
    """OmegaConf's reason under Hydra's wrapping, in one line with the key first."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error)
    key = re.search(r"full_key: (\S+)", text)
    reason = next((line.strip() for line in text.splitlines() if line.strip() and not line.startswith("In '")), text)
    wrong = re.match(r"Value '(.*)' of type '\w+' could not be converted to (\w+)", reason)
    if wrong and key:
        kinds = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
        return f"{key[1]}={wrong[1]} is not {kinds.get(wrong[2], wrong[2])}"
    return f"{key[1]}: {reason}" if key else reason
