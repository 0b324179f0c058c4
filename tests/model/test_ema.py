"""The running average, by hand."""

import pytest
import torch
from torch import nn

from model.config import EMAConfig
from model.ema import EMA, ema_decay


def test_three_updates_by_hand():
    ema = EMA({"w": torch.tensor([9.0])}, EMAConfig(decay=0.6, power=1.0))
    averages = []
    for value in (1.0, 3.0, 5.0):
        ema.update({"w": torch.tensor([value])})
        averages.append(ema.averages["w"].item())
    # decays 0, 1/2, min(0.6, 2/3)
    assert averages == pytest.approx([1.0, 2.0, 0.6 * 2.0 + 0.4 * 5.0])


def test_warm_up_forgets_the_start_and_ends_at_the_decay():
    cfg = EMAConfig(decay=0.999, power=7.0)
    decays = [ema_decay(k, cfg) for k in range(1, 20000)]
    assert decays[0] == 0.0
    assert decays == sorted(decays)
    assert decays[9] == pytest.approx(0.9**7)
    assert decays[-1] == 0.999


def test_averages_are_fp32_whatever_they_are_fed():
    ema = EMA({"w": torch.ones(1, dtype=torch.bfloat16)}, EMAConfig(decay=0.999, power=1.0))
    for k in range(1, 301):
        ema.update({"w": torch.tensor([1.0 + k / 1000], dtype=torch.bfloat16)})
    assert ema.averages["w"].dtype == torch.float32
    assert ema.averages["w"].item() == pytest.approx(1.1505, abs=2e-3)


def test_swapping_gives_the_averages_and_then_the_weights_back_even_after_an_error():
    module = nn.Linear(2, 1)
    ema = EMA(dict(module.named_parameters()), EMAConfig())
    own = module.weight.detach().clone()
    ema.averages["weight"].fill_(5.0)

    def fail() -> None:
        with ema.swapped(module) as swapped:
            assert swapped.weight.tolist() == [[5.0, 5.0]]
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert torch.equal(module.weight, own)
    ema.copy_to(module)
    assert module.weight.tolist() == [[5.0, 5.0]]


def test_a_resumed_average_goes_on_where_it_was():
    values = [torch.tensor([float(v)]) for v in (1, 4, 2, 8, 3)]
    whole, first = EMA({"w": values[0]}, EMAConfig()), EMA({"w": values[0]}, EMAConfig())
    for value in values:
        whole.update({"w": value})
    for value in values[:3]:
        first.update({"w": value})
    second = EMA({"w": torch.zeros(1)}, EMAConfig())
    second.load_state_dict(first.state_dict())
    for value in values[3:]:
        second.update({"w": value})
    assert torch.equal(second.averages["w"], whole.averages["w"])


def test_other_names_are_refused():
    ema = EMA({"w": torch.zeros(1)}, EMAConfig())
    with pytest.raises(ValueError, match="'v', 'w'"):
        ema.update({"v": torch.zeros(1)})
    with pytest.raises(ValueError, match="another model"):
        ema.load_state_dict({"v": torch.zeros(1), "updates": torch.tensor(1)})
