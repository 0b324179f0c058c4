"""The house, read from the source: rooms, floors, and who imports whom.

In: the packages. Out: imports as modules and files; a picture for CONTRIBUTING.md.
"""

import ast
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipelines", "recaption", "model", "jobs", "conf")
# From the ground up; "" is what lies in the package itself. A folder imports what is before it in its
# package, and other packages as below.
FLOORS = {
    "pipelines": ("", "storage", "media", "sandbox", "vision", "shots", "scores", "dedup", "measure",
        "recipes", "cutting", "footage", "dataset", "batches"),
    "recaption": ("", "captioners"),
    "model": ("", "dit", "text", "vae", "flow", "checkpoint"),
    "jobs": (
        "cluster", "cli", "listing", "curation", "encoding", "training", "evaluation", "generation",
        "exporting", "upkeep", "sizing",
        "reporting/drawing", "reporting", "workflow", "",
    ),
    "conf": ("",),
}  # fmt: skip


def imports(path: Path) -> list[str]:
    """Modules that a file names in its import statements, wherever they stand: in a function or for a type
    checker, too."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names += [name if module_file(name) else node.module or "" for name in inner]
    return names


def module_file(name: str) -> Path | None:
    """Where a module of ours lies."""
    path = ROOT / name.replace(".", "/")
    return next((one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()), None)


def folder(path: Path) -> str:
    """Of a file of a package: `storage` of pipelines/storage/s3.py."""
    return "/".join(path.relative_to(ROOT).parts[1:-1])


def ours(package: str) -> dict[Path, set[Path]]:
    """The files of a package, and which files of it each imports."""
    files = {path: {module_file(name) for name in imports(path)} for path in (ROOT / package).rglob("*.py")}
    return {
        path: {other for other in others if other in files and other != path}
        for path, others in files.items()
    }


def picture() -> str:
    """A line for each room, the upper ones first: what it is for, and which rooms of its own package it
    stands on."""
    lines = ["```text"]
    for package in ("jobs", "recaption", "model", "pipelines"):
        edges = ours(package)
        for room in reversed(FLOORS[package]):
            files = [path for path in edges if folder(path) == room]
            below = {folder(other) for path in files for other in edges[path]} - {room}
            stands = ", ".join(name or "the ground" for name in FLOORS[package] if name in below)
            name = f"{package}/{room}".rstrip("/")
            what = ast.get_docstring(ast.parse((ROOT / name / "__init__.py").read_text())) or ""
            said = [" ".join(what.split("\n\n")[0].split())] + ([f"← {stands}"] if stands and room else [])
            text = [line for part in said for line in textwrap.wrap(part, 74)]
            lines += [f"{name if number == 0 else '':<24} {line}" for number, line in enumerate(text)]
        lines.append("")
    return "\n".join([*lines[:-1], "```"])


if __name__ == "__main__":
    print(picture())
