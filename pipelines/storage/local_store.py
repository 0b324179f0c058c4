"""A dataset in a folder of this machine: objects are files.

In and out: see `Store`. No link leads out of the folder.
"""

import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.durable import sync_file
from pipelines.fault_injection import kill_point
from pipelines.storage.base import Entry, check_bytes, checked_key, checked_prefix
from pipelines.storage.confined_folder import ConfinedFolder, FoundFile, StrayEntry
from pipelines.storage.handle_path import LeadsOutError

_SCRATCH, _SCRATCH_PREFIX = ".scratch", "rushes-"


_OF_SCRATCH = re.compile(r"(rushes-|tmp)[a-z0-9_]{8}")  # tmp: of earlier versions


_COPIED_BYTES = 4 * 1024**2


class LocalStore:
    """Objects are files under a folder. Publishing: temporary file, fsync, link (which never replaces).

    No link leads out: through one whose target is not beneath the folder nothing is read, written, listed or
    removed.

    Raises, whatever is asked: LeadsOutError, naming the link.
    """

    def __init__(self, root: Path):
        self.root = root.absolute()
        self.uri = str(self.root)
        self._beneath = ConfinedFolder(self.root)

    def put_new(self, key: str, content: bytes | Path) -> bool:
        checked_key(key)
        if self._beneath.exists(key):
            return False
        with self.scratch() as folder:
            file = folder / "object" if isinstance(content, bytes) else content
            if isinstance(content, bytes):
                file.write_bytes(content)
            elif (self.root / _SCRATCH) not in content.parents:
                file = Path(shutil.copyfile(content, folder / "object"))
            sync_file(file)
            kill_point("object:written")
            new = self._beneath.link(file, key)
            if new:
                kill_point("object:linked")
            return new

    def exists(self, key: str) -> bool:
        checked_key(key)
        return self._beneath.exists(key)

    def read(self, key: str, most_bytes: int | None = None) -> bytes:
        checked_key(key)
        with self._beneath.open(key) as file:
            check_bytes(key, self.uri, os.fstat(file.fileno()).st_size, most_bytes)
            return file.read()

    def read_range(self, key: str, offset: int, size: int) -> bytes:
        checked_key(key)
        with self._beneath.open(key) as file:
            there = max(os.fstat(file.fileno()).st_size - offset, 0)
            if min(offset, size) < 0:
                raise ValueError(f"{key} in {self.uri} has no offset {offset} and no size {size}")
            file.seek(offset)
            data = file.read(min(size, there))  # whoever says how much there is can be wrong by terabytes
        if len(data) != size:
            raise EOFError(
                f"{key} in {self.uri} ends {size - len(data)} bytes before offset {offset} + size {size}"
            )
        return data

    def fetch(self, key: str, path: Path) -> None:
        checked_key(key)
        with self._beneath.open(key) as file, path.open("wb") as out:
            shutil.copyfileobj(file, out, _COPIED_BYTES)

    def list(self, prefix: str) -> Iterator[str]:
        return (entry.key for entry in self.entries(prefix))

    def entries(self, prefix: str) -> Iterator[Entry]:
        found = (item for item in self._walk(prefix) if isinstance(item, FoundFile))
        for item in sorted(found, key=lambda item: item.key):
            yield Entry(item.key, item.size_bytes, item.modified_s, item.linked)

    def strays(self, prefix: str) -> Iterator[tuple[str, str]]:
        found = (item for item in self._walk(prefix) if isinstance(item, StrayEntry))
        yield from sorted((item.key, item.what) for item in found)

    def _walk(self, prefix: str) -> Iterator[FoundFile | StrayEntry]:
        inside = f"{_SCRATCH}/"
        return (
            item
            for item in self._beneath.walk(checked_prefix(prefix))
            if not f"{item.key}/".startswith(inside)
        )

    def delete(self, key: str) -> None:
        checked_key(key)
        self._beneath.remove(key)

    def new_folder(self, key: str, mode: int = 0o777) -> Path:
        """A folder that was not there, for files that are written one by one.

        Raises:
            FileExistsError: something is there.
        """
        checked_key(key)
        return self._beneath.make_folder(key, mode)

    def abandoned(self, older_than_s: float) -> Iterator[Entry]:
        before = time.time() - older_than_s
        for name, entry in self._in_scratch():
            if _OF_SCRATCH.fullmatch(name) and entry is not None and entry.modified_s < before:
                yield entry

    def stray_scratch(self) -> Iterator[str]:
        return (
            f"{_SCRATCH}/{name}"
            for name, entry in self._in_scratch()
            if entry is None or not _OF_SCRATCH.fullmatch(name)
        )

    def _in_scratch(self) -> Iterator[tuple[str, Entry | None]]:
        """What lies in there by its name; with None what is no folder, or has another disk in it."""
        try:
            names = self._beneath.names(_SCRATCH)
        except (FileNotFoundError, NotADirectoryError, LeadsOutError):
            return
        for name in sorted(names):
            try:
                about = self._beneath.tree(f"{_SCRATCH}/{name}")
            except FileNotFoundError:  # its owner lives and tidies up
                continue
            yield name, about and Entry(f"{_SCRATCH}/{name}", *about)

    def discard(self, entry: Entry) -> None:
        folder, _, name = entry.key.partition("/")
        assert folder == _SCRATCH, f"{entry.key} is no abandoned work"
        assert _OF_SCRATCH.fullmatch(name), f"{entry.key} is no abandoned work"
        self._beneath.remove_tree(entry.key)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        key = f"{_SCRATCH}/{_SCRATCH_PREFIX}{secrets.token_hex(4)}"
        try:
            yield self._beneath.make_folder(key, 0o700)
        finally:
            self._beneath.remove_tree(key)


def prove_room(folder: Path, size_bytes: int = 64 * 1024**2) -> None:
    """Write so many bytes, and throw them away: whether a disk is full is not taken from a process that a
    file may have taken over.

    Raises:
        OSError: they can't be written.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for _ in range(0, size_bytes, 1024**2):
                file.write(bytes(1024**2))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
