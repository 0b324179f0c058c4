"""Limits for untrusted files, checked before they are parsed: JSON files and the headers of safetensors
files.

In: bytes, and what they are called. Out: the JSON's value, or nothing; or one line that says which bound was
passed. Tables are `table_bounds`' matter. `model.untrusted` holds the same for folders of weights: the two
packages know nothing of each other. A bound is far above anything real and far below what takes seconds or
gigabytes.
"""

import json
import math
import stat
from pathlib import Path
from typing import Any, BinaryIO

JSON_BYTES = 16 * 2**20
"""Of a record or a config."""
MANIFEST_BYTES = 64 * 2**20
"""Of a manifest: three hundred bytes a shard, a thousand clips each. It holds two hundred million clips."""
TABLE_BYTES = 16 * 2**30
"""Of one file of a table: some hundred bytes a clip, so ten million clips have a few GB."""
TOKENIZER_BYTES = 128 * 2**20
"""Of a vocabulary. Those of 262 thousand words have 35 MB."""
HEAD_BYTES = 16 * 2**20
"""Of the head of a safetensors file: about a hundred bytes a tensor."""
MAX_TENSORS = 100_000
"""In one file: a clip has a dozen, a state of training some thousand."""
MAX_VALUES = 4_000_000
"""In one JSON: an empty list costs three bytes there, and sixty-four in memory."""
MAX_DEPTH = 64
"""Of JSON within JSON. Ours has less than ten."""
_MOST_INT = 10**40


def parse_json(
    data: bytes, where: str, most_bytes: int = JSON_BYTES, most_values: int = MAX_VALUES, finite: bool = True
) -> Any:
    """The value in bytes of JSON. No whole number in it has more than forty digits.

    Args:
        where: what the bytes are, for errors.
        finite: all numbers must be. Without it who reads them looks: a loss may be NaN, a bound infinite.

    Raises:
        ValueError: they are more, deeper or fuller than they may be, or not JSON.
    """
    if len(data) > most_bytes:
        raise ValueError(
            f"{where} has {len(data):,} bytes, and at most {most_bytes:,} are read of a file of its kind"
        )
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > most_values:
        raise ValueError(
            f"{where} holds more than {most_values:,} values; nothing real does, so it is not read"
        )
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError(
            f"{where} is nested more than {MAX_DEPTH} deep; nothing real is, so it is not read"
        ) from None
    except ValueError as error:
        raise ValueError(
            f"{where} is damaged: it is not JSON ({str(error).splitlines()[0][:200]}); was it edited or cut "
            "off?"
        ) from error
    _check(value, where, finite)
    return value


def parse_object(
    data: bytes, where: str, most_bytes: int = JSON_BYTES, most_values: int = MAX_VALUES, finite: bool = True
) -> dict[str, Any]:
    """The same, of what must be an object.

    Raises:
        ValueError: as `parse_json`, or it is something else.
    """
    value = parse_json(data, where, most_bytes, most_values, finite)
    if not isinstance(value, dict):
        raise ValueError(f"{where} is damaged: it holds no object ({{…}}) but a {type(value).__name__}")
    return value


def read_object(
    path: Path, most_bytes: int = JSON_BYTES, most_values: int = MAX_VALUES, finite: bool = True
) -> dict[str, Any]:
    """The object in a local file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as `parse_object`, or it is no regular file: a pipe would be waited for.
    """
    with _opened(path) as file:
        return parse_object(file.read(most_bytes + 1), str(path), most_bytes, most_values, finite)


def check_safetensors_header(start: bytes, where: str) -> None:
    """Check the size limits of a safetensors header. Its content is validated by the safetensors package.

    Args:
        start: the file, or its beginning with the head.

    Raises:
        ValueError: its head is larger than one may be, or names more tensors.
    """
    length = int.from_bytes(start[:8], "little")
    if length > HEAD_BYTES:
        raise ValueError(
            f"{where} is not a safetensors file that is read: its head would have {length:,} bytes, and at "
            f"most {HEAD_BYTES:,} are taken; was it cut off?"
        )
    count = start.count(b'"dtype"', 8, 8 + length)
    if count > MAX_TENSORS:
        raise ValueError(f"{where} names {count:,} tensors, and at most {MAX_TENSORS:,} are read of a file")


def check_safetensors_file(path: Path) -> None:
    """The same of a local file. Raises FileNotFoundError, ValueError."""
    with _opened(path) as file:
        length = file.read(8)
        check_safetensors_header(
            length + file.read(min(int.from_bytes(length, "little"), HEAD_BYTES)), str(path)
        )


def _opened(path: Path) -> BinaryIO:
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path} is no regular file, so it is not read")
    return path.open("rb")


def _check(value: Any, where: str, finite: bool) -> None:
    """Depth and numbers, without recursion: what is judged may be deeper than Python goes."""
    level, depth = [value], 0
    while level:
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
            elif finite and isinstance(one, float) and not math.isfinite(one):
                raise ValueError(f"{where} holds the number {one}; all numbers must be finite")
            elif isinstance(one, int) and not -_MOST_INT <= one <= _MOST_INT:
                raise ValueError(f"{where} holds a whole number of more than forty digits")
        level, depth = inner, depth + 1
        if depth > MAX_DEPTH + 1:
            raise ValueError(
                f"{where} is nested more than {MAX_DEPTH} deep; nothing real is, so it is not read"
            )
