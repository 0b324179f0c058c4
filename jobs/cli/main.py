"""The `rushes` command: finds the job, composes its configuration, runs it, and turns what happens into an
exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted (state is kept).
Imports nothing heavy: `rushes --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from jobs.cli import interruption
from jobs.cli.registry import SUBMIT, Job, job_named
from jobs.cli.terminal_text import escape_standard_streams, printable_message

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    escape_standard_streams()
    code = DONE
    try:
        code = _dispatch(arguments)
        if sys.stdout is not None:  # closed by the shell: `>&-`
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # `rushes … | head`
        _say_no_more()
        return DONE
    except OSError as error:  # stdout leads to a disk that is full
        _say_no_more()
        return code or _complain(str(error), FAILED)  # what failed has been said, and why


def _say_no_more() -> None:
    """What stdout still holds goes nowhere: Python would complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(arguments: list[str]) -> int:
    from jobs.cli import help as help_texts

    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(help_texts.overview(), end="")
        return DONE if arguments else WRONG_USAGE
    if arguments[0] in ("--version", "version"):
        from importlib.metadata import version

        print(f"rushes {version('rushes')}")
        return DONE
    if arguments[0] == "--completion":
        from jobs.cli import completion

        return _usage_checked(lambda: completion.print_script(arguments[1] if len(arguments) > 1 else "bash"))
    if arguments[0] == "--complete":
        from jobs.cli import completion

        print("\n".join(completion.candidates(arguments[1:])))
        return DONE
    name, *rest = arguments
    if name == SUBMIT:
        from jobs.cli import submit

        return _usage_checked(lambda: submit.run(rest))
    return _usage_checked(lambda: _job(job_named(name), rest))


def _usage_checked(action: Callable[[], int]) -> int:
    interruption.install()
    try:
        return action()
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        raise  # to `main`
    except (ValueError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
        return _complain(str(error), WRONG_USAGE)
    except OSError as error:
        return _complain(str(error), FAILED)


def _job(job: Job, arguments: list[str]) -> int:
    from jobs.cli import help as help_texts
    from jobs.cli.compose import ConfigError, compose, experiments

    flags = [a for a in arguments if a.startswith("-")]
    overrides = [a for a in arguments if not a.startswith("-")]
    if "--help" in flags or "-h" in flags:
        print(help_texts.job_help(job, experiments(job)), end="")
        return DONE
    if "--multirun" in flags or "-m" in flags:
        from jobs.cli.sweep import sweep

        return sweep(job, overrides)
    if "--cfg" in flags:
        overrides = [o for o in overrides if o != "job"]
        print(compose(job, overrides).yaml, end="")
        return DONE
    if flags:
        raise ConfigError(
            f"option '{flags[0]}' is not known; rushes --help lists the options, keys are given as key=value"
        )
    composed = compose(job, overrides)
    return execute(job, composed.cfg, composed.yaml)


def execute(job: Job, cfg: object, yaml: str) -> int:
    """Check and run a composed job in this process; returns the exit code."""
    module = job.module()
    from jobs.cli.run_folder import open_run
    from pipelines.storage import s3

    with s3.short_timeouts():
        module.check(cfg)  # raises what a user got wrong, before anything is written
    run = open_run(job.name, module.run_folder(cfg), yaml)
    try:
        with run:
            module.run(cfg, run)
    except KeyboardInterrupt as stop:
        return _interrupted(str(stop))
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            raise
        from jobs.cluster.failures import one_line_message

        return _complain(
            f"{job.name} failed: {one_line_message(error)} (the whole story: {run.log_uri})", FAILED
        )
    return DONE


def _reader_is_gone() -> bool:
    """Whether it is our own stdout that nobody reads any more, and not some other pipe or connection that
    broke."""
    import select

    if sys.stdout is None:
        return False
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _interrupted(kept: str = "") -> int:
    print(
        f"\ninterrupted; {printable_message(kept) or 'state is kept'}: run the same command to go on",
        file=sys.stderr,
    )
    return INTERRUPTED


def _complain(text: str, code: int) -> int:
    print(f"rushes: {printable_message(text)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
