"""AdamW that keeps an exponential moving average beside its moments, and the learning rate as a function of
the step.

In: fp32 master parameters, as DeepSpeed hands them to the optimiser (flat, sharded at any ZeRO stage). Out:
updated masters; `state[p]["ema"]`, sharded exactly as the moments are, so that it costs no gather and follows
them into checkpoints.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from jobs.training.config import OptimConfig

EMA = "ema"
STATE_KEYS = ("exp_avg", "exp_avg_sq", EMA)


class AdamWEma(torch.optim.AdamW):
    """AdamW (Loshchilov & Hutter 2019) with a moving average of the weights.

    The average of step k uses decay min(ema_decay, (1 + k) / (10 + k)), so that short runs forget their
    random start.
    """

    def __init__(self, params: Any, ema_decay: float, **adamw: Any):
        super().__init__(params, **adamw)
        self.ema_decay = ema_decay

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        result = super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state.get(p)
                if not state:  # no gradient reached it
                    continue
                if EMA not in state:
                    state[EMA] = p.detach().clone()
                k = float(state["step"])
                decay = min(self.ema_decay, (1 + k) / (10 + k))
                state[EMA].lerp_(p.detach(), 1 - decay)
        return result


def learning_rate(step: int, max_steps: int, cfg: OptimConfig) -> float:
    """The rate of a step (0-based): linear warm-up, then constant or a cosine down to `final_lr_share` of the
    peak."""
    if step < cfg.warmup_steps:
        return cfg.lr * (step + 1) / cfg.warmup_steps
    if cfg.schedule == "constant":
        return cfg.lr
    progress = (step - cfg.warmup_steps) / max(1, max_steps - cfg.warmup_steps)
    floor = cfg.final_lr_share
    return cfg.lr * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))
