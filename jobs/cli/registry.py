"""The jobs by name. Light: `rushes --help` reads this and nothing else.

Each job is a module `jobs.<name>` with `check(cfg)`, `run(cfg, run)` and `run_folder(cfg)`, and a config
dataclass in a light module.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from jobs.cli.fields import near_miss


@dataclass(frozen=True, slots=True)
class Job:
    """One job: its one-line summary, its config dataclass as `module:Class`, and the key that says where its
    result goes."""

    name: str
    summary: str
    config: str
    output: str | None = None

    def config_class(self) -> type:
        module, _, name = self.config.partition(":")
        return getattr(importlib.import_module(module), name)

    def module(self) -> ModuleType:
        return importlib.import_module(f"jobs.{self.name}")


JOBS: dict[str, Job] = {
    job.name: job
    for job in (
        Job(
            "curate",
            "cut footage into scored, captioned clips in WebDataset shards",
            "jobs.curation.config:CurateConfig",
            "dataset",
        ),
        Job(
            "select",
            "decide again which clips of a dataset are kept, without touching its footage",
            "jobs.curation.config:SelectConfig",
            "dataset",
        ),
        Job(
            "requeue",
            "try again what a dataset has in quarantine",
            "jobs.curation.config:RequeueConfig",
            "dataset",
        ),
        Job(
            "verify",
            "check that a dataset is what its manifest says: hashes, counts, every clip decoded",
            "jobs.upkeep.config:VerifyConfig",
        ),
        Job(
            "clean",
            "list, then remove, what no manifest of a dataset refers to",
            "jobs.upkeep.config:CleanConfig",
        ),
        Job("passport", "print all that is known of one clip", "jobs.curation.config:PassportConfig"),
        Job("inspect", "print what a dataset holds", "jobs.curation.config:InspectConfig"),
        Job("clips", "list the clips of a dataset: a table, csv or json", "jobs.listing.config:ClipsConfig"),
        Job(
            "export",
            "write clips of a dataset as files that play anywhere",
            "jobs.listing.config:ExportConfig",
            "out",
        ),
        Job(
            "train_vae",
            "train the video compression network on a dataset",
            "jobs.training.config:TrainVaeConfig",
            "out",
        ),
        Job(
            "evaluate_vae",
            "measure what a VAE makes of held-out clips, and show it beside them",
            "jobs.evaluation.config:EvaluateVaeConfig",
            "out",
        ),
        Job(
            "model",
            "print what a diffusion transformer costs: parameters, operations, memory",
            "jobs.sizing.config:ModelConfig",
        ),
        Job(
            "encode",
            "cache the latents and text embeddings of a dataset",
            "jobs.encoding.config:EncodeConfig",
        ),
        Job(
            "train",
            "train the diffusion transformer on cached latents",
            "jobs.training.config:TrainConfig",
            "out",
        ),
        Job("generate", "make a video from a sentence", "jobs.generation.config:GenerateConfig", "out"),
        Job(
            "evaluate",
            "generate from a dataset's own captions and measure what comes out",
            "jobs.generation.config:EvaluateConfig",
            "out",
        ),
        Job(
            "report",
            "write one self-contained HTML page about a dataset or a run",
            "jobs.reporting.config:ReportConfig",
            "out",
        ),
        Job(
            "run",
            "run the workflow: every job above in order, skipping what is up to date",
            "jobs.workflow.config:RunConfig",
            "out",
        ),
    )
}

SUBMIT = "submit"
SUBMIT_SUMMARY = (
    "run any job above on a Ray cluster: rushes submit <job> key=value … ray.address=http://host:8265"
)


def job_named(name: str) -> Job:
    """The job of that name.

    Raises:
        ValueError: with the near miss.
    """
    if name not in JOBS:
        raise ValueError(
            f"job '{name}' is not known{near_miss(name, [*JOBS, SUBMIT])} (rushes --help lists the jobs)"
        )
    return JOBS[name]
