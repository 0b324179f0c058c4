"""Where one run of a job keeps its config, log and results, and how it speaks to the person who started it.

In: a folder and the composed config. Out: config.yaml, log, metrics.json in that folder; few lines on the console.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.shown import LogFormatter, as_shown_json, shown
from pipelines.redact import redacted
from pipelines.s3 import is_s3
from pipelines.store import Store, open_store


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one job: a block, at whose end its folder is where it belongs, however it ended.

    `remote` is the URI where what is written to `folder` goes at the end; None where the folder is in its place already.
    """

    job: str
    folder: Path
    remote: str | None = None

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and not isinstance(error, KeyboardInterrupt):
            logging.getLogger(f"rushes.{self.job}").error("the job failed", exc_info=error)
        if self.remote is not None:
            self._hand_in(self.remote)

    @property
    def uri(self) -> str:
        """Where a person finds the folder afterwards."""
        return self.remote or str(self.folder)

    def _hand_in(self, remote: str) -> None:
        """Put the run's files into the dataset, and remove them here. What can't be put stays here, and is said so."""
        _log_to(logging.NullHandler())
        try:
            store, prefix = _place(remote)
            for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
                store.put_new(prefix + path.relative_to(self.folder).as_posix(), path)
        except (OSError, ValueError) as error:
            self.say(
                f"{self.job}: the files of this run could not be put into {remote} ({error}); they are in {self.folder}"
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
        print(shown(redacted(text)), flush=True)
        logging.getLogger(f"rushes.{self.job}").info(text)

    def write_json(self, name: str, value: Any) -> Path:
        """Write a result file of the run, whole or not at all."""
        return self.write_text(name, as_shown_json(value, indent=2, sort_keys=True) + "\n")

    def write_text(self, name: str, text: str) -> Path:
        """Write a file of the run in UTF-8, whole or not at all."""
        path = self.folder / name
        temporary = path.with_name(f".{name}.{os.getpid()}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
        return path


def new_run_folder(dataset: str, job: str) -> str:
    """URI of a folder of its own for one run of a job on a dataset: `<dataset>/runs/<time>-<job>`."""
    started = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    return f"{open_store(dataset).uri}/runs/{started}-{job}-{os.getpid()}"


def scratch_run_folder(job: str) -> Path:
    """Of a job that only looks and leaves nothing behind in the dataset: one for each user, as /tmp is for all of them."""
    return Path(tempfile.gettempdir()) / f"rushes-{os.getuid()}" / job


def open_run(job: str, folder: Path | str, config_yaml: str) -> Run:
    """Make a run's folder, write its config, and send the logs of this process to its `log` file.

    The console stays for what a person reads: warnings of libraries go to the log, not to the screen.

    Args:
        folder: a path, or URI.
    """
    uri = str(folder)
    local = Path(tempfile.mkdtemp(prefix=f"rushes-{job}-")) if is_s3(uri) else Path(folder)
    local.mkdir(parents=True, exist_ok=True)
    (local / "config.yaml").write_text(config_yaml, encoding="utf-8")
    if is_s3(uri):
        store, prefix = _place(uri)
        store.put_new(f"{prefix}config.yaml", config_yaml.encode())  # even if the rest should never get there
    handler = _LogFile(local / "log", encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(LogFormatter())
    _log_to(handler)
    return Run(job, local, uri if is_s3(uri) else None)


class _LogFile(logging.FileHandler):
    """A log on a disk that may be full: then it is said once, where logging would print a traceback for every line."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Called by logging inside the exception that writing a line has raised."""
        if not getattr(self, "_said", False):
            self._said = True
            print(
                f"rushes: {self.baseFilename} can't be written ({sys.exception()}); going on without", file=sys.stderr
            )


def _place(uri: str) -> tuple[Store, str]:
    """The store that a run's folder is in, and how keys begin there: of its dataset, where `rushes clean` finds what is left."""
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
