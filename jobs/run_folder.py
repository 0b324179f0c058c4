"""Where one run of a job keeps its config, log and results, and how it speaks to the person who started it.

In: a folder and the composed config. Out: config.yaml, log, metrics.json in that folder; few lines on the console.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.store import local_path

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one job."""

    job: str
    folder: Path

    @property
    def log(self) -> Path:
        """Where everything that isn't on the console is written."""
        return self.folder / "log"

    def say(self, text: str) -> None:
        """One line for the person at the console, kept in the log too."""
        print(text, flush=True)
        logging.getLogger(f"rushes.{self.job}").info(text)

    def write_json(self, name: str, value: Any) -> Path:
        """Write a result file of the run, whole or not at all."""
        path = self.folder / name
        temporary = path.with_name(f".{name}.{os.getpid()}")
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
        temporary.replace(path)
        return path


def new_run_folder(dataset: str, job: str) -> Path:
    """A folder of its own for one run of a job on a dataset: `<dataset>/runs/<time>-<job>`."""
    started = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    return local_path(dataset, what="dataset") / "runs" / f"{started}-{job}-{os.getpid()}"


def scratch_run_folder(job: str) -> Path:
    """Of a job that only looks and leaves nothing behind in the dataset: one for each user, as /tmp is for all of them."""
    return Path(tempfile.gettempdir()) / f"rushes-{os.getuid()}" / job


def open_run(job: str, folder: Path, config_yaml: str) -> Run:
    """Make a run's folder, write its config, and send the logs of this process to its `log` file.

    The console stays for what a person reads: warnings of libraries go to the log, not to the screen.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(config_yaml)
    handler = logging.FileHandler(folder / "log")
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    return Run(job=job, folder=folder)
