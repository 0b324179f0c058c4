"""Isolation of decoding processes with kernel features: Landlock or namespaces, and a seccomp filter.

In: what this kernel has, and in each process its own files. Out: a process that reaches these, its libraries,
and the pipes and the socket that it was handed; a line that says what the cell is made of. It has two parts:
the server that forks is kept from other processes and from the network, and each fork, before it looks at
anything foreign, from all the rest.
"""

import ctypes
import os
import subprocess
import sys
import sysconfig
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipelines.sandbox import call_filter, capabilities, landlock, namespaces

LANDLOCK, NAMESPACES, FILTER = "landlock", "namespaces", "filter"
_DAC = frozenset((capabilities.PASS_BY_MODES, capabilities.READ_ANY))
_SITE = ("site-packages", "dist-packages")
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
_STANDARD = (0, 1, 2)
_PR_SET_DUMPABLE = 4


@dataclass(frozen=True, slots=True)
class IsolationSupport:
    """The isolation features that this machine supports.

    Attributes:
        landlock: the version of it; 0 if there is none.
        namespaces: whether they take Landlock's place; never asked for where that is.
        filter: whether calls of the kernel can be filtered.
    """

    landlock: int
    namespaces: bool
    filter: bool

    @property
    def hides_files(self) -> bool:
        """Whether a process that decodes can be kept from files that are not its own."""
        return bool(self.landlock or self.namespaces)

    @property
    def is_complete(self) -> bool:
        """Whether it reaches nothing but what it was given."""
        return self.hides_files and self.filter

    @property
    def missing_protection(self) -> str:
        """What a compromised decoder could still do, as text; empty if isolation is complete."""
        could = ["could read the files of this user"] * (not self.hides_files)
        could += ["could send them elsewhere"] * (not self.filter)
        return f"a file that takes over its decoder {' and '.join(could)}" if could else ""

    def __str__(self) -> str:
        parts = [f"Landlock {self.landlock}"] if self.landlock else []
        parts += ["namespaces"] * self.namespaces + ["a filter of system calls"] * self.filter
        return " and ".join(parts) or "nothing"


def detect_support(disabled: Collection[str] = ()) -> IsolationSupport:
    """Detect the supported features, minus those that a test disables. Namespaces are probed in a separate
    process."""
    version = 0 if LANDLOCK in disabled else landlock.version()
    if version and _forgotten(Path("/")):  # all files would be a file's own
        version = 0
    instead = not version and NAMESPACES not in disabled and _namespaces_work()
    return IsolationSupport(version, instead, FILTER not in disabled and call_filter.is_supported())


@cache
def _namespaces_work() -> bool:
    if sys.platform != "linux" or os.uname().machine not in ("x86_64", "aarch64"):
        return False
    code = "from pipelines.sandbox.namespaces import enter; enter()"
    path = str(Path(__file__).parents[2])
    tried = subprocess.run(
        [sys.executable, "-P", "-c", code], env={"PYTHONPATH": path}, capture_output=True, check=False
    )
    return tried.returncode == 0


class Isolation:
    """The server's side, which has one thread; made before it loads anything.

    Args:
        have: what this machine has.
    """

    def __init__(self, support: IsolationSupport):
        self._have = support
        self._folders: dict[str, int] = {}
        if support.namespaces:
            namespaces.enter()  # what it takes to give forks their files is held until then
        else:
            # With Landlock they open no file but those that it was given, some of which only root may read.
            capabilities.drop_all_but(_DAC if support.landlock else {capabilities.READ_ANY})
        if support.landlock:
            landlock.restrict_outbound(support.landlock)
        if not support.hides_files:
            hide_memory()  # from its forks, and each fork's from the others
        if support.filter:
            call_filter.deny_outbound()

    def find_libraries(self) -> None:
        """In the server: know the folders of all that is loaded by now."""
        for folder in library_folders():
            if folder not in self._folders and os.path.isdir(folder):
                self._folders[folder] = os.open(folder, getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC)

    def lock_down(self, reads: Sequence[Path], writes: Path | None, keep: Iterable[int]) -> None:
        """Restrict this forked process to these files and handles.

        Args:
            reads: files; those that are not there are left out.
            writes: a folder in which it may make files.
            keep: handles of what it was handed; all others are closed, and what it prints is lost.

        Raises:
            OSError: the kernel does not do what it did for the server.
        """
        others = _handles() - set(keep)
        nothing = os.open(os.devnull, os.O_RDWR)
        for handle in _STANDARD:
            os.dup2(nothing, handle)
        os.close(nothing)
        if self._have.landlock:
            files = [opened for path in reads if (opened := _opened(path)) is not None]
            roots = [
                os.open(_root_of(path), os.O_PATH) for path in reads if path.is_file() and _forgotten(path)
            ]
            folder = None
            if writes is not None:
                folder = _opened(_root_of(writes) if _forgotten(writes) else writes)
            landlock.restrict_files(self._have.landlock, [*self._folders.values(), *roots], files, folder)
            others.update(files, roots, () if folder is None else (folder,))
        elif self._have.namespaces:
            there = [os.path.abspath(path) for path in reads if path.exists()]
            namespaces.restrict_files(
                self._folders, there, None if writes is None else os.path.abspath(writes)
            )
            capabilities.drop_all_but(_DAC)
        for handle in others:
            with suppress(OSError):  # that by which the handles were listed
                os.close(handle)
        if self._have.filter:
            call_filter.allow_decoding(os.getpid(), writes is not None)


def hide_memory() -> None:
    """Other processes of this user can neither trace this one nor read its memory, its environment or its
    figures of memory."""
    if sys.platform == "linux":
        zero = ctypes.c_ulong(0)
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, zero, zero, zero, zero)


def library_folders() -> list[str]:
    """Where code lies that a decoder may have to load late: nothing but code, never the working folder."""
    packages = [
        folder
        for name, module in list(sys.modules.items())
        if "." not in name
        for folder in getattr(module, "__path__", None) or ()
    ]
    site = [entry for entry in sys.path if Path(entry).name in _SITE]
    code = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *_SYSTEM, *site]
    found = dict.fromkeys(os.path.abspath(folder) for folder in code)
    for folder in packages:
        folder = os.path.abspath(folder)
        if not any(folder.startswith(f"{other}{os.sep}") for other in found):
            found[folder] = None
    return list(found)


def _handles() -> set[int]:
    """All that are open, but for the standard ones."""
    listed = os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")
    return {int(name) for name in listed} - set(_STANDARD)


def _forgotten(path: Path) -> bool:
    """Whether a rule about a file or folder would be about none that is opened later; then all of its file
    system is its own."""
    if (handle := _opened(path)) is None:
        return False
    try:
        return landlock.has_unstable_inodes(handle)
    finally:
        os.close(handle)


def _root_of(path: Path) -> Path:
    """The root folder of the file system that a file lies on."""
    path = path.resolve()
    device = path.stat().st_dev
    return next(
        folder
        for folder in (path, *path.parents)
        if folder == folder.parent or folder.parent.stat().st_dev != device
    )


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # who wants to read it will say so
        return None
