"""Config of training: what is trained, on what batches, with which optimiser, on how many workers. Light:
read by `rushes --help`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobs.cluster.config import RayConfig
from jobs.training.exports import PERCEPTUAL
from model.config import ATTENTION, DIT_SIZES, RECOMPUTE, VAE_SIZES, ConditionConfig, FlowConfig, SampleConfig
from pipelines.batches.config import BudgetConfig, ShapeConfig, WindowConfig
from pipelines.precision import AUTO, CHOICES, DOC


@dataclass
class OptimConfig:
    """AdamW, its schedule, and the moving average of the weights."""

    lr: float = field(default=1e-4, metadata={"doc": "peak learning rate", "min": 0})
    warmup_steps: int = field(default=1000, metadata={"doc": "linear warm-up", "unit": "steps", "min": 0})
    schedule: str = field(
        default="cosine", metadata={"doc": "the rate after warm-up", "choices": ("cosine", "constant")}
    )
    final_lr_share: float = field(
        default=0.1, metadata={"doc": "where the cosine ends, as a share of lr", "min": 0, "max": 1}
    )
    weight_decay: float = field(default=0.0, metadata={"doc": "AdamW weight decay", "min": 0})
    beta1: float = field(default=0.9, metadata={"doc": "AdamW beta 1", "min": 0, "max": 1})
    beta2: float = field(default=0.99, metadata={"doc": "AdamW beta 2", "min": 0, "max": 1})
    eps: float = field(default=1e-10, metadata={"doc": "AdamW epsilon", "min": 0})
    clip_norm: float = field(default=1.0, metadata={"doc": "largest norm of a step's gradient", "min": 0})
    ema_decay: float = field(
        default=0.9999,
        metadata={
            "doc": "decay of the moving average of the weights; 0.99 for short runs",
            "min": 0,
            "max": 1,
        },
    )


@dataclass
class ZeroConfig:
    """DeepSpeed ZeRO."""

    stage: int = field(
        default=2,
        metadata={
            "doc": "what is sharded over workers: 1 optimiser state, 2 gradients too, 3 weights too",
            "choices": (1, 2, 3),
        },
    )


@dataclass
class WorkersConfig:
    """The processes that train together."""

    num: int = field(default=1, metadata={"doc": "workers; one per GPU, or one per CPU core or so", "min": 1})
    cpus: float = field(
        default=1, metadata={"doc": "CPUs of a worker, and its threads", "unit": "cores", "min": 0.1}
    )
    gpu: bool = field(default=False, metadata={"doc": "a GPU for each worker (nccl instead of gloo)"})
    max_failures: int = field(
        default=2,
        metadata={"doc": "restarts from the newest checkpoint when workers die; -1 for ever", "min": -1},
    )


@dataclass
class LoraConfig:
    """A low-rank adapter, trained in place of all weights."""

    rank: int = field(
        default=0,
        metadata={"doc": "of the adapter of each linear map; 0 trains all weights instead", "min": 0},
    )
    alpha: float | None = field(
        default=None, metadata={"doc": "the adapter is scaled by alpha / rank; null: by 1", "min": 0}
    )


@dataclass
class TrainingConfig:
    """What both trainings share."""

    dataset: str = field(default="???", metadata={"doc": "the dataset to train on", "path": True})
    out: str = field(
        default="???",
        metadata={
            "doc": "folder of the run: checkpoints, logs, the exported model; run again to go on",
            "path": True,
        },
    )
    max_steps: int = field(
        default=100_000, metadata={"doc": "optimiser steps in all", "unit": "steps", "min": 1}
    )
    seed: int = field(default=0, metadata={"doc": "key of every random draw"})
    model: dict[str, Any] = field(
        default_factory=dict, metadata={"doc": "changes to the size, such as model.latent_channels=16"}
    )
    precision: str = field(
        default=AUTO,
        metadata={
            "doc": f"{DOC}; weights and moments are fp32. A run keeps what it began with",
            "choices": CHOICES,
        },
    )
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    zero: ZeroConfig = field(default_factory=ZeroConfig)
    workers: WorkersConfig = field(default_factory=WorkersConfig)
    log_every: int = field(default=10, metadata={"doc": "scalars are written", "unit": "steps", "min": 1})
    validate_every: int = field(
        default=500, metadata={"doc": "held-out windows are evaluated", "unit": "steps", "min": 1}
    )
    validate_windows: int = field(
        default=256,
        metadata={"doc": "most held-out windows evaluated, spread over all", "unit": "windows", "min": 1},
    )
    sample_every: int = field(
        default=2000, metadata={"doc": "pictures are made for TensorBoard", "unit": "steps", "min": 1}
    )
    checkpoint_every: int = field(default=500, metadata={"doc": "state is saved", "unit": "steps", "min": 1})
    keep_checkpoints: int = field(default=2, metadata={"doc": "newest states kept", "min": 1})
    license: str = field(
        default="other", metadata={"doc": "of the exported weights, for their model card, such as apache-2.0"}
    )
    ray: RayConfig = field(default_factory=RayConfig)


@dataclass
class PerceptualConfig:
    """A network's opinion of how differently a reconstruction looks."""

    name: str = field(
        default="efficientnet",
        metadata={
            "doc": "which: efficientnet comes with its package, lpips is your own",
            "choices": PERCEPTUAL,
        },
    )
    weights: str | None = field(default=None, metadata={"doc": "file of weights, for lpips", "path": True})
    weight: float = field(default=0.02, metadata={"doc": "weight beside L1; 0 switches it off", "min": 0})
    frames: int = field(
        default=4, metadata={"doc": "frames of a sample that it looks at", "unit": "frames", "min": 1}
    )


@dataclass
class AdversarialConfig:
    """A discriminator that learns to tell reconstructions from originals; the VAE learns to please it."""

    weight: float = field(
        default=0.0,
        metadata={
            "doc": "length of its gradient, as a share of the distance's; 0.05 is usual, 0 switches it off",
            "min": 0,
        },
    )
    start_step: int = field(default=0, metadata={"doc": "from this step on", "unit": "steps", "min": 0})
    channels: int = field(default=32, metadata={"doc": "channels of its first layer", "min": 4})
    layers: int = field(
        default=3, metadata={"doc": "layers, each of which halves the picture", "min": 1, "max": 6}
    )


@dataclass
class TrainVaeConfig(TrainingConfig):
    """The video compression network."""

    size: str = field(
        default="small", metadata={"doc": "named size of the network", "choices": tuple(VAE_SIZES)}
    )
    shapes: ShapeConfig = field(default_factory=ShapeConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    crop: int | None = field(
        default=64,
        metadata={
            "doc": "side of the random crops that are trained on; null: whole frames",
            "unit": "pixels",
            "min": 16,
        },
    )
    crop_aspects: list[float] = field(
        default_factory=lambda: [1.0, 1.6, 0.625],
        metadata={
            "doc": "width over height of the crops, drawn for each window; all have about crop × crop pixels"
        },
    )
    image_share: float = field(
        default=0.2, metadata={"doc": "samples that are single frames", "min": 0, "max": 1}
    )
    kl_weight: float = field(
        default=1e-6, metadata={"doc": "weight of the KL divergence beside L1", "min": 0}
    )
    l1_softness: float = field(
        default=0.0,
        metadata={
            "doc": (
                "errors well below it (of [-1, 1]) count by their square, which lets edges on plain ground "
                "be learned sooner"
            ),
            "min": 0,
        },
    )
    perceptual: PerceptualConfig = field(default_factory=PerceptualConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)


@dataclass
class TrainConfig(TrainingConfig):
    """The diffusion transformer."""

    latents: str | None = field(
        default=None,
        metadata={
            "doc": "which cached latents (a folder name under latents/); null: the only ones there are"
        },
    )
    size: str = field(
        default="B",
        metadata={
            "doc": "named size of the network; with init= it is the checkpoint's",
            "choices": tuple(DIT_SIZES),
        },
    )
    init: str | None = field(
        default=None,
        metadata={
            "doc": (
                "a checkpoint to fine-tune: the out= of train, its export, or a folder of weights; null: "
                "random weights"
            ),
            "path": True,
        },
    )
    lora: LoraConfig = field(default_factory=LoraConfig)
    recompute: str = field(
        default="none",
        metadata={
            "doc": (
                "what the backward pass makes again instead of keeping it: selective is all but attention, "
                "full is whole blocks"
            ),
            "choices": RECOMPUTE,
        },
    )
    attention: str = field(
        default="auto",
        metadata={
            "doc": (
                "kernel for batches of different lengths; auto takes the fastest that this machine has and "
                "that passes a test"
            ),
            "choices": ATTENTION,
        },
    )
    compile: bool = field(
        default=False,
        metadata={
            "doc": "compile the blocks (torch.compile): some minutes at the start, then faster on a GPU"
        },
    )
    flow: FlowConfig = field(default_factory=FlowConfig)
    conditions: ConditionConfig = field(default_factory=ConditionConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    captions: dict[str, float] = field(
        default_factory=lambda: {"short": 0.5, "dense": 0.5},
        metadata={"doc": "weights by which a sample's text is drawn among its captions"},
    )
    overfit: int | None = field(
        default=None,
        metadata={
            "doc": "train on the first N windows only, again and again: a network that can't is broken",
            "min": 1,
        },
    )
