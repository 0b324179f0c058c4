"""How soon `rushes --help` answers, against the floor of an empty Python, as medians of paired runs.

Goal: ≤ 0.5 s. `python -m benchmarks.startup [--runs 15]`
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measure.results_file import report

COMMANDS = {
    "python_s": [sys.executable, "-c", "pass"],
    "help_s": [str(Path(sys.prefix) / "bin" / "rushes"), "--help"],
    "job_help_s": [str(Path(sys.prefix) / "bin" / "rushes"), "train", "--help"],
    "wrong_key_s": [str(Path(sys.prefix) / "bin" / "rushes"), "train", "dataset=d", "out=o", "optm.lr=1"],
}


def seconds(command: list[str]) -> float:
    """Of one whole process."""
    start_s = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - start_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for run in range(arguments.runs + 1):  # the first warms the file cache
        for name, command in COMMANDS.items():
            elapsed_s = seconds(command)
            if run:
                times[name].append(elapsed_s)
    figures = {name: statistics.median(values) for name, values in times.items()}
    figures["help_over_python"] = statistics.median(
        h / p for h, p in zip(times["help_s"], times["python_s"], strict=True)
    )
    report("startup", figures)


if __name__ == "__main__":
    main()
