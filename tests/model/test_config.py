"""Sizes by name, settings that contradict each other, and the tables of the notes."""

import pytest
import torch

from model.config import DIT_SIZES, VAE_SIZES, DiTConfig, FlowConfig, VAEConfig, dit_config, vae_config
from model.dit.network import DiT
from model.vae.network import VAE


@pytest.mark.parametrize(
    ("size", "millions"),
    [("tiny", 1.3), ("S", 30), ("B", 119), ("1.3B", 1413), ("5B", 4987), ("8B", 8193), ("14B", 14269)],
)
def test_a_dit_of_a_named_size_has_that_many_parameters(size, millions):
    with torch.device("meta"):
        dit = DiT(dit_config(size))
    assert sum(p.numel() for p in dit.parameters()) / 1e6 == pytest.approx(millions, rel=0.02)


def test_every_named_size_can_be_built():
    with torch.device("meta"):
        assert all(VAE(vae_config(size)).cfg.stride_time == 4 for size in VAE_SIZES)
        assert all(DiT(dit_config(size)).cfg.ffn_width >= 2 * dit_config(size).width for size in DIT_SIZES)
    assert (dit_config("1.3B").ffn_width, dit_config("5B").ffn_width, dit_config("14B").ffn_width) == (
        8960,
        14336,
        13824,
    )


def test_a_preset_is_not_changed_by_who_uses_it():
    vae_config("tiny").multipliers.append(9)
    assert 9 not in vae_config("tiny").multipliers


def test_near_misses_are_named():
    with pytest.raises(ValueError, match="dit size 'XXL' is not known; did you mean 'XL'"):
        dit_config("XXL")
    with pytest.raises(ValueError, match="vae size 'Tiny' is not known; did you mean 'tiny'"):
        vae_config("Tiny")
    with pytest.raises(ValueError, match="'widht' is not known; did you mean 'width'"):
        dit_config("S", widht=3)


def test_settings_that_contradict_each_other_are_refused_by_name():
    with pytest.raises(ValueError, match=r"dit\.width=100 over dit\.heads=3"):
        DiTConfig(width=100, heads=3)
    with pytest.raises(ValueError, match=r"dit\.patch=\[2, 2, 2\]"):
        DiTConfig(patch=[2, 2, 2])
    with pytest.raises(ValueError, match=r"vae\.multipliers=\[1\] .* make 3"):
        VAEConfig(multipliers=[1])
    with pytest.raises(ValueError, match=r"vae\.patch=8 is above vae\.stride_space=4"):
        VAEConfig(patch=8, stride_space=4)
    with pytest.raises(ValueError, match=r"flow\.shift_tokens_low=5000"):
        FlowConfig(shift_tokens_low=5000)
