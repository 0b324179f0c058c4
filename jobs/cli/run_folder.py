"""Where one run of a job keeps its config, log and results, and how it speaks to the person who started it.

In: a folder and the composed config. Out: config.yaml, log, metrics.json in that folder; few lines on the
console. A run has its folder to itself: it makes a new one, or holds the one that the user named. How folders
are had is `lock_folder`'s matter.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from jobs.cli.folder_lock import lock_folder, unlock_folder
from jobs.cli.terminal_text import LogFormatter, dump_escaped_json, printable_message
from pipelines import durable
from pipelines.storage.base import Store
from pipelines.storage.local_store import LocalStore
from pipelines.storage.open_store import open_store

_TRIES = 100  # names for a new folder: each is free but for one in four thousand millions


@dataclass(frozen=True, slots=True)
class Scratch:
    """The folder of a job that only looks: a private one, which goes when it ends as it should."""

    job: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one job: a block, at whose end its folder is where it belongs, however it ended.

    `remote` is the URI where what is written to `folder` goes at the end; None where the folder is in its
    place already. `temporary`: nobody wants the folder afterwards, unless the job failed.
    """

    job: str
    folder: Path
    remote: str | None = None
    temporary: bool = False

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        failed = error is not None and not isinstance(error, KeyboardInterrupt | BrokenPipeError)
        if failed:
            logging.getLogger(f"rushes.{self.job}").error("the job failed", exc_info=error)
        if self.remote is not None:
            self._hand_in(self.remote)
        elif self.temporary and not failed:
            _log_to(logging.NullHandler())
            shutil.rmtree(self.folder)
        unlock_folder(self.folder)

    @property
    def uri(self) -> str:
        """Where a person finds the folder afterwards."""
        return self.remote or str(self.folder)

    def _hand_in(self, remote: str) -> None:
        """Put the run's files into the dataset, and remove them here. What can't be put stays here, and is
        said so."""
        _log_to(logging.NullHandler())
        try:
            store, prefix = _place(remote)
            for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
                store.put_new(prefix + path.relative_to(self.folder).as_posix(), path)
        except (OSError, ValueError) as error:
            self.say(
                f"{self.job}: the files of this run could not be put into {remote} ({error}); they are in "
                f"{self.folder}"
            )
        else:
            shutil.rmtree(self.folder)

    @property
    def log(self) -> Path:
        """Where everything that isn't on the console is written."""
        return self.folder / "log"

    @property
    def log_uri(self) -> str:
        """Where a person finds the log afterwards."""
        return f"{self.uri}/log"

    def say(self, text: str) -> None:
        """One line for the person at the console, kept in the log too."""
        print(printable_message(text), flush=True)
        logging.getLogger(f"rushes.{self.job}").info(text)

    def write_json(self, name: str, value: Any) -> Path:
        """Write a result file of the run, whole or not at all."""
        return self.write_text(name, dump_escaped_json(value, indent=2, sort_keys=True) + "\n")

    def write_text(self, name: str, text: str) -> Path:
        """Write a file of the run in UTF-8, whole or not at all."""
        path = self.folder / name
        durable.write_text(path, text)
        return path

    def log_here(self) -> None:
        """Send the logs of this process to the run's `log`: again, after another run in it had one of its
        own."""
        handler = _LogFile(self.log, encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(LogFormatter())
        _log_to(handler)


def new_run_folder(dataset: str, job: str) -> str:
    """URI for a folder of its own for one run of a job on a dataset: `<dataset>/runs/<time>-<job>-<random>`.

    Of containers each has a process 1, and they may start in one second: only chance tells their runs apart,
    and that nobody else has the name is seen by `open_run`.
    """
    started = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    return f"{open_store(dataset).uri}/runs/{started}-{job}-{_by_chance()}"


def scratch_run_folder(job: str) -> Scratch:
    """Of a job that only looks and leaves nothing behind in the dataset."""
    return Scratch(job)


def open_run(job: str, folder: Path | str | Scratch, config_yaml: str) -> Run:
    """Make a run's folder, write its config, and send the logs of this process to its `log` file.

    The console stays for what a person reads: warnings of libraries go to the log, not to the screen.

    Args:
        folder: a path that the user named, which may be there already; the URI of a new one; or of none that
        stays.

    Raises:
        ValueError: another run is in the folder.
        PermissionError: the folder may not be used: see `lock_folder` and `LocalStore`.
    """
    run = _in_its_folder(job, folder, config_yaml)
    durable.write_text(run.folder / "config.yaml", config_yaml)
    run.log_here()
    return run


def _in_its_folder(job: str, folder: Path | str | Scratch, config_yaml: str) -> Run:
    if isinstance(folder, Path):
        return Run(job, lock_folder(folder))
    if isinstance(folder, Scratch):
        return Run(job, Path(tempfile.mkdtemp(prefix=f"rushes-{job}-")), temporary=True)
    for _ in range(_TRIES):
        store, prefix = _place(folder)
        if isinstance(store, LocalStore):
            try:
                return Run(job, store.new_folder(prefix.rstrip("/"), mode=0o755))
            except FileExistsError:
                pass
        # Also the first of its files to get there, and there even if the rest should never be.
        elif store.put_new(f"{prefix}config.yaml", config_yaml.encode()):
            return Run(job, Path(tempfile.mkdtemp(prefix=f"rushes-{job}-")), folder)
        folder = f"{folder.rpartition('-')[0]}-{_by_chance()}"
    raise FileExistsError(f"{folder}: no free name for a run's folder")


def _by_chance() -> str:
    """The end of a folder's name: the microsecond first, so that runs of one job in one second sort by time,
    too."""
    return f"{int(time.time() % 1 * 1e6):05x}{secrets.token_hex(4)}"


class _LogFile(logging.FileHandler):
    """A log on a disk that may be full: then it is said once, where logging would print a traceback for every
    line."""

    def _open(self) -> TextIOWrapper:
        """Called by logging. Of a link that was put there nothing is written."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(
            os.open(self.baseFilename, flags, 0o666), "a", encoding="utf-8", errors="backslashreplace"
        )

    def handleError(self, record: logging.LogRecord) -> None:
        """Called by logging inside the exception that writing a line has raised."""
        if not getattr(self, "_said", False):
            self._said = True
            print(
                f"rushes: {self.baseFilename} can't be written ({sys.exception()}); going on without",
                file=sys.stderr,
            )


def _place(uri: str) -> tuple[Store, str]:
    """The store that a run's folder is in, and how keys begin there: of its dataset, where `rushes clean`
    finds what is left."""
    dataset, runs, name = uri.rpartition("/runs/")
    return (open_store(dataset), f"runs/{name}/") if runs else (open_store(uri), "")


def _log_to(handler: logging.Handler) -> None:
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
