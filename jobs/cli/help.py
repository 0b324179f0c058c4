"""What `--help` prints, taken from the registry and the config dataclasses, so that it can't fall behind
them.

In: a job's name or nothing. Out: text.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Iterable

from jobs.cli.fields import ConfigKey, keys
from jobs.cli.registry import JOBS, SUBMIT, SUBMIT_SUMMARY, Job

_USAGE = """\
rushes turns raw footage into a video model, and the model into video.

usage: rushes <job> key=value …      run a job
       rushes <job> --help           every key of a job with its type, default and meaning

jobs:
{jobs}

options of every job:
  experiment=<name>      compose a recipe from conf/<job>/experiment/<name>.yaml
  key='any text, as $is' text is taken as typed: nothing in it is quoted, split or interpolated
  map.name=1             sets one entry of a map; map={{name: 1}} replaces all of it,
                         +map={{name: 1}} adds to it
  -m, --multirun         sweep: lr=1e-4,3e-4 runs the job once for each value;
                         a key of text is given once for each text
  --cfg job              print the composed configuration and stop
  --version              print the version
  --completion <shell>   print tab completion for bash, zsh or fish: eval "$(rushes --completion bash)"

exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted
            (state is kept; run the same command to go on)
"""


def overview() -> str:
    """`rushes --help`."""
    names = [(job.name, job.summary) for job in JOBS.values()] + [(SUBMIT, SUBMIT_SUMMARY)]
    width = max(len(name) for name, _ in names)
    return _USAGE.format(jobs="\n".join(f"  {name:<{width}}  {summary}" for name, summary in names))


def job_help(job: Job, experiments: Iterable[str]) -> str:
    """`rushes <job> --help`: required keys first, then the rest in the order of the config."""
    all_keys = list(keys(job.config_class()))
    required = [k for k in all_keys if k.required]
    optional = [k for k in all_keys if not k.required]
    needed = " ".join(f"{k.path}=…" for k in required)
    lines = [f"rushes {job.name}: {job.summary}", "", f"usage: rushes {job.name} {needed} [key=value …]"]
    names = sorted(experiments)
    if names:
        lines += ["", f"experiments (experiment=<name>): {', '.join(names)}"]
    for title, group in (("required", required), ("optional", optional)):
        if group:
            lines += ["", f"{title}:"]
            lines += [line for key in group for line in _describe(key)]
    return "\n".join(lines) + "\n"


def reference(experiments: Callable[[Job], Iterable[str]]) -> str:
    """`docs/reference.md`: every job with every key, as Markdown."""
    lines = [
        "# Reference",
        "",
        "Every job and every key, taken from the configs: `python -m jobs.cli.help > docs/reference.md` "
        "writes this page anew.",
        "`rushes <job> --help` prints the same. A key is given as `key=value`; what is required has no "
        "default.",
    ]
    for job in JOBS.values():
        lines += ["", f"## {job.name}", "", f"{job.summary[0].upper()}{job.summary[1:]}."]
        if names := sorted(experiments(job)):
            lines += ["", f"Experiments (`experiment=`): {', '.join(f'`{name}`' for name in names)}."]
        lines += ["", "| key | type | default | what it is |", "|---|---|---|---|"]
        for key in keys(job.config_class()):
            kind = ", ".join(part for part in (key.type_name, key.unit) if part)
            default = "required" if key.required else f"`{_show(key.default)}`"
            lines.append(f"| `{key.path}` | {kind} | {default} | {_meaning(key)} |")
    return "\n".join(lines) + "\n"


def _meaning(key: ConfigKey) -> str:
    """What a key means, with its choices and limits, for a cell of a table."""
    return _text(key).replace("|", "\\|").replace("<", "&lt;")


def _text(key: ConfigKey) -> str:
    limits = [f"at least {key.min}"] if key.min is not None else []
    limits += [f"at most {key.max}"] if key.max is not None else []
    text = key.doc
    if key.choices:
        text += f" ({' | '.join(str(c) for c in key.choices)})"
    if limits:
        text += f" ({', '.join(limits)})"
    return text


def _describe(key: ConfigKey) -> list[str]:
    facts = [key.type_name]
    if key.unit:
        facts.append(key.unit)
    if not key.required:
        facts.append(f"default {_show(key.default)}")
    text = _text(key)
    width = max(60, min(shutil.get_terminal_size().columns, 120) - 6)
    return [
        f"  {key.path}  [{', '.join(facts)}]",
        *textwrap.wrap(text, width, initial_indent=" " * 6, subsequent_indent=" " * 6),
    ]


def _show(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


if __name__ == "__main__":
    from jobs.cli.compose import experiments

    print(reference(experiments), end="")
