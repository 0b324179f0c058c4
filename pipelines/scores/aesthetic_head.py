"""A LAION aesthetic head: how beautiful people would find a picture, from its CLIP embedding.

In: a file of weights. Out: one linear function. Two published forms are the same kind of thing, a chain of
linear layers with nothing between them: LAION's linear heads (`weight`, `bias`; laion/aesthetic-predictor)
and the MLP of the improved predictor (`layers.0.weight` …; its dropout does nothing outside training). A
chain is one linear function.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.untrusted import check_safetensors_file

_KEY = "scores.clip_aesthetic"
_SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """embedding · weight + bias, on the scale of the ratings it was trained on, 1 to 10; `weight` is float64
    (D,)."""

    weight: np.ndarray
    bias: float

    def score(self, embedding: np.ndarray) -> float:
        """Of an embedding of length 1, (D,)."""
        return float(embedding.astype(np.float64) @ self.weight) + self.bias


def load_head(path: Path, width: int) -> Head:
    """The head in a file.

    Args:
        width: of the embeddings it is for.

    Raises:
        ValueError: no such file, no chain of linear layers to one value, or one for embeddings of another
        width.
    """
    weights = _read(path)
    names = sorted((name for name in weights if re.search(r"(^|\.)weight$", name)), key=_natural)
    layers = [(weights[name], weights.get(re.sub("weight$", "bias", name))) for name in names]
    _check_chain(path, names, layers, set(weights), width)
    weight, bias = np.eye(width), np.zeros(width)
    for w, b in layers:
        weight, bias = w @ weight, w @ bias + (0 if b is None else b)
    return Head(weight[0], float(bias[0]))


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise ValueError(f"{_KEY}={path}: there is no such file")
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        check_safetensors_file(path)
        tensors = load_file(path)
    elif path.suffix in _SUFFIXES:
        import torch

        state = torch.load(path, weights_only=True, map_location="cpu")
        if not isinstance(state, dict) or not all(
            isinstance(value, torch.Tensor) for value in state.values()
        ):
            raise ValueError(f"{_KEY}={path}: it is no state dict; save the head's state_dict()")
        tensors = {name: tensor.float().numpy() for name, tensor in state.items()}
    else:
        raise ValueError(f"{_KEY}={path}: a head is one of {', '.join(_SUFFIXES)}")
    return {name: tensor.astype(np.float64) for name, tensor in tensors.items()}


def _natural(name: str) -> list[tuple[int, str]]:
    """Layer 10 after layer 2, in whatever order the file lists them."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]


def _check_chain(
    path: Path,
    names: list[str],
    layers: list[tuple[np.ndarray, np.ndarray | None]],
    all_names: set[str],
    width: int,
) -> None:
    foreign = all_names - set(names) - {re.sub("weight$", "bias", name) for name in names}
    if foreign or not layers or any(w.ndim != 2 for w, _ in layers):
        what = f"it has {min(foreign)}" if foreign else "it has other layers, or none"
        raise ValueError(f"{_KEY}={path}: a head is linear layers only, but {what}")
    if layers[0][0].shape[1] != width:
        raise ValueError(
            f"{_KEY}={path}: the head is for embeddings of {layers[0][0].shape[1]}, those of "
            f"scores.clip_model have {width}; take the head that was trained for this CLIP"
        )
    outs = [w.shape[0] for w, _ in layers]
    ins = [w.shape[1] for w, _ in layers[1:]]
    if outs != [*ins, 1] or any(b is not None and b.shape != (w.shape[0],) for w, b in layers):
        raise ValueError(
            f"{_KEY}={path}: its layers {', '.join(names)} do not lead one into the next, and to one value"
        )
