"""`python -m benchmarks <name> [option=value …]`: one benchmark, as `make bench BENCH=<name>` runs it."""

import runpy
import sys
from pathlib import Path

from pipelines.naming import did_you_mean


def names() -> list[str]:
    """Of all benchmarks."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))


def main() -> None:
    name, *sys.argv[1:] = sys.argv[1:] or [""]
    if name not in names():
        raise SystemExit(f"BENCH={name}: there is no such benchmark; {did_you_mean(name, names())}")
    runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
