"""What is made again in the backward pass gives the same gradients, and less is kept."""

import pytest
import torch

from model.dit.network import DiT
from model.dit.tokens import pack
from tests.model.dit.test_dit import MIXED, TIMES, tiny


def kept_and_gradients(dit: DiT, mode: str) -> tuple[int, list[torch.Tensor]]:
    """Bytes that the forward pass keeps for the backward pass, and the gradients."""
    dit.recompute = mode
    packed, kept = pack(MIXED), {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        loss = dit(**packed.model_inputs(TIMES)).square().mean()
    weights = {p.untyped_storage().data_ptr() for p in dit.parameters()}
    size = sum(count for place, count in kept.items() if place not in weights)
    return size, list(torch.autograd.grad(loss, list(dit.parameters())))


@pytest.mark.parametrize("mode", ["selective", "full"])
def test_gradients_are_the_same(mode):
    dit = tiny().train()
    for a, b in zip(kept_and_gradients(dit, mode)[1], kept_and_gradients(dit, "none")[1], strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_the_more_is_made_again_the_less_is_kept():
    dit = tiny(depth=4).train()
    none, selective, full = (kept_and_gradients(dit, mode)[0] for mode in ("none", "selective", "full"))
    assert full < 0.3 * none
    assert full < selective < 0.7 * none


def test_selective_does_not_attend_twice(monkeypatch):
    from model.dit import network as module

    dit, calls = tiny().train(), []
    attend = module.attend
    monkeypatch.setattr(module, "attend", lambda *args: calls.append(1) or attend(*args))
    for mode, expected in (("none", 4), ("selective", 4), ("full", 8)):  # two blocks, self and text
        calls.clear()
        kept_and_gradients(dit, mode)
        assert len(calls) == expected, mode
