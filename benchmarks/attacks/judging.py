"""What an attack must not bring about, and how that is seen from outside: files, texts, ways to end.

In: what commands said and wrote, and how a folder was before. Out: harms, in words. Pure but for reading
files.
"""

import base64
import hashlib
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

RAN_CODE, LEAKED, ESCAPED, HUNG, TRACEBACK = "ran_code", "leaked", "escaped", "hung", "tracebacks"
UNMET = "unmet"  # none of these, and not as it should be all the same
KINDS = (RAN_CODE, LEAKED, ESCAPED, HUNG, TRACEBACK, UNMET)

RIGHT_ENDS = (0, 1, 2, 130)
_MOST_READ = 256 * 1024**2  # of a file: more of it no command here writes
_MOST_CELLS = 1 << 30  # rows times bytes of a table that is looked into
_HASHED = 4 * 1024**2
# C0 but tab and line feed, DEL, C1, and what turns the direction of writing or breaks lines.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\udc80-\udc9f]"
)


@dataclass(frozen=True, slots=True)
class Harm:
    """What a case brought about, of one of `KINDS`."""

    case: str
    kind: str
    how: str


def spellings(secret: str) -> tuple[bytes, ...]:
    """The ways in which a secret may stand in a file or a message: as it is, in UTF-16, in hexadecimal, in
    Base64 at any place."""
    plain = secret.encode()
    coded = []
    for before in range(3):
        text = base64.b64encode(b"\0" * before + plain).decode()
        first = -(-before * 8 // 6)
        coded.append(text[first : (before + len(plain)) * 8 // 6].encode())
    return (plain, secret.encode("utf-16-le"), plain.hex().encode(), *coded)


def told(data: bytes, secrets: Mapping[str, str]) -> list[str]:
    """Which secrets stand in bytes, by where they were planted.

    Args:
        secrets: where each was planted, by the secret.
    """
    return [
        where for secret, where in secrets.items() if any(spelling in data for spelling in spellings(secret))
    ]


def holders(
    folder: Path, secrets: Mapping[str, str], apart: Collection[Path] = ()
) -> Iterator[tuple[Path, str]]:
    """Files below a folder in which a secret stands, and which. Links are not followed.

    Args:
        apart: files and folders that are not looked into: the secrets were planted there.
    """
    for path in walk(folder):
        if any(path == one or one in path.parents for one in apart):
            continue
        if secrets_named := told(os.fsencode(path.name), secrets):
            yield from ((path, where) for where in secrets_named)
        if path.is_symlink() or not path.is_file():
            continue
        try:
            with path.open("rb") as file:
                data = file.read(_MOST_READ)
        except OSError:  # it has gone
            continue
        data += _cells(data) if data[:4] == b"PAR1" else b""
        yield from ((path, where) for where in told(data, secrets))


def _cells(data: bytes) -> bytes:
    """The texts of a parquet file, which are compressed in it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False)
        about = file.metadata
        held = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
        if about.num_rows * held > _MOST_CELLS:  # a bomb of ours: one text may be meant in each of its rows
            return b""
        return str(file.read(use_threads=False).to_pylist()).encode(errors="surrogateescape")
    except (pa.ArrowException, OSError, ValueError):  # a hostile one, which is no table
        return b""


def walk(folder: Path) -> Iterator[Path]:
    """All below a folder, without following links."""
    for base, folders, files in os.walk(folder):
        yield from (Path(base, name) for name in (*folders, *files))


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    """What each thing below a folder is: kind and rights, owner, length, time of its last change, and its
    content or aim."""
    return {str(path): _state(path) for path in (folder, *walk(folder))}


def _state(path: Path) -> tuple[object, ...]:
    try:
        about = path.lstat()
    except OSError as error:
        return (error.strerror,)
    content = ""
    if stat.S_ISLNK(about.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(about.st_mode) and about.st_size <= _HASHED:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    return (about.st_mode, about.st_uid, about.st_size, about.st_mtime_ns, content)


def changes(before: Mapping[str, tuple[object, ...]], after: Mapping[str, tuple[object, ...]]) -> list[str]:
    """What was made, deleted or changed between two snapshots."""
    made = [f"made {path}" for path in after.keys() - before.keys()]
    gone = [f"deleted {path}" for path in before.keys() - after.keys()]
    other = [f"changed {path}" for path in before.keys() & after.keys() if before[path] != after[path]]
    return sorted([*gone, *made, *other])


def raw_controls(text: str) -> list[str]:
    """Control characters in what a command said, that a terminal would obey; progress may go back to the
    start of its line."""
    return sorted({f"U+{ord(found[0]):04X}" for found in _CONTROLS.findall(text.replace("\r\n", "\n"))})


def ends_badly(code: int | None, said: str) -> str | None:
    """Why an end is none of those that the command promises; None if it is one."""
    if "Traceback (most recent call last)" in said:
        return f"a traceback (exit code {code})"
    if code is not None and code not in RIGHT_ENDS:
        return f"ended by signal {-code}" if code < 0 else f"exit code {code}"
    return None


def last_line(text: str) -> str:
    """Of what a command said, for a report."""
    lines = [line for line in text.splitlines() if line.strip()]
    return ascii(lines[-1])[1:-1][:300] if lines else ""


def tally(harms: Iterable[Harm]) -> dict[str, int]:
    """Cases by kind of harm, a case counted once for each."""
    pairs = {(harm.case, harm.kind) for harm in harms}
    return {kind: sum(one == kind for _, one in pairs) for kind in KINDS}
