"""The house: who may import whom, read from the source."""

import ast
import re
from pathlib import Path

import pytest

from jobs.cli.registry import JOBS
from tests.support.house import FLOORS, PACKAGES, ROOT, folder, imports, ours, picture

MOST_FILES = 20
# Registries, of which each file is an entry.
OF_ONE_KIND = {"jobs", "pipelines/scores", "benchmarks/attacks", "benchmarks"}
MAY_IMPORT = {
    "pipelines": {"pipelines"},
    "model": {"model"},
    "recaption": {"recaption", "pipelines"},
    "conf": {"conf", "pipelines", "recaption", "model"},
    "jobs": set(PACKAGES),
}
# recaption reads clips, it doesn't curate them: records, media and the ground beneath them are all it may
# take
RECAPTION_MAY_USE = (
    "pipelines.records", "pipelines.media", "pipelines.vision", "pipelines.errors", "pipelines.ids",
    "pipelines.precision", "pipelines.naming",
)  # fmt: skip


@pytest.mark.parametrize("package", PACKAGES)
def test_folders_import_only_what_is_below_them(package):
    floors = FLOORS[package]
    for path, others in ours(package).items():
        assert folder(path) in floors, f"{path.relative_to(ROOT)} lies in no room of tests/test_house.py"
        for other in others:
            below = floors.index(folder(other)) <= floors.index(folder(path))
            assert below, f"{path.relative_to(ROOT)} imports {other.relative_to(ROOT)}, which is above it"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_imports_go_round_in_a_circle(package):
    edges = ours(package)
    while edges:  # what imports nothing that is left goes; a circle stays
        ground = {path for path, others in edges.items() if not others}
        assert ground, f"a circle among {sorted(str(path.relative_to(ROOT)) for path in edges)}"
        edges = {path: others - ground for path, others in edges.items() if path not in ground}


def test_no_command_imports_a_command():
    doors = [path for path in ours("jobs") if folder(path) == "" and path.name != "__init__.py"]
    assert {path.stem for path in doors} == {name.replace("-", "_") for name in JOBS}
    for path in doors:
        for other in ours("jobs")[path]:
            assert other not in doors, f"{path.name} imports {other.name}"


def test_no_room_is_crowded():
    for top in (*PACKAGES, "benchmarks", "tests"):
        for room in {path.parent for path in (ROOT / top).rglob("*.py")}:
            name, count = room.relative_to(ROOT).as_posix(), len(list(room.glob("*.py")))
            assert count <= MOST_FILES or name in OF_ONE_KIND, f"{name} has {count} files"


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


def test_the_tables_of_a_dataset_are_read_through_one_door():
    """Who opens a table's file holds on to how the dataset is divided into files, and who asks for all rows
    needs a machine that holds them: deciding alone compares every clip with every other."""
    opens = {
        "pipelines/storage/parquet.py",
        "pipelines/dataset/table_stream.py",
        "pipelines/dataset/stages.py",  # finished work, which is no table of the dataset
        "pipelines/dataset/latents.py",  # nor is the index of latents
        "pipelines/footage/list_file.py",  # a list of footage, which a user wrote
        "jobs/curation/commit.py",  # writes them
    }
    holds_all = {"jobs/curation/commit.py", "jobs/reporting/index.py"}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name, source = path.relative_to(ROOT).as_posix(), path.read_text()
            reads = {"pipelines.storage.parquet", "pyarrow.parquet"} & set(imports(path))
            assert not reads or name in opens, f"{name} opens parquet itself; read through Dataset"
            assert ").table()" not in source or name in holds_all, f"{name} holds all rows of a table"


def test_tests_of_the_product_need_no_benchmark():
    for path in (ROOT / "tests").rglob("*.py"):
        if path.is_relative_to(ROOT / "tests/benchmarks"):
            continue
        for name in imports(path):
            assert name.split(".")[0] != "benchmarks", f"{path.relative_to(ROOT)} imports {name}"


def test_model_knows_no_ray_deepspeed_or_hydra():
    for path in (ROOT / "model").rglob("*.py"):
        for name in imports(path):
            assert name.split(".")[0] not in ("ray", "deepspeed", "hydra", "omegaconf"), (
                f"{path.relative_to(ROOT)} imports {name}"
            )


def test_what_is_printed_passes_the_guard():
    """Names and texts of others reach the terminal through `sys.stdout` and `sys.stderr` only, which
    `jobs.cli.terminal_text` guards."""
    past = re.compile(r"sys\.__std|std(out|err)\.buffer|os\.write\(|\braw_stream\(|Console\(")
    # a bar is drawn with commands; what it is given is shown
    drawing = {"jobs/cli/progress.py", "jobs/cli/terminal_text.py"}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            assert name in drawing or package != "jobs" or not past.search(path.read_text()), (
                f"{name} writes past it"
            )
            assert package == "jobs" or "print" not in calls(path), f"{name} prints, which is for jobs"


def calls(path: Path) -> set[str]:
    """Names of functions that a file calls by their name alone."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def test_the_picture_of_the_house_is_of_this_house():
    told = (ROOT / "CONTRIBUTING.md").read_text()
    assert picture() in told, "python -m tests.support.house prints it anew, for CONTRIBUTING.md"
