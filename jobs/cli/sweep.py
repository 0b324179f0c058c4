"""`-m`: one job over every combination of swept values, one child process after another.

In: arguments with choices such as `optim.lr=1e-4,3e-4`; a key of free text, in which a comma is a comma, is
given once for each value. Out: each combination run; where all would write to one place, each gets a folder
of its own.
"""

from __future__ import annotations

import itertools
import shlex
import subprocess
import sys
from pathlib import PurePosixPath

from jobs.cli.compose import ConfigError, Override, compose, parse, parse_overrides
from jobs.cli.registry import Job

_MOST_LABEL = 100  # characters of a name of a file or folder


def combinations(job: Job, arguments: list[str]) -> list[list[tuple[str, str]]]:
    """The product of all choices, in the order typed: of each run its arguments, and beside each how it is
    called among its choices; empty where there is no choice.

    Raises:
        ConfigError: an argument can't be read.
    """
    choices: dict[str, list[tuple[str, str]]] = {}
    for number, one in enumerate(parse_overrides(job, arguments)):
        if not _is_free_text(one):
            choices[f"{number}"] = _choices(one)
            continue
        several = choices.setdefault(one.name, [])
        several.append((str(one), ""))
    for name, several in choices.items():
        if len(several) > 1 and not name.isdecimal():
            choices[name] = [(text, f"{name}_{i}") for i, (text, _) in enumerate(several, start=1)]
    return [list(run) for run in itertools.product(*choices.values())]


def _is_free_text(one: Override) -> bool:
    """Whether any text may stand there, so that a comma is no sign of several."""
    return one.is_text and one.key is not None and one.key.choices is None


def _choices(one: Override) -> list[tuple[str, str]]:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    override = parse(str(one))
    if not override.is_sweep_override():
        return [(str(one), "")]
    split = BasicSweeper.split_arguments([override], max_batch_size=None)[0]
    return [(text, text.lstrip("+")) for (text,) in split]


def _own_output(job: Job, run: list[tuple[str, str]]) -> list[str]:
    """The arguments of a run, whose output is one of its own, named by what is swept."""
    assert job.output is not None
    label = ",".join(name for _, name in run if name).replace("/", "_")[:_MOST_LABEL]
    changed = []
    for argument, _ in run:
        key, _, value = argument.partition("=")
        if key == job.output:
            path = PurePosixPath(value)
            own = path.with_name(f"{path.stem}_{label}{path.suffix}") if path.suffix else path / label
            argument = f"{key}={own}"
        changed.append(argument)
    return changed


def sweep(job: Job, arguments: list[str]) -> int:
    """Run every combination; returns the first exit code that isn't 0, or 0.

    Raises:
        ConfigError: a combination is wrong; nothing has been run then.
    """
    runs = combinations(job, arguments)
    if len(runs) < 2:
        raise ConfigError(
            f"nothing to sweep: give several values, as in 'rushes {job.name} -m key=1,2'; text is taken as "
            "typed, so give its key once for each text"
        )
    swept = {argument.partition("=")[0] for argument, name in runs[0] if name}
    shared = job.output is not None and job.output not in swept
    commands = [_own_output(job, run) if shared else [argument for argument, _ in run] for run in runs]
    for command in commands:
        compose(job, command)
    worst = 0
    for number, command in enumerate(commands, start=1):
        print(f"[{number}/{len(runs)}] rushes {shlex.join([job.name, *command])}", flush=True)
        code = subprocess.run(
            [sys.executable, "-m", "jobs.cli.main", job.name, *command], check=False
        ).returncode
        if code == 130:
            raise KeyboardInterrupt
        worst = worst or code
    return worst
