"""The house: who may import whom, read from the source."""

import ast
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
