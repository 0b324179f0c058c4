"""Which task a training config means."""

from __future__ import annotations

from jobs.training.config import TrainConfig, TrainingConfig, TrainVaeConfig
from jobs.training.task import Task


def task_for(cfg: TrainingConfig) -> Task:
    """The task of a config; heavy modules are imported here."""
    if isinstance(cfg, TrainVaeConfig):
        from jobs.training.vae_task import VaeTask

        return VaeTask(cfg)
    assert isinstance(cfg, TrainConfig)
    from jobs.training.dit_task import DitTask

    return DitTask(cfg)
