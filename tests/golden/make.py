"""The numbers of `expected.json`, from the files beside it: `python -m tests.golden.make` prints them.

In: a dataset, an exported VAE or DiT. Out: hashes of what is exact, and a few numbers of what networks give,
in fp32.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipelines.ids import canonical_json, hash_bytes, hash_text


def of_dataset(folder: Path) -> dict[str, Any]:
    """Hashes of all rows, and of every kept clip's files."""
    from pipelines.dataset.reader import open_dataset

    dataset = open_dataset(str(folder))
    tables = {
        "index": dataset.index().table(),
        "sources": dataset.sources().table(),
        "quarantine": dataset.quarantine().table(),
        "looks": dataset.looks().table(),
    }
    clips = {
        row["clip_id"]: [hash_bytes(dataset.read(row, suffix)) for suffix in ("mp4", "json", "txt")]
        for row in dataset.kept()
    }
    return {
        "rows": {name: hash_text(repr(table.to_pylist())) for name, table in tables.items()},
        "clips": clips,
    }


def of_latents(folder: Path) -> dict[str, str]:
    """Hashes of the latents and the text embeddings of every window."""
    from pipelines.dataset.latents import fingerprints, open_latents
    from pipelines.storage.open_store import open_store

    store = open_store(str(folder))
    (fingerprint,) = fingerprints(store)
    latents = open_latents(store, fingerprint)
    windows = sorted(latents.rows)
    found = {"windows": hash_text(canonical_json([[clip, window] for clip, window in windows]))}
    for clip, window in windows:
        texts = latents.texts(clip, window)
        found[f"{clip} {window}"] = hash_bytes(latents.window(clip, window).tobytes())
        found[f"{clip} {window} texts"] = hash_text(
            repr({name: texts[name].tobytes() for name in sorted(texts)})
        )
    return {"fingerprint": fingerprint, **found}


def of_settings() -> dict[str, Any]:
    """Fingerprints of curation's default settings, in fp32, and without what is installed on some machines
    only."""
    from jobs.curation.config import CurateConfig
    from jobs.curation.fingerprints import fingerprints

    cfg = CurateConfig(footage="f", dataset="d")
    cfg.precision, cfg.scores.nsfw = "fp32", False
    return asdict(fingerprints(cfg))


def of_vae(folder: Path) -> dict[str, list[float]]:
    """Latents of a drawn video, and what they become again."""
    import torch

    from model.checkpoint.weights import load_vae

    vae = load_vae(folder).float().eval()
    x_BCTHW = torch.rand(1, 3, 5, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        z_BCTHW = vae.encode_latents(x_BCTHW)
        again_BCTHW = vae.decode_latents(z_BCTHW)
    return {"latents": _some(z_BCTHW), "decoded": _some(again_BCTHW)}


def of_dit(folder: Path) -> dict[str, list[float]]:
    """Velocities of two drawn videos of different shapes, in one row, at two times, with drawn texts."""
    import torch

    from model.checkpoint.weights import load_dit
    from model.dit.tokens import Sample, pack

    dit = load_dit(folder).float().eval()
    draw = torch.Generator().manual_seed(0)
    channels, width = dit.cfg.latent_channels, dit.cfg.text_dim
    packed = pack(
        [
            Sample(
                torch.randn(channels, *shape, generator=draw), 8.0, torch.randn(length, width, generator=draw)
            )
            for shape, length in (((2, 4, 6), 5), ((1, 6, 4), 3))
        ]
    )
    with torch.no_grad():
        first, second = packed.unpack(dit(**packed.model_inputs(torch.tensor([0.3, 0.8]))))
    return {"first": _some(first), "second": _some(second)}


def _some(x: Any) -> list[float]:
    """Sixteen numbers, spread over all, and the mean of their sizes."""
    flat = x.flatten()
    return [*flat[:: max(1, flat.numel() // 16)][:16].tolist(), flat.abs().mean().item()]


def main() -> None:
    here = Path(__file__).parent
    found = {
        "dataset": of_dataset(here / "dataset"),
        "latents": of_latents(here / "dataset"),
        "fingerprints": of_settings(),
        "vae": of_vae(next((here / "dataset" / "latents").glob("*/vae"))),
        "dit": of_dit(here / "dit"),
    }
    json.dump(found, sys.stdout, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
