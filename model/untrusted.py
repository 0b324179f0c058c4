"""Limits for untrusted files, checked before they are parsed: JSON files and the headers of safetensors
files.

In: a path. Out: the JSON's value, or nothing; or one line that says which bound was passed.
`pipelines.untrusted` holds the same for what a dataset is made of: the two packages know nothing of each
other. A bound is far above anything real and far below what takes seconds or gigabytes, so that a file made
to be a burden costs no more than its reading.
"""

import json
import math
import stat
from pathlib import Path
from typing import Any

JSON_BYTES = 16 * 2**20
"""Of a config or an index of weights. The largest known index (91 thousand tensors in 163 files) has 9 MB."""
TOKENIZER_BYTES = 128 * 2**20
"""Of a vocabulary. Those of 262 thousand words have 35 MB."""
HEAD_BYTES = 16 * 2**20
"""Of the head of a safetensors file: about a hundred bytes a tensor. The package itself takes 100 MB."""
MAX_TENSORS = 100_000
"""In one file. A network of 14 billion parameters has a thousand, one of mixed experts some ten thousand."""
MAX_VALUES = 4_000_000
"""In one JSON: an empty list costs three bytes there, and sixty-four in memory."""
MAX_DEPTH = 64
"""Of JSON within JSON. Ours and those of transformers, diffusers and peft have less than ten."""
# a tokenizer without a limit says 10**30; Python takes seconds to print what has a million digits
_MOST_INT = 10**40


def read_json(path: Path, most_bytes: int = JSON_BYTES, finite: bool = True) -> Any:
    """The value in a file of JSON. No whole number in it has more than forty digits.

    Args:
        finite: all numbers must be. Without it who reads them looks: a loss may be NaN.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no regular file, larger, deeper or fuller than it may be, or not JSON.
    """
    data = read_bytes(path, most_bytes)
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise ValueError(
            f"{path} holds more than {MAX_VALUES:,} values; nothing real does, so it is not read"
        )
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError(
            f"{path} is nested more than {MAX_DEPTH} deep; nothing real is, so it is not read"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({_short(error)}); was it edited or cut off?") from error
    _check(value, path, finite)
    return value


def read_object(path: Path, most_bytes: int = JSON_BYTES, finite: bool = True) -> dict[str, Any]:
    """The same, of a file that must hold an object.

    Raises:
        FileNotFoundError, ValueError: as `read_json`, or it holds something else.
    """
    value = read_json(path, most_bytes, finite)
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds no object ({{…}}) but a {type(value).__name__}; was it edited?")
    return value


def read_bytes(path: Path, most_bytes: int) -> bytes:
    """A file's bytes, if they are not too many.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no regular file, or larger.
    """
    check_size(path, most_bytes)
    with path.open("rb") as file:
        return file.read(most_bytes)


def check_size(path: Path, most_bytes: float = math.inf) -> None:
    """Raises ValueError for what is no regular file (a pipe would be waited for), or is larger;
    FileNotFoundError."""
    told = path.stat()
    if not stat.S_ISREG(told.st_mode):
        raise ValueError(f"{path} is no regular file, so it is not read")
    if told.st_size > most_bytes:
        raise ValueError(
            f"{path} has {told.st_size:,} bytes, and at most {most_bytes:,} are read of a file of its kind"
        )


def check_safetensors_header(path: Path) -> None:
    """Whether the head of a safetensors file may be parsed. What it says is for the package to check.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no regular file, its head is larger than the file or than a head may be, or names
        more tensors.
    """
    check_size(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > HEAD_BYTES:
            raise ValueError(
                f"{path} is not a safetensors file that is read: its head would have {length:,} bytes, and "
                f"at most {HEAD_BYTES:,} are taken; was it cut off?"
            )
        count = file.read(length).count(b'"dtype"')
    if count > MAX_TENSORS:
        raise ValueError(f"{path} names {count:,} tensors, and at most {MAX_TENSORS:,} are read of a file")


def _check(value: Any, path: Path, finite: bool) -> None:
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
                raise ValueError(f"{path} holds the number {one}; all numbers must be finite")
            elif isinstance(one, int) and not -_MOST_INT <= one <= _MOST_INT:
                raise ValueError(f"{path} holds a whole number of more than forty digits")
        level, depth = inner, depth + 1
        if depth > MAX_DEPTH + 1:
            raise ValueError(
                f"{path} is nested more than {MAX_DEPTH} deep; nothing real is, so it is not read"
            )


def _short(error: ValueError) -> str:
    return str(error).splitlines()[0][:200]
