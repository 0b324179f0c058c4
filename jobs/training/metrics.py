"""What a training wrote down: a JSON line per entry, in its folder's metrics.jsonl.

In: the folder. Out: the entries; first and last held-out figures. A line that a killed run left half written
is no entry. Light.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jobs.training.exports import METRICS

_MOST_BYTES = 2**30  # three million entries


def read_metrics(out: Path) -> list[dict[str, float]]:
    """Entries in the order written.

    Raises:
        ValueError: there is more than any training writes.
    """
    path = out / METRICS
    if path.is_file() and path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path} has more than {_MOST_BYTES:,} bytes, which no training writes")
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return [entry for line in lines if (entry := _entry(line)) is not None]


def _entry(line: str) -> dict[str, float] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("step"), int) else None


def summary(out: Path) -> dict[str, Any]:
    """First and last held-out figures, where something was held out, and the last scalars."""
    entries = read_metrics(out)
    result: dict[str, Any] = {"steps": entries[-1]["step"] if entries else 0}
    for entry in entries:
        for name, value in entry.items():
            if name.startswith("val_"):
                result.setdefault(f"{name}_first", value)
                result[f"{name}_last"] = value
            elif name in ("loss", "samples_per_s", "tokens_per_s", "idle_share"):
                result[name] = value
    return result
