"""A cache of remote files, one per machine: the first process fetches a file, all processes use it, and it is
evicted when space is needed.

In: what names a file's content, its size, and a function that fetches it. Out: a local path that stays for as
long as it is held. The folder has a size limit; files that are not in use are evicted, least recently used
first. A process marks a file as in use with a lock that ends with the process.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.durable import sync_file
from pipelines.errors import MediaError, PlaceError, Reason, is_host_error
from pipelines.ids import hash_text
from pipelines.private import private_folder

_MOST_BYTES = 16 * 1024**3
_MOST_SHARE = 0.1  # of what is free on the disk without it
_PART, _LOCK = ".part", ".lock"
# the hash of what it is, and the ending of a file of media
_FETCHED = re.compile(r"[0-9a-f]{32}(\.[a-z0-9]{1,8})?")


class FootageCache:
    """A folder of fetched files."""

    def __init__(self, folder: Path, most_bytes: int = _MOST_BYTES):
        """most_bytes: kept at most, besides what is held. Raises PermissionError if the folder is not ours
        alone."""
        self._folder, self._most_bytes = private_folder(folder), most_bytes

    @contextmanager
    def lease(
        self, name: str, size_bytes: int, fetch: Callable[[Path], None], suffix: str = ""
    ) -> Iterator[Path]:
        """A file for the length of a block.

        Args:
            name: of its content: another content, another name.
            fetch: writes it to a path.
            suffix: of the local file's name.

        Raises:
            MediaError: missing, if it is larger than the room for it, or can't be kept.
            PlaceError: the disk takes no more, whatever it is.
        """
        path = self._folder / (hash_text(name) + suffix)
        try:
            while (handle := _hold(path)) is None:
                self._fetch(path, size_bytes, fetch)
        except OSError as error:
            if is_host_error(error):  # such as a disk that others have filled
                raise PlaceError(
                    error.errno, f"{error.strerror}; set TMPDIR to a folder with room", str(path)
                ) from error
            raise MediaError(
                Reason.MISSING, f"it can't be kept in {self._folder}: {error.strerror or error}; set TMPDIR"
            ) from error
        try:
            os.utime(path)
            yield path
        finally:
            os.close(handle)

    def _fetch(self, path: Path, size_bytes: int, fetch: Callable[[Path], None]) -> None:
        with _locked(self._lock_of(path)):
            if path.exists():  # by another, while this one waited
                return
            self._make_room(size_bytes)
            part = path.with_name(path.name + _PART)
            part.unlink(missing_ok=True)  # of one who was killed
            try:
                fetch(part)
                got = part.stat().st_size
                if got != size_bytes:
                    raise MediaError(Reason.MISSING, f"{got} of {size_bytes} bytes came")
                sync_file(part)  # a name that says what is in it must not outlive its bytes
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)

    def _lock_of(self, path: Path) -> Path:
        return self._folder / f"{path.name[:2]}{_LOCK}"  # a few for all, so that they need not be thrown away

    def _make_room(self, size_bytes: int) -> None:
        files = []
        for path in self._folder.iterdir():
            if _FETCHED.fullmatch(path.name):  # nothing else is ours
                with suppress(FileNotFoundError):  # another process makes room, too
                    files.append((path.lstat(), path))
        used = sum(stat.st_size for stat, _ in files)
        most = min(self._most_bytes, _MOST_SHARE * (shutil.disk_usage(self._folder).free + used))
        for stat, path in sorted(files, key=lambda file: file[0].st_mtime_ns):
            if used + size_bytes <= most:
                break
            if _remove_unless_held(path):
                used -= stat.st_size
        for part in self._folder.glob(f"*{_PART}"):
            if _FETCHED.fullmatch(part.name.removesuffix(_PART)):
                self._remove_abandoned(part)
        free = shutil.disk_usage(self._folder).free
        if free < size_bytes:
            raise MediaError(
                Reason.MISSING,
                f"its {size_bytes} bytes don't fit into {self._folder}, where {free} are free; set TMPDIR",
            )

    def _remove_abandoned(self, part: Path) -> None:
        """What a killed process left half fetched."""
        with _locked(self._lock_of(part), wait=False) as alone:
            if alone:
                part.unlink(missing_ok=True)


def node_cache() -> FootageCache:
    """This machine's, for this user, in the folder for temporary files (TMPDIR).

    Raises:
        PermissionError: others have access to it.
    """
    return FootageCache(Path(tempfile.gettempdir()) / f"rushes-footage-{os.getuid()}")


def _hold(path: Path) -> int | None:
    """A handle whose lock keeps the file from being removed; None if there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    fcntl.flock(handle, fcntl.LOCK_SH)
    try:
        if os.path.samestat(os.fstat(handle), path.stat()):
            return handle
    except FileNotFoundError:  # removed before the lock was had
        pass
    os.close(handle)
    return None


def _remove_unless_held(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return True
    except OSError:  # a link: not ours
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


@contextmanager
def _locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Alone with a lock's file; False if another is, and one doesn't want to wait."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            alone = True
        except BlockingIOError:
            alone = False
        yield alone
    finally:
        os.close(handle)
