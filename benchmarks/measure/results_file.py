"""The one form of every benchmark's result: a table on the screen and a JSON beside the others.

In: named figures. Out: `benchmarks/results/<name>.json` with the hardware, date and commit that they were
measured on.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.precision import AUTO, decide

RESULTS = Path(__file__).resolve().parents[1] / "results"


# of what a processor can: what its speed here hangs on
_TOLD = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16", "bf16")


def hardware() -> dict[str, Any]:
    """What it ran on, as far as it matters to a reader: the processor's name says little of what it, or a
    virtual machine around it, can.
    """
    import torch

    capabilities = torch.cpu.get_capabilities()
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next(
            (
                line.split(":", 1)[1].strip()
                for line in info.read_text().splitlines()
                if line.startswith("model name")
            ),
            cpu,
        )
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return {
        "cpu": cpu,
        "cpu_has": [name for name in _TOLD if capabilities.get(name)],
        "precision": decide(AUTO).name,
        "cores": os.cpu_count() or 0,
        "memory_gib": round(memory_gib),
        "python": platform.python_version(),
    }


def _commit() -> str:
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def report(
    name: str,
    figures: Mapping[str, float],
    rows: Sequence[Sequence[object]] = (),
    headings: Sequence[str] = (),
) -> Path:
    """Print the table and write the JSON.

    Args:
        figures: by the names that others rely on.
        rows, headings: the table; by default the figures themselves.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(title=name)
    for heading in headings or ("figure", "value"):
        table.add_column(str(heading))
    for row in rows or [(k, f"{v:.4g}") for k, v in figures.items()]:
        table.add_row(*(str(cell) for cell in row))
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {
        "name": name,
        "figures": dict(figures),
        "hardware": hardware(),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
    }
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    print(f"written to {path}")
    return path
