"""Makes the jobs' config dataclasses known to Hydra, so that a wrong key or type is found before anything runs."""

from __future__ import annotations

from collections.abc import Mapping


def register(schemas: Mapping[str, type]) -> None:
    """Store each config dataclass as the schema that its job's `config.yaml` starts from.

    Args:
        schemas: job name → config dataclass.
    """
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for name, schema in schemas.items():
        store.store(name=f"{name}_schema", node=schema)
