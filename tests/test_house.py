"""The house: who may import whom, read from the source."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pipelines", "recaption", "model", "jobs", "conf")
MAY_IMPORT = {
    "pipelines": {"pipelines"},
    "model": {"model"},
    "recaption": {"recaption", "pipelines"},
    "conf": {"conf", "pipelines", "recaption", "model"},
    "jobs": set(PACKAGES),
}
# recaption reads clips, it doesn't curate them: records, media and the ground beneath them are all it may take
RECAPTION_MAY_USE = ("pipelines.records", "pipelines.media", "pipelines.errors", "pipelines.ids", "pipelines.precision")


def imports(path: Path) -> list[str]:
    """Modules that a file names in its import statements, wherever they stand."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.append(node.module or "")
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_is_below_them(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        for name in imports(path):
            top = name.split(".")[0]
            if top not in PACKAGES:
                continue
            assert top in MAY_IMPORT[package], f"{path.relative_to(ROOT)} imports {name}"
            if package == "recaption" and top == "pipelines":
                assert name.startswith(RECAPTION_MAY_USE), f"{path.relative_to(ROOT)} imports {name}"


def test_model_knows_no_ray_deepspeed_or_hydra():
    for path in (ROOT / "model").rglob("*.py"):
        for name in imports(path):
            assert name.split(".")[0] not in ("ray", "deepspeed", "hydra", "omegaconf"), (
                f"{path.relative_to(ROOT)} imports {name}"
            )


def test_what_is_printed_passes_the_guard():
    """Names and texts of others reach the terminal through `sys.stdout` and `sys.stderr` only, which `jobs.cli.shown` guards."""
    past = re.compile(r"sys\.__std|std(out|err)\.buffer|os\.write\(|\bunguarded\(|Console\(")
    drawing = {"jobs/cli/progress.py", "jobs/cli/shown.py"}  # a bar is drawn with commands; what it is given is shown
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            assert name in drawing or package != "jobs" or not past.search(path.read_text()), f"{name} writes past it"
            assert package == "jobs" or "print" not in calls(path), f"{name} prints, which is for jobs"


def calls(path: Path) -> set[str]:
    """Names of functions that a file calls by their name alone."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
