"""A state as one safetensors file, or as several with an index, as the Hugging Face hub names them.

In: tensors by name. Out: `model.safetensors`, or `model-00001-of-00003.safetensors` … and
`model.safetensors.index.json`, and from either the tensors again, one at a time. A folder never names missing
files: the index is written after its shards, and removed before a shard is replaced.
"""

import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.untrusted import check_safetensors_header, read_json

SHARD_BYTES = 5_000_000_000
Shape = tuple[int, ...]


def write_state(folder: Path, file: str, state: Mapping[str, Tensor], shard_bytes: int = SHARD_BYTES) -> None:
    """Write a state in place of what was there under this name, whether that was one file or several.

    Every file is written under a temporary name, and on the disk, before the first is renamed. Killed before
    the renaming, the old state is still whole; killed during it, the folder has no state, and a reader says
    so. No reader finds parts of two. A copy of no more than one shard is in memory at a time.

    Args:
        file: the name where one file is enough, like 'model.safetensors'; names of shards and index follow
        from it.
        shard_bytes: the most that one file holds, but a tensor is never divided.

    Raises:
        ValueError: for a limit below 1 byte, or no tensors.
    """
    if shard_bytes < 1 or not state:
        raise ValueError(
            f"{folder / file}: {len(state)} tensors in files of {shard_bytes} bytes; give at least 1 of each"
        )
    shards = split(state, shard_bytes)
    stem, index = file.removesuffix(".safetensors"), folder / f"{file}.index.json"
    names = [f"{stem}-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    names = [file] if len(shards) == 1 else names
    ours = re.escape(stem) + r"(-\d{5}-of-\d{5})?\.safetensors"
    _remove(folder, rf"\.{ours}\.([0-9]+|[0-9a-f]{{16}})")  # what a killed save left
    written: dict[Path, Path] = {}
    try:
        for name, keys in zip(names, shards, strict=True):
            written[folder / name] = _temporary(folder / name)
            # clone: no shared memory
            tensors = {key: state[key].detach().cpu().contiguous().clone() for key in keys}
            write_tensors(written[folder / name], tensors)
            _sync(written[folder / name])
        index.unlink(missing_ok=True)
        if len(shards) > 1:
            (folder / file).unlink(missing_ok=True)
        for final, temporary in written.items():
            os.replace(temporary, final)
        _sync(folder)
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)
    if len(shards) > 1:
        size = sum(_size(tensor) for tensor in state.values())
        places = {key: name for name, keys in zip(names, shards, strict=True) for key in keys}
        text = (
            json.dumps({"metadata": {"total_size": size}, "weight_map": places}, indent=2, sort_keys=True)
            + "\n"
        )
        atomic_write(index, lambda path: path.write_text(text, encoding="utf-8"))
    _remove(folder, ours, keep=names)


def split(state: Mapping[str, Tensor], shard_bytes: int) -> list[list[str]]:
    """Which names share a file: in their order, a new file where the next tensor would be too much."""
    shards: list[list[str]] = [[]]
    held = 0
    for name, tensor in state.items():
        if shards[-1] and held + _size(tensor) > shard_bytes:
            shards.append([])
            held = 0
        shards[-1].append(name)
        held += _size(tensor)
    return shards


def state_files(folder: Path, file: str) -> tuple[str, ...]:
    """The names of the files that hold a state: the one, or the index and what it names.

    Raises:
        FileNotFoundError: there is neither, or a file that the index names is not there.
        ValueError: the index is none.
    """
    index = folder / f"{file}.index.json"
    if not index.is_file():
        if (folder / file).is_file():
            return (file,)
        raise FileNotFoundError(f"no weights in '{folder}': it has no {file} and no {index.name}")
    names = tuple(sorted(set(_places(index).values())))
    for name in names:
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{index} names {name}, which is not there; was the folder copied in full?"
            )
    return (index.name, *names)


def state_shapes(folder: Path, file: str) -> dict[str, Shape]:
    """The shape of every tensor, from the files' heads alone. Raises as `read_state`."""
    return dict(_each(folder, file, "cpu", lambda part, name: tuple(part.get_slice(name).get_shape())))


def read_state(
    folder: Path, file: str, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """The tensors of a state on a device, as `dtype` if given. There is never more than one of them twice.

    Raises:
        FileNotFoundError: as `state_files`.
        ValueError: a file can't be read, or holds other tensors than the index says.
    """
    return dict(_each(folder, file, device, lambda part, name: part.get_tensor(name).to(dtype=dtype)))


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file with the rights that the umask gives any new one: the package itself writes for the
    owner alone."""
    path.touch()
    rights = path.stat().st_mode & 0o777
    save_file(dict(tensors), path, metadata={"format": "pt"})
    path.chmod(rights)


def atomic_write(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file atomically and durably, replacing an existing one."""
    temporary = _temporary(path)
    try:
        write(temporary)
        _sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def _each(
    folder: Path, file: str, device: torch.device | str, read: Callable[[Any, str], Any]
) -> Iterator[tuple]:
    first, *shards = state_files(folder, file)
    wanted = _named_in(folder / first) if shards else {first: None}
    for shard, names in wanted.items():
        path = folder / shard
        check_safetensors_header(path)
        try:
            with safe_open(path, framework="pt", device=str(device)) as part:
                held = set(part.keys())
                if names is not None and held != names:
                    differ = sorted(held ^ names)
                    raise ValueError(
                        f"{path} and {first} disagree on {len(differ)} tensors, such as {differ[0]}: "
                        "they are of two exports; export again, or copy the folder again"
                    )
                for name in sorted(held):
                    yield name, read(part, name)
        except SafetensorError as error:
            raise ValueError(f"{path} is not a safetensors file ({error}); was it cut off?") from error


def _named_in(index: Path) -> dict[str, set[str]]:
    shards: dict[str, set[str]] = {}
    for name, shard in sorted(_places(index).items()):
        shards.setdefault(shard, set()).add(name)
    return shards


def _places(index: Path) -> Mapping[str, str]:
    """The index's weight_map. A name in it is a file beside it: what it names elsewhere is not read."""
    try:
        places = read_json(index)["weight_map"]
        if not places or any(Path(name).name != name or name in ("", "..") for name in places.values()):
            raise ValueError("it names no files beside it")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{index} is not an index of safetensors files ({error}); was it edited or cut off?"
        ) from error
    return places


def _remove(folder: Path, pattern: str, keep: Sequence[str] = ()) -> None:
    for path in folder.iterdir():
        if re.fullmatch(pattern, path.name) and path.name not in keep:
            path.unlink()


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _temporary(path: Path) -> Path:
    """A new empty file beside the path, by a name that nobody could foresee: no other writer has it, and no
    link waits there."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return temporary


def _sync(path: Path) -> None:
    """Return once a file's bytes, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
