"""Tab completion: job names, keys, and the values that keys are known to take.

In: the words typed so far. Out: one candidate a line; or a shell's completion script, to be evaluated in its
start-up file.
"""

from __future__ import annotations

from jobs.cli.fields import keys, near_miss
from jobs.cli.registry import JOBS, SUBMIT, Job

_BASH = """\
_rushes() {
  local IFS=$'\\n' typed="${COMP_LINE:0:COMP_POINT}"
  local word="${typed##* }"
  COMPREPLY=($(rushes --complete "$typed"))
  # bash splits words at '=': hand back only what follows the last one
  [[ $word == *=* ]] && COMPREPLY=("${COMPREPLY[@]#*=}")
  [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o default -F _rushes rushes
"""
_ZSH = """\
_rushes() { local -a found; found=("${(@f)$(rushes --complete "$BUFFER")}"); compadd -S '' -- $found }
compdef _rushes rushes
"""
_FISH = """\
complete -c rushes -f -a '(rushes --complete (commandline -cp))'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def print_script(shell: str) -> int:
    """Print the completion script of a shell.

    Raises:
        ValueError: the shell is not known.
    """
    if shell not in _SCRIPTS:
        raise ValueError(
            f"no completion for shell '{shell}'{near_miss(shell, _SCRIPTS)} (there is {', '.join(_SCRIPTS)})"
        )
    print(_SCRIPTS[shell], end="")
    return 0


def candidates(line: list[str]) -> list[str]:
    """What may follow the line typed so far (one argument, the whole line with the program's name)."""
    text = line[0] if line else ""
    words = text.split()
    current = "" if not words or text.endswith(" ") else words.pop()
    words = words[1:]  # the program
    names = [*JOBS, SUBMIT]
    if words and words[0] == SUBMIT:
        words, names = words[1:], list(JOBS)
    if not words:
        return [n for n in names if n.startswith(current)]
    job = JOBS.get(words[0])
    if job is None:
        return []
    key, equals, _ = current.partition("=")
    if equals:
        return [c for c in _values(job, key) if c.startswith(current)]
    given = {w.partition("=")[0] for w in words[1:]}
    options = ["experiment=", *(f"{k.path}=" for k in keys(job.config_class()))]
    return [o for o in options if o.startswith(current) and o[:-1] not in given]


def _values(job: Job, key: str) -> list[str]:
    if key == "experiment":
        from jobs.cli.compose import experiments

        return [f"experiment={name}" for name in experiments(job)]
    for known in keys(job.config_class()):
        if known.path == key:
            values = known.choices or (("true", "false") if known.type is bool else ())
            return [f"{key}={value}" for value in values]
    return []
