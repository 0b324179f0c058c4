"""The workflow's graph: which job needs what, and when one is up to date. Pure but for reading files.

In: the workflow's config. Out: nodes in order; each makes its job's config from what the nodes before it
made. A node's fingerprint covers its settings and the digests of its inputs; its record covers what it made.
A node is up to date when both still hold.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.encoding.config import EncodeConfig
from jobs.workflow.config import RunConfig
from pipelines.dataset.manifest import manifest_name, manifest_number
from pipelines.ids import fingerprint

logger = logging.getLogger(__name__)

# Where a job runs and how often it reports doesn't change what it makes.
_FREE = ("ray", "workers", "log_every", "checkpoint_every", "keep_checkpoints", "gpu")


@dataclass(frozen=True, slots=True)
class NodeOutput:
    """The output of a finished node: its path, facts for later nodes, and its digest."""

    path: str
    facts: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class Node:
    """One job of the graph.

    job: its name in the registry. needs: nodes whose digests it depends on. config: makes the job's config
    from what they made and the node's own folder. folder: where it works, given its fingerprint. digest: of
    its output, from that folder and its result; raises FileNotFoundError when the output is not there.
    """

    job: str
    depends_on: tuple[str, ...]
    config: Callable[[Mapping[str, NodeOutput], str], Any]
    folder: Callable[[str], str]
    digest: Callable[[str, Mapping[str, Any]], str]


def _sha256(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _newest(folder: Path) -> Path:
    found = [number for path in folder.glob("*.json") if (number := manifest_number(path.name))]
    if not found:
        raise FileNotFoundError(f"no manifest in {folder}")
    return folder / manifest_name(max(found))


def _videos(folder: Path) -> list[Path]:
    """Those that were generated; what a desktop has put beside them is none."""
    return sorted(path for path in folder.glob("*.mp4") if not path.name.startswith("."))


def _decided(cfg: RunConfig) -> Any:
    """What is measured on this machine: an extra that has come since is a reason to curate again."""
    from pipelines.scores.registry import resolve_config

    return resolve_config(cfg.curate.scores)


def nodes(cfg: RunConfig) -> list[Node]:
    """The graph in an order in which it can be run."""
    out = Path(cfg.out)
    dataset = str(out / "dataset")
    change = dataclasses.replace

    def own(name: str) -> Callable[[str], str]:
        return lambda key: str(out / f"{name}-{key[:8]}")

    return [
        Node(
            "curate", (),
            lambda made, _: change(cfg.curate, footage=cfg.footage, dataset=dataset, scores=_decided(cfg)),
            lambda _: dataset,
            lambda folder, _: _sha256(_newest(Path(folder) / "manifests")),
        ),
        Node(
            "train_vae", ("curate",),
            lambda made, folder: change(cfg.train_vae, dataset=dataset, out=folder),
            own("vae"),
            lambda folder,
            _: _sha256(Path(folder) / "export/vae/model.safetensors",
                Path(folder) / "export/vae/config.json"),
        ),
        Node(
            "encode", ("curate", "train_vae"),
            lambda made, _: change(cfg.encode, dataset=dataset, vae=made["train_vae"].path),
            lambda _: dataset,
            lambda folder, result: _sha256(_newest(Path(folder) / f"latents/{result['latents']}/manifests")),
        ),
        Node(
            "train", ("encode",),
            lambda made,
            folder: change(cfg.train, dataset=dataset, latents=made["encode"].facts["latents"], out=folder),
            own("dit"),
            lambda folder,
            _: _sha256(Path(folder) / "export/dit/model.safetensors", Path(folder) / "export/pipeline.json"),
        ),
        Node(
            "evaluate", ("curate", "train"),
            lambda made, folder: change(
                cfg.evaluate, checkpoint=made["train"].path, dataset=dataset, out=folder,
                text_encoder=_text_encoder(cfg)
            ),
            own("videos"),
            lambda folder, _: _sha256(Path(folder) / "metrics.json", *_videos(Path(folder))),
        ),
        Node(
            "report", ("curate", "train_vae", "encode", "train", "evaluate"),
            lambda made, _: change(cfg.report, run=str(out), uri_column=cfg.curate.uri_column),
            lambda _: str(out),
            lambda folder, _: _sha256(Path(folder) / "report.html"),
        ),
    ]  # fmt: skip


def _text_encoder(cfg: RunConfig) -> str | None:
    """What the videos' prompts are read with: the user named it once, for encoding. A checkpoint may name the
    embedded one itself."""
    return cfg.evaluate.text_encoder or (
        cfg.encode.text_encoder if cfg.encode.text_encoder != EncodeConfig.text_encoder else None
    )


def node_fingerprint(node: Node, config: Any, outputs: Mapping[str, NodeOutput], extra: Any) -> str:
    """Of a node's settings (without folders and what is free) and its inputs' digests.

    Args:
        extra: what else decides, such as which files the footage holds.
    """
    settings = {
        k: v
        for k, v in dataclasses.asdict(config).items()
        if k not in (*_FREE, "dataset", "out", "footage", "vae", "latents", "checkpoint", "run")
    }
    return fingerprint(
        {
            "job": node.job,
            "settings": settings,
            "inputs": {n: outputs[n].digest for n in node.depends_on},
            "extra": extra,
        }
    )


def up_to_date(node: Node, key: str, record: Mapping[str, Any] | None) -> bool:
    """Whether a node was made from these very inputs and what it made is still there, unchanged."""
    if record is None or record["fingerprint"] != key:
        return False
    try:
        return node.digest(record["path"], record["result"]) == record["digest"]
    except FileNotFoundError:
        return False
