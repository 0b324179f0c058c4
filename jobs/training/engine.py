"""DeepSpeed as this project uses it: ZeRO 1, 2 or 3 over a model, with the step's boundary drawn by us.

In: a model and the training config, inside an initialised process group. Out: an engine; its full fp32
weights, moments and moving average by parameter name, gathered from the shards of any ZeRO stage and any
number of ranks, and put back the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import deepspeed
import torch
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
)
from torch import Tensor, nn

from jobs.training.config import OptimConfig, ZeroConfig
from jobs.training.optimizer import EMA, STATE_KEYS, AdamWEma


def deepspeed_config(optim: OptimConfig, zero: ZeroConfig, world: int) -> dict:
    """The JSON that DeepSpeed wants. Batch sizes are nominal: what a step holds is the planner's business."""
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "train_batch_size": world,
        "managed_gradient_accumulation": False,
        "gradient_clipping": optim.clip_norm,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": zero.stage,
            "overlap_comm": False,
            "contiguous_gradients": True,
            "stage3_param_persistence_threshold": 0,
        },
        "steps_per_print": 10**9,
        "wall_clock_breakdown": False,
    }


class Engine:
    """A model under ZeRO. All ranks call every method together, in the same order."""

    def __init__(self, model: nn.Module, optim: OptimConfig, zero: ZeroConfig, world: int):
        optimizer = AdamWEma(
            [p for p in model.parameters() if p.requires_grad],
            ema_decay=optim.ema_decay,
            lr=0.0,  # set at every step; zero now, because ZeRO 3 makes its state by a step without gradients
            betas=(optim.beta1, optim.beta2),
            eps=optim.eps,
            weight_decay=optim.weight_decay,
        )
        self.names = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.stage = zero.stage
        config = deepspeed_config(optim, zero, world)
        self._engine, self._zero, _, _ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
        self._adamw = optimizer if not hasattr(self._zero, "optimizer") else self._zero.optimizer
        self._set_adam_step(0)

    def __call__(self, *args: object, **kwargs: object) -> object:
        return self._engine(*args, **kwargs)

    @property
    def module(self) -> nn.Module:
        return self._engine.module

    @property
    def device(self) -> torch.device:
        return self._engine.device

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss; nothing is sent or updated before `step`."""
        self._engine.backward(loss, scale_wrt_gas=False)

    def step(self, lr: float) -> float:
        """Average the gradients over ranks, clip, update; returns the norm of the gradient before
        clipping."""
        for group in self._zero.param_groups:
            group["lr"] = lr
        self._engine.step()
        self._step += 1
        return float(self._engine.get_global_grad_norm() or 0.0)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Full fp32 master weights by name."""
        for name, p in self.names.items():
            yield name, safe_get_full_fp32_param(p).detach().cpu()

    def ema(self) -> Iterator[tuple[str, Tensor]]:
        """The full moving average by name; before the first step, the weights themselves."""
        for name, p in self.names.items():
            value = safe_get_full_optimizer_state(p, EMA) if self.adam_step else safe_get_full_fp32_param(p)
            yield name, value.detach().cpu()

    @property
    def adam_step(self) -> int:
        """Updates made so far, as Adam's bias correction counts them."""
        return self._step

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Weights, moments and average as `<key>/<parameter>`, full, fp32, on the CPU; one gather at a
        time."""
        for name, value in self.weights():
            yield f"weight/{name}", value
        if not self.adam_step:
            return
        for name, p in self.names.items():
            for key in STATE_KEYS:
                yield f"{key}/{name}", safe_get_full_optimizer_state(p, key).detach().cpu()

    def load(self, state: Mapping[str, Tensor], adam_step: int) -> None:
        """Put back what `state` yielded, whatever the number of ranks and the ZeRO stage were then."""
        if adam_step:
            self._make_optimizer_state()
        for name, p in self.names.items():
            safe_set_full_fp32_param(p, state[f"weight/{name}"].to(self.device))
            if adam_step:
                for key in STATE_KEYS:
                    safe_set_full_optimizer_state(p, state[f"{key}/{name}"].to(self.device), key)
        self._refresh_working_copy(state)
        self._set_adam_step(adam_step)

    def _make_optimizer_state(self) -> None:
        """Adam makes its state at the first step; a resumed run needs it before."""
        if self.stage == 3:  # its groups are swapped in one at a time, so the optimiser doesn't list them
            masters = self._zero.fp32_partitioned_groups_flat
        else:
            masters = [p for group in self._adamw.param_groups for p in group["params"]]
        for p in masters:
            state = self._adamw.state[p]
            state.setdefault("step", torch.zeros((), dtype=torch.float32))
            for key in STATE_KEYS:
                state.setdefault(key, torch.zeros_like(p.data))
        if self.stage < 3:
            self._zero._lazy_init_hp_params_optimizer_state()

    def _set_adam_step(self, step: int) -> None:
        self._step = step
        for state in self._adamw.state.values():
            if "step" in state:
                state["step"].fill_(float(step))
            if step == 0 and EMA in state:
                # made by ZeRO 3's empty first step; the average starts with the first real one
                del state[EMA]

    def _refresh_working_copy(self, state: Mapping[str, Tensor]) -> None:
        """Masters were set; the weights that the forward pass reads must follow."""
        with torch.no_grad():
            if self.stage < 3:
                for name, p in self.names.items():
                    p.data.copy_(state[f"weight/{name}"])
                return
            for name, p in self.names.items():
                with deepspeed.zero.GatheredParameters([p], modifier_rank=0):
                    if deepspeed.comm.get_rank() == 0:
                        p.data.copy_(state[f"weight/{name}"])
