"""Config of training: what is trained, on what batches, with which optimiser, on how many workers. Light: read by `rushes --help`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class OptimConfig:
    """AdamW, its schedule, and the moving average of the weights."""

    lr: float = field(default=1e-4, metadata={"doc": "peak learning rate", "min": 0})
    warmup_steps: int = field(default=1000, metadata={"doc": "linear warm-up", "unit": "steps", "min": 0})
    schedule: str = field(default="cosine", metadata={"doc": "the rate after warm-up", "choices": ("cosine", "constant")})
    final_lr_share: float = field(default=0.1, metadata={"doc": "where the cosine ends, as a share of lr", "min": 0, "max": 1})
    weight_decay: float = field(default=0.0, metadata={"doc": "AdamW weight decay", "min": 0})
    beta1: float = field(default=0.9, metadata={"doc": "AdamW beta 1", "min": 0, "max": 1})
    beta2: float = field(default=0.99, metadata={"doc": "AdamW beta 2", "min": 0, "max": 1})
    eps: float = field(default=1e-10, metadata={"doc": "AdamW epsilon", "min": 0})
    clip_norm: float = field(default=1.0, metadata={"doc": "largest norm of a step's gradient", "min": 0})
    ema_decay: float = field(default=0.9999, metadata={"doc": "decay of the moving average of the weights; 0.99 for short runs", "min": 0, "max": 1})


@dataclass
class ZeroConfig:
    """DeepSpeed ZeRO."""

    stage: int = field(default=2, metadata={"doc": "what is sharded over workers: 1 optimiser state, 2 gradients too, 3 weights too", "choices": (1, 2, 3)})
