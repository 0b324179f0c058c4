"""`-m`: one job over every combination of swept values, one child process after another.

In: overrides with choices such as `optim.lr=1e-4,3e-4`. Out: each combination run; where all would write to one place, each gets a folder of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import PurePosixPath

from jobs.compose import ConfigError, compose, parse
from jobs.registry import Job


def combinations(overrides: list[str]) -> list[list[str]]:
    """Hydra's basic sweeper: the product of all choices, in the order typed."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    return [list(one) for one in BasicSweeper.split_arguments(parse(overrides), max_batch_size=None)[0]]


def _own_output(job: Job, combination: list[str], swept: list[str], number: int) -> list[str]:
    """Give a combination an output of its own, named by what is swept."""
    assert job.output is not None
    label = ",".join(o for o in combination if o.split("=")[0] in swept).replace("/", "_") or str(number)
    changed = []
    for override in combination:
        key, _, value = override.partition("=")
        if key == job.output:
            path = PurePosixPath(value.strip("'\""))
            own = path.with_name(f"{path.stem}_{label}{path.suffix}") if path.suffix else path / label
            override = f"{key}='{own}'"
        changed.append(override)
    return changed


def sweep(job: Job, overrides: list[str]) -> int:
    """Run every combination; returns the first exit code that isn't 0, or 0.

    Raises:
        ConfigError: a combination is wrong; nothing has been run then.
    """
    swept = [o.key_or_group for o in parse(overrides) if o.is_sweep_override()]
    if not swept:
        raise ConfigError(f"nothing to sweep: give several values, as in 'rushes {job.name} -m key=1,2'")
    runs = combinations(overrides)
    if job.output is not None and job.output not in swept and len(runs) > 1:
        runs = [_own_output(job, c, swept, i) for i, c in enumerate(runs)]
    for combination in runs:
        compose(job, combination)
    worst = 0
    for number, combination in enumerate(runs, start=1):
        print(f"[{number}/{len(runs)}] rushes {job.name} {' '.join(combination)}", flush=True)
        code = subprocess.run([sys.executable, "-m", "jobs.main", job.name, *combination], check=False).returncode
        if code == 130:
            raise KeyboardInterrupt
        worst = worst or code
    return worst
