"""Where a text encoder's weights and tokenizer are: a folder, or a model of the Hugging Face hub that its
user names.

In: a folder or a hub name. Out: the files that its embeddings depend on, and their hash, whatever the folder
is called. A folder is only ever read. A hub model is downloaded once, and only what a text encoder needs of
it.
"""

import hashlib
import importlib.util
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from model.untrusted import read_object

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # or in several files, with <name>.index.json
CONFIG = "config.json"
_PIECES = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
_VOCABULARIES = ("tokenizer.json", *_PIECES, "vocab.json", "vocab.txt")
_TOKENIZER = (
    *_VOCABULARIES,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_PLACES = ("", "text_encoder/")  # diffusers keeps the encoder of a pipeline in a folder of its own
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True, slots=True)
class TextFiles:
    """What a text encoder is made of.

    Attributes:
        weights: one file, or the shards in order of their names.
        tokenizer: its files, all in one folder, which need not be that of the weights.
    """

    weights: tuple[Path, ...]
    config: Path
    tokenizer: tuple[Path, ...]

    @property
    def all(self) -> tuple[Path, ...]:
        return (*self.weights, self.config, *self.tokenizer)


def find_folder(where: str, like: str) -> Path:
    """The local folder of `where`, downloaded if it names a model of the hub that isn't here yet.

    Args:
        like: how the user gives such a folder or name, for the error: `t5:google/t5-v1_1-xxl`.

    Raises:
        FileNotFoundError: there is no such folder, and the hub did not give it.
    """
    folder = Path(where).expanduser()
    if folder.is_dir():
        return folder.absolute()
    if not _HUB_NAME.fullmatch(where):
        raise FileNotFoundError(f"there is no folder '{where}'; give one, or a model of the hub, like {like}")
    return _snapshot(where)


def resolve_inside(where: str, home: Path) -> Path | None:
    """The folder of that name in a checkpoint's own folder; None if it isn't there, or lies elsewhere.

    Args:
        where: as a file of the checkpoint names it. What is absolute, goes up, or leads out by a link is
        elsewhere.
    """
    name = PurePosixPath(where)
    if name.is_absolute() or ".." in name.parts or where.startswith("~"):
        return None
    folder = home / name
    try:
        return (
            folder.absolute() if folder.is_dir() and folder.resolve().is_relative_to(home.resolve()) else None
        )
    except (OSError, ValueError, RuntimeError):  # a name too long, with a zero in it, a link to itself
        return None


def check_inside(files: Iterable[Path], home: Path) -> None:
    """Every file lies in a checkpoint's own folder, or where the Hugging Face hub's cache keeps that folder's
    files.

    Raises:
        ValueError: one is a link that leads elsewhere.
    """
    home = home.resolve()
    snapshots = next(
        (one for one in home.parents if one.name == "snapshots" and one.parent.name.startswith("models--")),
        None,
    )
    roots = (home,) if snapshots is None else (home, snapshots.parent / "blobs")
    for file in files:
        if not any(file.resolve().is_relative_to(root) for root in roots):
            raise ValueError(
                f"{file} leads out of the checkpoint's folder, and nothing is opened because a file says "
                "so; copy it there, or name the text encoder yourself with text_encoder="
            )


def cached_snapshot(where: str) -> Path | None:
    """The complete local copy of a hub model; None if there is none, or it is no name of one. Nothing is
    downloaded."""
    if not _HUB_NAME.fullmatch(where):
        return None
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(huggingface_hub.snapshot_download(where, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return folder if _complete(folder) else None


def text_files(folder: Path) -> TextFiles:
    """The files of an encoder in a folder: as transformers saves it, or inside a pipeline that diffusers
    saved.

    Raises:
        FileNotFoundError: weights, config or tokenizer are not all there; the message says which and how to
        get them.
    """
    base = next((folder / place for place in _PLACES if (folder / place / CONFIG).is_file()), None)
    if base is None:
        raise FileNotFoundError(
            f"'{folder}' holds no text encoder: neither it nor its text_encoder/ has a {CONFIG}; "
            "fetch one with: hf download <owner>/<name> --local-dir <folder>"
        )
    weights = _weights(base)
    places = (base, folder / "tokenizer", folder.parent / "tokenizer")
    home = next((place for place in places if any((place / name).is_file() for name in _VOCABULARIES)), None)
    if home is None:
        raise FileNotFoundError(
            f"'{base}' has no tokenizer ({', '.join(_VOCABULARIES)}), nor has a folder tokenizer/ beside it; "
            "save the model's own there with save_pretrained"
        )
    if not (home / "tokenizer.json").is_file() and any((home / name).is_file() for name in _PIECES):
        _require_sentencepiece(home)
    return TextFiles(
        weights, base / CONFIG, tuple(home / name for name in _TOKENIZER if (home / name).is_file())
    )


def files_digest(title: str, files: Iterable[Path]) -> str:
    """16 hex digits over a title and files' contents. A file is read once per process, unless it changes."""
    digest = hashlib.sha256(f"{title}\n".encode())
    for file in files:
        digest.update(bytes.fromhex(sha256(file)))
    return digest.hexdigest()[:16]


def sha256(file: Path) -> str:
    """Of a file's bytes, read in pieces; remembered while its size and time stay."""
    stat = file.stat()
    return _sha256(file.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _sha256(file: Path, size_bytes: int, modified_ns: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _weights(base: Path) -> tuple[Path, ...]:
    for name in WEIGHTS:
        index = base / f"{name}.index.json"
        if (base / name).is_file():
            return (base / name,)
        if index.is_file():
            places = read_object(index).get("weight_map")
            if not isinstance(places, dict) or any(
                not isinstance(n, str) or Path(n).name != n for n in places.values()
            ):
                raise ValueError(f"{index} is no index of weights beside it; was it edited or cut off?")
            names = sorted(set(places.values()))
            missing = [shard for shard in names if not (base / shard).is_file()]
            if missing:
                raise FileNotFoundError(
                    f"'{base}' lacks {', '.join(missing)}, which {index.name} names; its download was cut "
                    "off: fetch it again"
                )
            return tuple(base / shard for shard in names)
    raise FileNotFoundError(
        f"'{base}' has a {CONFIG} but no weights ({' or '.join(WEIGHTS)}, or in several files with an "
        "index); fetch them with: hf download <owner>/<name> --local-dir <folder>"
    )


def _require_sentencepiece(home: Path) -> None:
    """transformers would read the vocabulary as something else without it, and only warn."""
    missing = [name for name in ("sentencepiece", "google.protobuf") if not _installed(name)]
    if missing:
        raise FileNotFoundError(
            f"the tokenizer in '{home}' has no tokenizer.json, and its vocabulary can't be read without the "
            "package sentencepiece; install it with: pip install sentencepiece protobuf"
        )


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


def _snapshot(name: str) -> Path:
    """The newest complete local copy of a hub model; downloaded if there is none, so what is here is used as
    it is."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = Path(huggingface_hub.snapshot_download(name, local_files_only=True))
        if _complete(folder):
            return folder
    except LocalEntryNotFoundError:  # never downloaded
        pass
    try:
        wanted = required_files(huggingface_hub.list_repo_files(name))
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted))
    except (OSError, HfHubHTTPError, _transport_error()) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FileNotFoundError(
            f"there is no folder '{name}', and the hub did not give a model of that name ({reason}); where "
            f"there is a network, fetch it with: hf download {name} --local-dir <folder>, and give that "
            "folder"
        ) from error


def _complete(folder: Path) -> bool:
    try:
        text_files(folder)
    except (FileNotFoundError, ValueError):
        return False
    return True


def required_files(names: Sequence[str]) -> list[str]:
    """The files of a hub repository that a text encoder needs, without a pipeline's transformer and duplicate
    weight formats.

    Raises:
        FileNotFoundError: it has no text encoder.
    """
    there = set(names)
    base = next((place for place in _PLACES if f"{place}{CONFIG}" in there), None)
    if base is None:
        raise FileNotFoundError(f"it has neither a {CONFIG} nor a text_encoder/{CONFIG}")
    weights: list[str] = []
    for name in WEIGHTS:
        stem, _, suffix = name.partition(".")
        shard = re.compile(rf"{re.escape(base)}{stem}-\d+-of-\d+\.{suffix}")
        weights = [n for n in names if n == f"{base}{name}"] or [
            n for n in names if shard.fullmatch(n) or n == f"{base}{name}.index.json"
        ]
        if weights:
            break
    others: list[Callable[[str], str]] = [lambda n: f"{base}{n}", lambda n: f"tokenizer/{n}"]
    tokenizer = [place(n) for place in others for n in _TOKENIZER if place(n) in there]
    return [f"{base}{CONFIG}", *weights, *tokenizer]


def _transport_error() -> type[Exception]:
    """What the hub's client raises when there is no network; older versions raise an OSError."""
    if importlib.util.find_spec("httpx") is None:
        return OSError
    import httpx

    return httpx.TransportError
